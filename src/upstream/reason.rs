//! Why something failed, for those who run the gateway.

use std::io;

use pingora::Error;

/// The longest reason that is told, in characters.
const LONGEST: usize = 200;

/// What the system said, if it said anything; else what is known. It is one short line, whatever of an upstream's
/// answer it quotes.
pub fn reason(error: &Error) -> String {
    if let Some(io) = error.root_cause().downcast_ref::<io::Error>() {
        return io.to_string();
    }
    let line = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST).collect::<String>();
    if let Some(http2) = error.root_cause().downcast_ref::<h2::Error>() {
        return line(&http2.to_string());
    }
    match &error.context {
        Some(context) => format!("{}: {}", error.etype().as_str(), line(context.as_str())),
        None => error.etype().as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::{ErrorType, OrErr as _};

    #[test]
    fn a_reason_is_what_the_system_said_or_what_is_known() {
        let refused = io::Error::from_raw_os_error(111);
        let said = refused.to_string();
        let failed: Result<(), io::Error> = Err(refused);
        let failed = failed.or_err(ErrorType::ConnectRefused, "a long story").unwrap_err();
        assert_eq!(reason(&failed), said);
        assert_eq!(
            reason(&Error::explain(ErrorType::InvalidHTTPHeader, "twice")),
            "InvalidHTTPHeader: twice"
        );
        assert_eq!(reason(&Error::new(ErrorType::ConnectTimedout)), "ConnectTimedout");
    }
}
