//! The report for a terminal.

use std::fmt::{self, Display, Formatter, Write as _};

use super::fate::Totals;
use super::report::{ConfigPart, LimitPart, LogPart, Report, SpreadLimitPart};
use super::timeline::{Interval, Timeline};

/// How many columns a picture over time has at most.
const COLUMNS: usize = 60;

/// The eight heights of a column.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        log(&self.log, f)?;
        for config in &self.configs {
            writeln!(f, "\n{}", config.name)?;
            totals(config, f)?;
            for (index, limit) in config.run.limits.iter().enumerate() {
                let spread = config.spread.as_ref().and_then(|spread| spread.limits.get(index));
                self::limit(limit, spread, &self.log, f)?;
            }
        }
        if let [first, second] = &*self.configs {
            compared(first, second, f)?;
        }
        if !self.notes.is_empty() {
            writeln!(f, "\nWhat this log does not know")?;
        }
        self.notes.iter().try_for_each(|note| paragraph(note, f))
    }
}

fn log(log: &LogPart, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{} requests", grouped(log.requests))?;
    if let (Some(first), Some(last)) = (&log.first, &log.last) {
        write!(f, " from {} to {} UTC ({})", to_seconds(first), to_seconds(last), duration(log.seconds))?;
    }
    writeln!(f, "\nin {} ({})", log.files.join(", "), log.formats.join(", "))?;
    if log.unreadable > 0 {
        writeln!(f, "{} of {} lines could not be read:", grouped(log.unreadable), grouped(log.lines))?;
        log.unreadable_lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
    }
    Ok(())
}

fn totals(config: &ConfigPart, f: &mut Formatter<'_>) -> fmt::Result {
    let totals = &config.run.totals;
    let mut row = |name: &str, count: fn(&Totals) -> u64| {
        let told = count(totals);
        let spread = config.spread.as_ref().map(|spread| count(&spread.totals));
        if told == 0 && spread.unwrap_or(0) == 0 {
            return Ok(());
        }
        writeln!(f, "  {name:<24}{}", counted(told, spread, totals.requests))
    };
    row("admitted", |totals| totals.admitted)?;
    row("refused", |totals| totals.refused)?;
    row("refused in dry run only", |totals| totals.would_refuse)?;
    row("without a route", |totals| totals.without_route)?;
    row("before any limit", |totals| totals.not_asked)?;
    if let Some(agreement) = &config.run.agreement {
        writeln!(
            f,
            "  as in the log           {} decisions; otherwise {}, within the log's precision {}, in the other order {}",
            grouped(agreement.same),
            grouped(agreement.different),
            grouped(agreement.close),
            grouped(agreement.swapped),
        )?;
    }
    Ok(())
}

fn limit(
    limit: &LimitPart,
    spread: Option<&SpreadLimitPart>,
    log: &LogPart,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let mode = if limit.dry_run { ", in dry run" } else { "" };
    writeln!(f, "\n  limit {}: {}, by {}{mode}", limit.name, limit.allows, limit.key)?;
    if let Some(part) = &limit.unjudged {
        return writeln!(f, "    cannot be judged: the log does not tell {part}");
    }
    if limit.asked == 0 {
        return writeln!(f, "    counted no request{}", exempt(limit));
    }
    let refused = counted(limit.outcomes.refused, spread.map(|spread| spread.outcomes.refused), limit.asked);
    writeln!(f, "    refused {refused} of {} requests{}", grouped(limit.asked), exempt(limit))?;
    if let (Some(clients), Some(refused)) = (limit.clients, limit.clients_refused) {
        let about = if limit.one_client_of > 1 { "about " } else { "" };
        let refused = counted(refused, None, clients);
        writeln!(f, "    refused {about}{refused} of {about}{} clients at least once", grouped(clients))?;
    }
    if limit.outcomes.refused > 0 {
        over_time(&limit.timeline, log, f)?;
        hardest(limit, f)?;
    }
    frontier(limit, f)
}

fn exempt(limit: &LimitPart) -> String {
    let mut text = String::new();
    if limit.exempt > 0 {
        let _ = write!(text, "; {} of clients that are never limited", grouped(limit.exempt));
    }
    if limit.outcomes.spared > 0 {
        let _ = write!(text, "; {} were refused by another limit", grouped(limit.outcomes.spared));
    }
    text
}

/// A picture of the share refused over time.
fn over_time(timeline: &Timeline, log: &LogPart, f: &mut Formatter<'_>) -> fmt::Result {
    let timeline = timeline.narrowed(COLUMNS);
    let share = |interval: &Interval| ratio(interval.refused, interval.asked);
    let most = timeline.intervals().iter().map(share).fold(0.0, f64::max);
    let picture: String = timeline.intervals().iter().map(|interval| column(share(interval), most)).collect();
    writeln!(
        f,
        "    refused over time, up to {} of an interval of {}:",
        percent(most),
        duration(timeline.interval().as_secs_f64())
    )?;
    writeln!(f, "    {picture}")?;
    let (Some(first), Some(last)) = (&log.first, &log.last) else { return Ok(()) };
    let (first, last) = (clock_time(first), clock_time(last));
    let width = timeline.intervals().len().saturating_sub(first.len()).max(last.len() + 1);
    writeln!(f, "    {first}{last:>width$}")
}

/// A column as high as a share of the most. An interval in which anybody was refused is never empty.
fn column(share: f64, most: f64) -> char {
    if share <= 0.0 || most <= 0.0 {
        return ' ';
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 8")]
    let height = (share / most * 8.0).ceil() as usize;
    HEIGHTS[height.clamp(1, 8) - 1]
}

fn hardest(limit: &LimitPart, f: &mut Formatter<'_>) -> fmt::Result {
    let width = limit.hardest.iter().map(|hit| hit.client.chars().count()).max().unwrap_or(0).clamp(14, 60);
    writeln!(f, "    {:<width$}  {:>10}  {:>10}  longest wait", "refused most", "refused", "of")?;
    for hit in &limit.hardest {
        let asked = hit.asked.map_or_else(String::new, grouped);
        writeln!(
            f,
            "    {:<width$}  {:>10}  {asked:>10}  {:>12}",
            hit.client,
            grouped(hit.refused),
            duration(hit.longest_wait)
        )?;
    }
    if limit.hardest_missed > 0 {
        writeln!(f, "    each may have been refused {} times more", grouped(limit.hardest_missed))?;
    }
    Ok(())
}

fn frontier(limit: &LimitPart, f: &mut Formatter<'_>) -> fmt::Result {
    if limit.frontier.is_empty() {
        return Ok(());
    }
    writeln!(f, "    the smallest burst at which this share of clients is ever refused:")?;
    writeln!(f, "    {:>12}  {:>16}  {:>16}  {:>16}", "rate", "none", "0.1 %", "1 %")?;
    for row in &limit.frontier {
        let mark = if row.configured { "*" } else { " " };
        write!(f, "    {mark}{:>11}", row.rate)?;
        for burst in &row.bursts {
            write!(f, "  {burst:>16}")?;
        }
        writeln!(f)?;
    }
    match limit.advice() {
        Some(advice) => writeln!(f, "    {advice}"),
        None => Ok(()),
    }
}

/// Two configurations beside each other.
fn compared(first: &ConfigPart, second: &ConfigPart, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nBeside each other: requests refused by {} and by {}", first.name, second.name)?;
    let mut names: Vec<&str> = first.run.limits.iter().map(|limit| limit.name.as_str()).collect();
    for limit in &second.run.limits {
        if !names.contains(&limit.name.as_str()) {
            names.push(&limit.name);
        }
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(12);
    let mut row = |name: &str, values: [Option<u64>; 2]| {
        let [a, b] = values.map(|value| value.map_or_else(|| "-".to_owned(), grouped));
        writeln!(f, "  {name:<width$}  {a:>14}  {b:>14}")
    };
    row("all limits", [first, second].map(|config| Some(config.run.totals.refused)))?;
    for name in names {
        row(name, [first, second].map(|config| config.run.limit(name).map(|limit| limit.outcomes.refused)))?;
    }
    Ok(())
}

/// A count with its share, or the two bounds of it.
fn counted(told: u64, spread: Option<u64>, of: u64) -> String {
    match spread.filter(|spread| *spread != told) {
        None => format!("{} ({})", grouped(told), percent(ratio(told, of))),
        Some(spread) => {
            let (low, high) = (told.min(spread), told.max(spread));
            format!(
                "{} to {} ({} to {})",
                grouped(low),
                grouped(high),
                percent(ratio(low, of)),
                percent(ratio(high, of))
            )
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let ratio = part as f64 / whole.max(1) as f64;
    ratio
}

/// A share for people: never 0 % where there is something, never 100 % where something is missing.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent > 0.0 && percent < 0.01 => "< 0.01 %".to_owned(),
        _ if percent < 100.0 && percent > 99.99 => "> 99.99 %".to_owned(),
        _ if percent > 0.0 && percent < 1.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in seconds, for people.
fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds <= 0.0 => "0 s".to_owned(),
        _ if seconds < 1.0 => format!("{} ms", (seconds * 1000.0).ceil()),
        _ if seconds < 120.0 => format!("{} s", (seconds * 10.0).round() / 10.0),
        _ if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// An RFC 3339 time in UTC, to the second.
fn to_seconds(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// The time of day of an RFC 3339 time, to the second.
fn clock_time(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// A note, wrapped.
fn paragraph(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    let mut column = 2;
    f.write_str("- ")?;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 2 && column + 1 + length > 110 {
            f.write_str("\n  ")?;
            column = 2;
        } else if column > 2 {
            f.write_str(" ")?;
            column += 1;
        }
        f.write_str(word)?;
        column += length;
    }
    f.write_str("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.000_001, 0.005, 0.25, 0.999_999, 1.0].map(percent),
            ["0.0 %", "< 0.01 %", "0.50 %", "25.0 %", "> 99.99 %", "100.0 %"]
        );
        assert_eq!(
            [0.0, 0.0001, 0.25, 1.04, 60.0, 600.0, 36_000.0, 864_000.0].map(duration),
            ["0 s", "1 ms", "250 ms", "1 s", "60 s", "10 min", "10.0 h", "10.0 days"]
        );
        assert_eq!(counted(5, Some(2), 10), "2 to 5 (20.0 % to 50.0 %)");
        assert_eq!(counted(5, Some(5), 10), "5 (50.0 %)");
    }

    #[test]
    fn a_column_is_empty_only_where_nobody_was_refused() {
        assert_eq!([0.0, 0.001, 0.5, 1.0].map(|share| column(share, 1.0)), [' ', '▁', '▄', '█']);
    }
}
