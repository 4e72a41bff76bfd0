//! The report as one page that needs nothing else: styles, scripts and numbers are in it.

use std::io;

use super::report::Report;

const CSS: &str = include_str!("html/report.css");
const JS: &str = include_str!("html/report.js");
const UPLOT_CSS: &str = include_str!("../admin/page/uplot/uPlot.min.css");
const UPLOT_JS: &str = include_str!("../admin/page/uplot/uPlot.iife.min.js");

/// Writes the page of a report.
///
/// # Errors
/// When `out` takes no more.
pub(super) fn write(report: &Report, out: &mut impl io::Write) -> io::Result<()> {
    let numbers = serde_json::to_string(report)?;
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Replay of an access log</title>\n<style>{UPLOT_CSS}\n{CSS}</style>\n</head>\n<body>\n\
         <noscript>This page draws its numbers with a script.</noscript>\n<main id=\"report\"></main>\n\
         <script type=\"application/json\" id=\"numbers\">{}</script>\n\
         <script>{UPLOT_JS}</script>\n<script>{JS}</script>\n</body>\n</html>\n",
        inert(&numbers)
    )
}

/// JSON in which nothing ends the element around it: what a log says is not to become a part of the page.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::report::LogPart;

    #[test]
    fn what_a_log_says_cannot_leave_its_element() {
        let hostile = "</script><script>alert(1)</script><!--";
        let log = LogPart { unreadable_lines: vec![hostile.to_owned()], ..LogPart::default() };
        let report = Report { log, configs: Vec::new(), notes: vec![hostile.to_owned()] };
        let mut page = Vec::new();
        write(&report, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(!page.contains(hostile));
        let begin = page.find("id=\"numbers\">").unwrap() + "id=\"numbers\">".len();
        let end = begin + page[begin..].find("</script>").unwrap();
        let read: serde_json::Value = serde_json::from_str(&page[begin..end]).unwrap();
        assert_eq!(read["notes"][0], hostile);
    }
}
