//! Why something failed, for those who run the gateway.

use pingora::Error;

use super::cause::io_error;

/// The longest reason that is told, in characters, and the longest of the log, where it is told with how it came to it.
const LONGEST: usize = 200;
const LONGEST_STORY: usize = 600;

/// What the system said, if it said anything; else what is known. It is one short line, whatever of an upstream's
/// answer it quotes.
pub fn reason(error: &Error) -> String {
    let line = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST).collect::<String>();
    if let Some(io) = io_error(error) {
        return line(&io.to_string());
    }
    if let Some(http2) = error.root_cause().downcast_ref::<h2::Error>() {
        return line(&http2.to_string());
    }
    match &error.context {
        Some(context) => format!("{}: {}", error.etype().as_str(), line(context.as_str())),
        None => error.etype().as_str().to_owned(),
    }
}

/// The whole story of a failure for the log, in one line: what each part of the program has to say of it.
pub fn story(error: &Error) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(LONGEST_STORY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::{ErrorType, OrErr as _};
    use std::io;

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
    #[test]
    fn a_story_is_one_line_of_bounded_length() {
        let said = format!("first\r\nsecond {}", "x".repeat(1 << 20));
        let story = story(&Error::explain(ErrorType::InvalidHTTPHeader, said));
        assert!(story.contains("firstsecond"), "{story}");
        assert!(story.len() <= LONGEST_STORY);
    }
}
