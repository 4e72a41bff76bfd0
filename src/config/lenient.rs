//! Reads one value of a file that need not be valid: the address of the side port.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::env::expand;
use super::load::variable;
use super::validate::DEFAULT_ADMIN;
use super::value::address;

/// The address of the side port in the file at `path`, whatever else is wrong with the file; `None` if it is `"off"`. If the file has no
/// such value that can be read, it is the default.
///
/// # Errors
/// When the value is no address.
pub fn admin_listen(path: &Path) -> Result<Option<SocketAddr>, String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    read(&text, &variable)
}

fn read(text: &str, env: super::Env<'_>) -> Result<Option<SocketAddr>, String> {
    let (root, _) = DeTable::parse_recoverable(text.strip_prefix('\u{feff}').unwrap_or(text));
    let admin = root.get_ref().get("admin").map(|admin| admin.get_ref());
    let Some(DeValue::String(listen)) = admin
        .and_then(DeValue::as_table)
        .and_then(|admin| admin.get("listen"))
        .map(|listen| listen.get_ref())
    else {
        return Ok(Some(DEFAULT_ADMIN));
    };
    match expand(listen, env, &|_| ()).map(|listen| listen.text).as_deref() {
        Ok("off") => Ok(None),
        Ok(listen) => match address::listen(listen) {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err("admin.listen in the file is no address".to_owned()),
        },
        Err(_) => Err("admin.listen in the file has a variable that cannot be replaced".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_else_is_wrong_the_side_port_is_found() {
        let env = |name: &str| (name == "PORT").then(|| "9001".to_owned());
        for (text, listen) in [
            ("", Ok(Some("127.0.0.1:8001"))),
            ("[admin]\ntoken = 5\nlisten = \"10.0.0.1:1\"\n[server\nlisten = [", Ok(Some("10.0.0.1:1"))),
            ("x = \n[admin]\nlisten = \"[::1]:${PORT}\"\nno such line", Ok(Some("[::1]:9001"))),
            ("[admin]\nlisten = \"off\"\n[[routes]]\nrubbish", Ok(None)),
            ("[admin]\nlisten = \"everywhere\"", Err("admin.listen in the file is no address")),
            (
                "[admin]\nlisten = \"${ADMIN}\"",
                Err("admin.listen in the file has a variable that cannot be replaced"),
            ),
        ] {
            let expected = listen.map(|listen| listen.map(|l| l.parse().unwrap())).map_err(str::to_owned);
            assert_eq!(read(text, &env), expected, "{text}");
        }
    }
}
