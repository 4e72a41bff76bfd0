//! Methods, header names and header values.

use http::{HeaderName, HeaderValue, Method};

use super::super::problem::{Fault, quoted};

/// What matches a method, and the name of a header field.
pub(in super::super) const METHOD: &str = "[0-9A-Z!#$%&'*+.^_`|~-]+";
pub(in super::super) const HEADER_NAME: &str = "[0-9A-Za-z!#$%&'*+.^_`|~-]+";

/// Parses a method, which is in capital letters: methods are compared as they are written.
pub(in super::super) fn method(text: &str) -> Result<Method, Fault> {
    let upper = text.to_ascii_uppercase();
    let Ok(method) = Method::from_bytes(upper.as_bytes()) else {
        return Err(Fault::new(format!("{} is not a method", quoted(text)))
            .hint("such as \"GET\", \"POST\" or \"DELETE\""));
    };
    if method == Method::CONNECT {
        return Err(
            Fault::new("CONNECT asks for a tunnel, which the gateway never opens").hint("leave it out")
        );
    }
    if upper != text {
        return Err(Fault::new(format!("{} is not in capital letters", quoted(text)))
            .hint(format!("write {}", quoted(&upper))));
    }
    Ok(method)
}

/// Parses the name of a header field, in any case.
pub(in super::super) fn header_name(text: &str) -> Result<HeaderName, Fault> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Fault::new(format!("{} is not the name of a header field", quoted(text)))
            .hint("a name has letters, digits and -, such as \"X-Api-Key\"")
    })
}

/// Parses the value of a header field. It may be a secret, so it is not repeated.
pub(in super::super) fn header_value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_| {
        Fault::new("this value has a character that no header field can carry")
            .hint("use printable ASCII only, on one line")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_capital_tokens_but_not_connect() {
        assert_eq!(method("GET"), Ok(Method::GET));
        assert_eq!(method("M-SEARCH").unwrap().as_str(), "M-SEARCH");
        assert_eq!(method("get").unwrap_err().hint.unwrap(), "write \"GET\"");
        assert!(method("Connect").unwrap_err().message.contains("tunnel"));
        for text in ["", "GET,POST", "*", "G T"] {
            // `*` is a token, but names no method that anybody sends; it is the one that surprises.
            assert_eq!(method(text).is_err(), text != "*", "{text}");
        }
    }

    #[test]
    fn header_fields() {
        assert_eq!(header_name("X-Api-Key").unwrap(), "x-api-key");
        assert!(header_name("X Api Key").is_err());
        assert!(header_name("").is_err());
        assert_eq!(header_value("a b").unwrap(), "a b");
        let fault = header_value("secret\n").unwrap_err();
        assert!(!format!("{fault:?}").contains("secret"));
    }
}
