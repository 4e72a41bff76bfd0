use std::net::TcpStream;

use tungstenite::{Message, WebSocket};

use crate::support::{PATIENCE, get, start};

fn connect(addr: std::net::SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (socket, response) = tungstenite::client(format!("ws://{addr}/ws"), stream).unwrap();
    assert_eq!(response.headers()["x-backend"], "mock");
    socket
}

#[test]
fn text_and_binary_come_back() {
    let backend = start();
    let mut socket = connect(backend.addr());
    for message in [Message::text("grüße"), Message::binary(vec![0, 255]), Message::text("")] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.send(Message::Ping("p".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("p".into()));
    socket.close(None).unwrap();
    assert!(socket.read().unwrap().is_close());
}

#[test]
fn a_stopped_server_has_no_open_sockets() {
    let backend = start();
    let mut socket = connect(backend.addr());
    backend.stop_blocking();
    match socket.read().unwrap_err() {
        tungstenite::Error::Io(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        tungstenite::Error::Protocol(_) => {}
        other => panic!("{other}"),
    }
}

#[test]
fn a_request_that_is_no_handshake_is_refused() {
    get(start().addr(), "/ws").assert_problem(400);
}
