//! What is wrong with a config file, and where.
//!
//! The code that reads a value reports its problems, each with its place in the text, and reading goes on, so that all problems of a file
//! are reported at once. They are shown one a line, in the order of the file, as `path:line:column: what is wrong; what would be right`,
//! which editors and terminals can follow.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::secrets::without_credentials;

/// A range of bytes of the config file.
pub type Span = Range<usize>;

/// Something that is wrong with a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, if it is another one than the config file: one that the config file names.
    pub file: Option<String>,
    /// Its place, in bytes.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// A place in a file. Lines and columns are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// The place of a text in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first character.
    pub start: Position,
    /// The character behind its last one.
    pub end: Position,
}

/// All that is wrong with a config file, in the order of the file; never empty.
#[derive(Clone, Debug)]
pub struct Problems {
    file: String,
    list: Vec<(Place, Problem)>,
    files: Vec<PathBuf>,
}

impl Problems {
    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Problem)> {
        self.list.iter().map(|(place, problem)| (*place, problem))
    }

    /// The other files that it names, as far as they could be read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (place, problem)) in self.list.iter().enumerate() {
            let end_of_previous = if index == 0 { "" } else { "\n" };
            let file = problem.file.as_ref().unwrap_or(&self.file);
            write!(f, "{end_of_previous}{file}:{}: {problem}", place.start)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A problem of a value, without a place: parsers of values do not know it.
///
/// A borrowed text is a part of the program. It does not contain the value, so it may be shown even if the value is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: Cow<'static, str>,
    pub(super) hint: Option<Cow<'static, str>>,
}

impl Fault {
    pub(super) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same fault of a secret value: `shown` replaces the quoted value. A message that contains the value in another form is
    /// replaced as a whole, and such a hint is left out.
    pub(super) fn hiding(self, value: &str, shown: &str) -> Self {
        let hint = self.hint.filter(|hint| matches!(hint, Cow::Borrowed(_)));
        let message = match self.message {
            Cow::Owned(message) if message.contains(shown) => message.into(),
            Cow::Owned(message) if message.contains(&quoted(value)) => {
                message.replace(&quoted(value), shown).into()
            }
            Cow::Owned(_) => format!("{shown} cannot be used here").into(),
            message => message,
        };
        Self { message, hint }
    }
}

/// Proof that a problem of a value has been reported, so that it is not reported again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported(());

/// A value, or the proof that its problem has been reported.
pub(super) type Checked<T> = Result<T, Reported>;

/// All values, or the proof that one could not be read. All values are read, also after one that could not be.
pub(super) fn together<T>(values: impl Iterator<Item = Checked<T>>) -> Checked<Vec<T>> {
    let values: Vec<Checked<T>> = values.collect();
    values.into_iter().collect()
}

/// Where problems are recorded while a file is read.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    /// The problems of files that the file names.
    elsewhere: RefCell<Vec<(Place, Problem)>>,
    files: RefCell<Vec<PathBuf>>,
    keys: RefCell<Vec<PathBuf>>,
    secrets: RefCell<Vec<PathBuf>>,
}

impl<'a> Sink<'a> {
    /// A sink for the problems of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        Self {
            text,
            line_starts: std::iter::once(0).chain(breaks).collect(),
            problems: RefCell::new(Vec::new()),
            elsewhere: RefCell::new(Vec::new()),
            files: RefCell::new(Vec::new()),
            keys: RefCell::new(Vec::new()),
            secrets: RefCell::new(Vec::new()),
        }
    }

    /// Notes another file that the configuration is made of.
    pub(super) fn note_file(&self, path: &Path) {
        self.files.borrow_mut().push(path.to_owned());
    }

    /// The other files that the configuration is made of, each as often as it is named.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// Notes that one of these files has a private key.
    pub(super) fn note_key(&self, path: &Path) {
        self.keys.borrow_mut().push(path.to_owned());
    }

    /// Those of the other files that have private keys.
    pub(super) fn keys(&self) -> Vec<PathBuf> {
        self.keys.borrow().clone()
    }

    /// Notes that one of these files has another secret, or hashes of passwords.
    pub(super) fn note_secret(&self, path: &Path) {
        self.secrets.borrow_mut().push(path.to_owned());
    }

    /// Those of the other files that have other secrets, or hashes of passwords.
    pub(super) fn secrets(&self) -> Vec<PathBuf> {
        self.secrets.borrow().clone()
    }

    /// Records a problem.
    pub(super) fn report(&self, span: &Span, fault: Fault) -> Reported {
        let Fault { message, hint } = fault;
        let (message, hint) = (message.into_owned(), hint.map(Cow::into_owned));
        self.problems.borrow_mut().push(Problem { file: None, span: span.clone(), message, hint });
        Reported(())
    }

    /// Whether a problem has been recorded.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty() || !self.elsewhere.borrow().is_empty()
    }

    /// Takes over the problems of another file, which is called `file`, and the files that it names.
    pub(super) fn adopt(&self, file: &str, other: &Sink<'_>) {
        let problems = other.problems.take();
        let placed = problems
            .into_iter()
            .map(|problem| (other.place(&problem.span), Problem { file: Some(file.to_owned()), ..problem }));
        let mut placed: Vec<_> = placed.collect();
        placed.sort_by_key(|(place, _)| place.start);
        let mut elsewhere = self.elsewhere.borrow_mut();
        elsewhere.append(&mut placed);
        elsewhere.append(&mut other.elsewhere.take());
        self.files.borrow_mut().append(&mut other.files.take());
        self.keys.borrow_mut().append(&mut other.keys.take());
        self.secrets.borrow_mut().append(&mut other.secrets.take());
    }

    /// The proof of a problem that has been reported before.
    pub(super) fn already_reported(&self) -> Reported {
        debug_assert!(self.has_problems(), "nothing has been reported");
        Reported(())
    }

    /// The proof of a problem that will be reported before reading ends.
    pub(super) fn reported_later(&self) -> Reported {
        Reported(())
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }

    /// The text of a line, counted from 1, without its end.
    pub(super) fn text_of_line(&self, line: usize) -> &'a str {
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index));
        start.and_then(|&start| self.text.get(start..)?.lines().next()).unwrap_or_default()
    }

    fn position(&self, at: usize) -> Position {
        let line = self.line(at);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.as_bytes().get(start..at.min(self.text.len())).unwrap_or_default();
        // A character of UTF-8 has one byte that does not continue another.
        let characters = before.iter().filter(|&&byte| byte & 0b1100_0000 != 0b1000_0000).count();
        Position { line, column: characters + 1 }
    }

    /// The place of a range of bytes.
    pub(super) fn place(&self, span: &Span) -> Place {
        Place { start: self.position(span.start), end: self.position(span.end.max(span.start)) }
    }

    /// The value if no problem was recorded; else the problems, sorted.
    pub(super) fn finish<T>(self, file: &str, value: Checked<T>) -> Result<T, Problems> {
        let (mut problems, elsewhere) = (self.problems.take(), self.elsewhere.take());
        let has_none = problems.is_empty() && elsewhere.is_empty();
        match value {
            Ok(value) if has_none => return Ok(value),
            // Each `Reported` was made for a problem.
            Err(_) if has_none => debug_assert!(false, "nothing has been reported"),
            _ => problems.sort_by_key(|problem| problem.span.start),
        }
        let own = problems.into_iter().map(|problem| (self.place(&problem.span), problem));
        let list = own.chain(elsewhere).collect();
        Err(Problems { file: file.to_owned(), list, files: self.files.into_inner() })
    }
}

/// A text in quotes for a message: on one line, cut when it is long, and without the password of a URL.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = &*without_credentials(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// Several words for a message: `a, b or c`.
pub(super) fn any_of<S: AsRef<str>>(words: &[S]) -> String {
    match words {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let text = "a\nöö = 1\r\n\nend";
        let sink = Sink::new(text);
        for (needle, line, column) in [("a", 1, 1), ("= 1", 2, 4), ("end", 4, 1)] {
            assert_eq!(sink.position(text.find(needle).unwrap()), Position { line, column });
        }
        assert_eq!(sink.position(text.len()), Position { line: 4, column: 4 });
        assert_eq!(sink.position(usize::MAX).line, 4);
        assert_eq!(sink.text_of_line(2), "öö = 1");
    }

    #[test]
    fn problems_are_told_in_the_order_of_the_file() {
        let sink = Sink::new("one\ntwo\n");
        sink.report(&(4..7), Fault::new("second"));
        let reported = sink.report(&(0..3), Fault::new("first").hint("do better"));
        let problems = sink.finish::<()>("f.toml", Err(reported)).unwrap_err();
        assert_eq!(problems.to_string(), "f.toml:1:1: first; do better\nf.toml:2:1: second");
    }

    #[test]
    fn a_fault_of_a_value_that_may_not_be_shown_says_nothing_of_it() {
        let hidden = |fault: Fault| {
            let Fault { message, hint } = fault.hiding("hunter2", "\"${PW}\"");
            (message.into_owned(), hint)
        };
        let quoting = Fault::new(format!("{} is no rate", quoted("hunter2"))).hint("such as \"10/s\"");
        assert_eq!(hidden(quoting), ("\"${PW}\" is no rate".to_owned(), Some("such as \"10/s\"".into())));
        let derived = Fault::new("`HUNTER2` is odd".to_owned()).hint(format!("write {}", "hunter 2"));
        assert_eq!(hidden(derived), ("\"${PW}\" cannot be used here".to_owned(), None));
    }

    #[test]
    fn long_and_odd_texts_stay_on_one_line() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"ö".repeat(100)).chars().count(), 63);
    }
}
