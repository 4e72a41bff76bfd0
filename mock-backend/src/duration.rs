//! Durations in query strings: `200ms`, `2s`.

use std::time::Duration;

use serde::Deserialize;

/// A time to wait, ten minutes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pause(Duration);

impl Pause {
    const MAX: Duration = Duration::from_secs(600);

    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(crate) async fn wait(self) {
        // A timer rounds up to its next millisecond, even for nothing.
        if !self.0.is_zero() {
            tokio::time::sleep(self.0).await;
        }
    }
}

impl TryFrom<String> for Pause {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number = number.parse::<u64>().map_err(|_| usage(&text))?;
        let duration = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            _ => return Err(usage(&text)),
        };
        if duration > Self::MAX {
            return Err(format!("`{text}` is longer than ten minutes"));
        }
        Ok(Self(duration))
    }
}

fn usage(text: &str) -> String {
    format!("`{text}` is not a duration: write a whole number and `ms` or `s`, as in `200ms`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Duration, String> {
        Pause::try_from(text.to_owned()).map(|pause| pause.0)
    }

    #[test]
    fn milliseconds_and_seconds() {
        assert_eq!(parse("0ms"), Ok(Duration::ZERO));
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse("600s"), Ok(Pause::MAX));
        assert_eq!(parse("600000ms"), Ok(Pause::MAX));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "ms", "-1s", "+1s", "1.5s", "1 s", "1m", "1S", "601s", "600001ms", "é"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("99999999999999999999s").is_err());
        assert!(parse("18446744073709551615s").is_err());
    }
}
