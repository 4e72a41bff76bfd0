//! What is wrong with a config file, and where.
//!
//! The code that reads a value reports its problems, each with its place in the text, and reading goes on, so that all problems of a file
//! are reported at once. They are shown one a line, in the order of the file, as `path:line:column: what is wrong; what would be right`,
//! which editors and terminals can follow.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::lines::Lines;
use super::secrets::without_credentials;

pub use super::lines::{Place, Position, Span};

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

/// How many problems of a file are told to people. Whoever has mended those asks again.
const FIRST: usize = 20;

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

    /// The first problems of each file, which are enough to begin with.
    pub fn first(&self) -> impl Iterator<Item = (Place, &Problem)> {
        let mut told: HashMap<Option<&str>, usize> = HashMap::new();
        self.iter().filter(move |(_, problem)| {
            let told = told.entry(problem.file.as_deref()).or_default();
            *told += 1;
            *told <= FIRST
        })
    }

    /// The files that have more problems than those, and how many more.
    pub fn more(&self) -> Vec<(&str, usize)> {
        let mut files: Vec<(&str, usize)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (_, problem) in &self.list {
            let file = problem.file.as_ref().unwrap_or(&self.file);
            let at = *known.entry(file).or_insert_with(|| {
                files.push((file, 0));
                files.len() - 1
            });
            files[at].1 += 1;
        }
        files
            .into_iter()
            .filter_map(|(file, count)| Some((file, count.checked_sub(FIRST).filter(|more| *more > 0)?)))
            .collect()
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

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (place, problem)) in self.first().enumerate() {
            let end_of_previous = if index == 0 { "" } else { "\n" };
            let file = problem.file.as_ref().unwrap_or(&self.file);
            write!(f, "{end_of_previous}{file}:{}: {problem}", place.start)?;
        }
        for (file, more) in self.more() {
            write!(f, "\n{file}: and {more} more")?;
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
    main: Lines<'a>,
    /// Texts that stand behind it, as if all were one text.
    included: RefCell<Vec<Included>>,
    problems: RefCell<Vec<Problem>>,
    /// The problems of files that the file names.
    elsewhere: RefCell<Vec<(Place, Problem)>>,
    files: RefCell<Vec<PathBuf>>,
    keys: RefCell<Vec<PathBuf>>,
    secrets: RefCell<Vec<PathBuf>>,
}

/// The text of an included file.
#[derive(Debug)]
struct Included {
    name: Rc<str>,
    /// Where it begins, in bytes from the beginning of the first text.
    start: usize,
    lines: Lines<'static>,
}

/// A place, and the file that has it.
#[derive(Debug)]
pub(super) struct Located {
    /// The file; `None` if it is the config file.
    pub(super) file: Option<Rc<str>>,
    /// The range of bytes in that file.
    pub(super) span: Span,
    /// The same, in lines.
    pub(super) place: Place,
}

impl<'a> Sink<'a> {
    /// A sink for the problems of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            main: Lines::new(text.into()),
            included: RefCell::new(Vec::new()),
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

    /// Adds the text of an included file, behind all others. Returns where it begins.
    pub(super) fn include(&self, name: &str, text: String) -> usize {
        let mut included = self.included.borrow_mut();
        let end = included.last().map_or(self.main.length(), |last| last.start + last.lines.length());
        let start = end + 1;
        included.push(Included { name: name.into(), start, lines: Lines::new(text.into()) });
        start
    }

    /// Calls `of` with the file and the lines of the text that has this byte, and where it begins.
    fn of_text<T>(&self, at: usize, of: impl FnOnce(Option<&Rc<str>>, &Lines<'_>, usize) -> T) -> T {
        let included = self.included.borrow();
        let behind = included.partition_point(|included| included.start <= at);
        match behind.checked_sub(1).and_then(|index| included.get(index)) {
            Some(included) => of(Some(&included.name), &included.lines, included.start),
            None => of(None, &self.main, 0),
        }
    }

    /// The line of a byte in its file, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.of_text(at, |_, lines, start| lines.line(at - start))
    }

    /// The text of a line of the config file, counted from 1, without its end.
    pub(super) fn text_of_line(&self, line: usize) -> &str {
        self.main.text_of_line(line)
    }

    /// The line of a byte, for a message whose place is `here`: `line 3`, or `line 3 of routes/a.toml`.
    pub(super) fn line_seen_from(&self, here: usize, at: usize) -> String {
        let file = |at| self.of_text(at, |file, _, _| file.cloned());
        let line = format!("line {}", self.line(at));
        match file(at) {
            same if same == file(here) => line,
            Some(file) => format!("{line} of {file}"),
            None => format!("{line} of the file that includes this one"),
        }
    }

    /// Where a range of bytes is.
    pub(super) fn locate(&self, span: &Span) -> Located {
        self.of_text(span.start, |file, lines, start| {
            let span = span.start - start..span.end.max(span.start) - start;
            Located { file: file.cloned(), place: lines.place(&span), span }
        })
    }

    /// The place of a range of bytes in its file.
    fn place(&self, span: &Span) -> Place {
        self.locate(span).place
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
        let own = problems.into_iter().map(|problem| {
            let Located { file, span, place } = self.locate(&problem.span);
            (place, Problem { file: file.map(|file| file.to_string()), span, ..problem })
        });
        let list = own.chain(elsewhere).collect();
        Err(Problems { file: file.to_owned(), list, files: self.files.take() })
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
    fn problems_are_told_in_the_order_of_the_file() {
        let sink = Sink::new("one\ntwo\n");
        sink.report(&(4..7), Fault::new("second"));
        let reported = sink.report(&(0..3), Fault::new("first").hint("do better"));
        let problems = sink.finish::<()>("f.toml", Err(reported)).unwrap_err();
        assert_eq!(problems.to_string(), "f.toml:1:1: first; do better\nf.toml:2:1: second");
    }

    #[test]
    fn of_many_problems_the_first_of_each_file_are_told() {
        let (sink, other) = (Sink::new("x"), Sink::new("y"));
        for _ in 0..24 {
            sink.report(&(0..1), Fault::new("bad"));
        }
        let reported = sink.report(&(0..1), Fault::new("bad"));
        for _ in 0..21 {
            other.report(&(0..1), Fault::new("worse"));
        }
        sink.adopt("b", &other);
        let problems = sink.finish::<()>("a", Err(reported)).unwrap_err();
        let told = problems.to_string();
        assert_eq!((told.matches("a:1:1: bad").count(), told.matches("b:1:1: worse").count()), (20, 20));
        assert!(told.ends_with("\na: and 5 more\nb: and 1 more"), "{told}");
        assert_eq!(problems.iter().count(), 46);
    }

    #[test]
    fn places_are_those_of_the_file_that_has_them() {
        let sink = Sink::new("one\ntwo\n");
        let first = sink.include("a.toml", "three\nfour".to_owned());
        let second = sink.include("b.toml", "five".to_owned());
        assert_eq!((first, second), (9, 20));
        let at = |span: Span| {
            let located = sink.locate(&span);
            (located.file.as_deref().map(str::to_owned), located.span, located.place.start.to_string())
        };
        assert_eq!(at(4..7), (None, 4..7, "2:1".to_owned()));
        assert_eq!(at(8..8), (None, 8..8, "3:1".to_owned()), "the end");
        assert_eq!(at(15..19), (Some("a.toml".to_owned()), 6..10, "2:1".to_owned()));
        assert_eq!(at(19..19), (Some("a.toml".to_owned()), 10..10, "2:5".to_owned()));
        assert_eq!(at(21..22), (Some("b.toml".to_owned()), 1..2, "1:2".to_owned()));
        assert_eq!(sink.line_seen_from(5, 0), "line 1");
        assert_eq!(sink.line_seen_from(5, 15), "line 2 of a.toml");
        assert_eq!(sink.line_seen_from(20, 15), "line 2 of a.toml");
        assert_eq!(sink.line_seen_from(16, 10), "line 1");
        assert_eq!(sink.line_seen_from(16, 4), "line 2 of the file that includes this one");
        sink.report(&(20..24), Fault::new("fifth"));
        let reported = sink.report(&(0..3), Fault::new("first"));
        let problems = sink.finish::<()>("f.toml", Err(reported)).unwrap_err();
        assert_eq!(problems.to_string(), "f.toml:1:1: first\nb.toml:1:1: fifth");
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
