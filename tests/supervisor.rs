//! What a service manager is told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::gateway::Gateway;

const CONFIG: &str = "[server]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n[admin]\nlisten = \"off\"\n[access_log]\npath = \"off\"\n\
                      [[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\n";

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, folder }
    }

    fn start(&self, more: &[(&str, &str)]) -> Gateway {
        let path = self.folder.path().join("notify");
        let environment = [&[("NOTIFY_SOCKET", path.to_str().unwrap())], more].concat();
        Gateway::with_file_and(CONFIG, &environment)
    }

    /// The next that it is told, but for signs of life.
    fn told(&self) -> String {
        loop {
            let told = self.hears();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }

    fn hears(&self) -> String {
        let mut text = [0; 100];
        let length = self.socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }
}

#[test]
fn it_is_told_when_the_gateway_is_ready_reloads_and_stops() {
    let manager = Manager::new();
    let mut gateway = manager.start(&[]);
    assert_eq!(manager.told(), "READY=1");
    gateway.signal("HUP");
    assert_eq!([manager.told(), manager.told()], ["RELOADING=1", "READY=1"]);
    gateway.write_file("rubbish");
    gateway.signal("HUP");
    assert_eq!([manager.told(), manager.told()], ["RELOADING=1", "READY=1"]);
    gateway.signal("TERM");
    assert_eq!(manager.told(), "STOPPING=1");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn it_gets_signs_of_life_if_it_waits_for_them() {
    let manager = Manager::new();
    let _gateway = manager.start(&[("WATCHDOG_USEC", "200000")]);
    assert_eq!(manager.told(), "READY=1");
    for _ in 0..5 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
    // Another process was meant.
    let manager = Manager::new();
    let mut gateway = manager.start(&[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    assert_eq!(manager.hears(), "READY=1");
    gateway.signal("TERM");
    assert_eq!(manager.hears(), "STOPPING=1");
    assert_eq!(gateway.wait().code(), Some(0));
}
