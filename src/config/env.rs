//! `${NAME}`, `${NAME:-default}` and `${file:PATH}` in the strings and keys of a config file.
//!
//! They are replaced after the file has been parsed, string by string: the value of a variable is never read as TOML, and places in the
//! file stay correct. As in a shell, a default is also used for an empty variable. `$$` is a dollar sign. A bare `$NAME` is refused, since
//! its author most probably meant the variable.

use std::path::Path;

use super::problem::Fault;
use super::secret_file;

/// The environment: a variable's value, if it is set.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A string after substitution.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The string.
    pub(super) text: String,
    /// Whether a variable or a default went into it.
    pub(super) substituted: bool,
}

/// Replaces the variables in `text`; `note` is told of each file that is read. The error has each that cannot be replaced.
pub(super) fn expand(text: &str, env: Env<'_>, note: &dyn Fn(&Path)) -> Result<Expanded, Vec<Fault>> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), substituted: false };
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.text.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some((reference, after)) = after.split_once('}') else {
                faults
                    .push(Fault::new("`${` without its `}`").hint("write ${NAME}, or $$ for a dollar sign"));
                rest = "";
                break;
            };
            rest = after;
            expanded.substituted = true;
            match resolve(reference, env, note) {
                Ok(value) => expanded.text.push_str(&value),
                Err(fault) => faults.push(fault),
            }
        } else {
            if !leading_name(rest).is_empty() {
                // The word is not repeated in the message, since it may be a part of a password.
                faults.push(
                    Fault::new("a `$` and a word behind it, which is not replaced")
                        .hint("write ${NAME} for the variable, or $$ for a dollar sign"),
                );
            }
            expanded.text.push('$');
        }
    }
    expanded.text.push_str(rest);
    if faults.is_empty() { Ok(expanded) } else { Err(faults) }
}

/// The value of the reference between the braces.
fn resolve(reference: &str, env: Env<'_>, note: &dyn Fn(&Path)) -> Result<String, Fault> {
    if let Some(path) = reference.strip_prefix(FILE) {
        if path.trim().is_empty() {
            return Err(Fault::new("`${file:}` names no file").hint("such as ${file:/run/secrets/token}"));
        }
        note(Path::new(path));
        return secret_file::read(Path::new(path));
    }
    let name = leading_name(reference);
    let default = match reference.get(name.len()..) {
        Some("") => None,
        Some(rest) => Some(rest.strip_prefix(":-").ok_or_else(malformed)?),
        None => None,
    };
    if name.is_empty() {
        return Err(malformed());
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(Fault::new(format!("the default of `{name}` holds another `${{`"))
            .hint("a default is plain text: ${NAME:-default}"));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Fault::new(format!("the environment variable `{name}` is not set"))
            .hint(format!("set it, or give a default: ${{{name}:-default}}"))),
    }
}

/// What a reference to a file begins with.
pub(super) const FILE: &str = "file:";

/// The text between the braces is not repeated, since it may have the default of a secret.
fn malformed() -> Fault {
    Fault::new("what is between `${` and `}` is not a variable")
        .hint("write ${NAME}, ${NAME:-default} or ${file:PATH}, with a name of letters, digits and _; $$ is a dollar sign")
}

/// The name of a variable that `text` starts with; may be empty.
pub(super) fn leading_name(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.org".into()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("${HOST}".into()),
            _ => None,
        }
    }

    fn text(text: &str) -> String {
        expand(text, &env, &|_| ()).unwrap().text
    }

    #[test]
    fn variables_and_defaults_are_replaced() {
        assert_eq!(text("https://${HOST}/${EMPTY}."), "https://example.org/.");
        assert_eq!(text("${NONE:-127.0.0.1:9000}"), "127.0.0.1:9000");
        assert_eq!(text("${EMPTY:-x}${HOST:-y}${NONE:-}"), "xexample.org");
    }

    #[test]
    fn what_a_variable_holds_is_not_replaced_again() {
        assert_eq!(text("${DOLLAR}"), "${HOST}");
    }

    #[test]
    fn dollars() {
        assert_eq!(text("$$HOST costs $5 or 5$, $${HOST}"), "$HOST costs $5 or 5$, ${HOST}");
        assert!(!expand("$$", &env, &|_| ()).unwrap().substituted);
        assert!(expand("${NONE:-}", &env, &|_| ()).unwrap().substituted);
    }

    #[test]
    fn every_reference_that_fails_is_told() {
        let faults = expand("${A} ${b c} ${A:-${B}} $HOST ${", &env, &|_| ()).unwrap_err();
        let messages: Vec<&str> = faults.iter().map(|fault| &*fault.message).collect();
        assert_eq!(
            messages,
            [
                "the environment variable `A` is not set",
                "what is between `${` and `}` is not a variable",
                "the default of `A` holds another `${`",
                "a `$` and a word behind it, which is not replaced",
                "`${` without its `}`",
            ]
        );
    }
}
