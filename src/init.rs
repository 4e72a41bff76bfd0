//! `gateway init`: writes a configuration file to start from.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// What is written.
const STARTER: &str = include_str!("init/starter.toml");

/// Writes a file to start from to `path`. Returns what to do next, in words.
///
/// # Errors
/// When there is a file already, which stays as it is, or it cannot be written.
pub fn write(path: &Path) -> io::Result<String> {
    let shown = path.display();
    let said = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::new(
            error.kind(),
            format!("{shown} is there already, and stays as it is; --config names another file"),
        ),
        kind => io::Error::new(kind, format!("cannot write {shown}: {error}")),
    };
    let mut file = File::create_new(path).map_err(said)?;
    file.write_all(STARTER.as_bytes()).and_then(|()| file.sync_all()).map_err(said)?;
    Ok(format!(
        "wrote {shown}\n\
         1. Put the address of your service in the place of 127.0.0.1:3000.\n\
         2. Start the gateway: gateway --config {shown}\n\
         3. See it limit: for i in $(seq 30); do curl -s -o /dev/null -w '%{{http_code}} ' localhost:8000/; done\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_file_has_neither_problems_nor_warnings() {
        let config = Config::parse("starter.toml", STARTER, &|_| None).unwrap();
        assert_eq!(config.warnings(None), []);
        assert_eq!(config.summary(), "1 route, 1 limit, 1 upstream");
    }

    #[test]
    fn a_file_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), STARTER);
        std::fs::write(&path, "mine").unwrap();
        let error = write(&path).unwrap_err();
        assert!(error.to_string().contains("is there already"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let error = write(&folder.path().join("none/gateway.toml")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
    }
}
