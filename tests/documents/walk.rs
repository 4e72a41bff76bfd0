//! A document, tried from its beginning to its end.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::commands::Command;
use super::comments::{Comment, OfBlock};
use super::comparing::compare;
use super::fragments::{complete, file_name};
use super::markdown::{Block, Document, Part};
use super::session::Session;

/// Languages of blocks that nobody runs: what they show is read by people and other programs.
const SHOWN_ONLY: [&str; 8] = ["http", "ini", "json", "mermaid", "python", "rust,ignore", "text", "yaml"];

/// Says what a document shows and what is not so.
pub(crate) struct Walk<'a> {
    document: &'a Document,
    session: Session,
    /// What is said of the next block.
    of_block: Vec<OfBlock>,
    wrong: String,
    /// What the document should show: a range of its lines, and the lines.
    right: Vec<(usize, usize, String)>,
}

impl<'a> Walk<'a> {
    /// Tries all blocks of a document. With `UPDATE_EXPECTED` in the environment, what it shows is put right in the document.
    ///
    /// # Panics
    /// When something is not as it is shown.
    pub(crate) fn through(document: &'a Document) {
        let mut walk =
            Self { document, session: Session::new(), of_block: vec![], wrong: String::new(), right: vec![] };
        for part in &document.parts {
            walk.take(part);
        }
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            walk.update();
        }
        assert!(walk.wrong.is_empty(), "\n{}{}", walk.wrong, walk.session.printed());
    }

    fn say(&mut self, line: usize, what: &str) {
        writeln!(self.wrong, "{}:{line}: {what}", self.document.path).unwrap();
    }

    fn take(&mut self, part: &Part) {
        match part {
            Part::Comment(line, text) => match Comment::parse(text) {
                Ok(Comment::OfBlock(what)) => self.of_block.push(what),
                Ok(comment) => self.obey(*line, comment),
                Err(wrong) => self.say(*line, &wrong),
            },
            Part::Block(block) => {
                let of_block = std::mem::take(&mut self.of_block);
                self.try_block(block, &of_block);
            }
            Part::Other => {
                if !std::mem::take(&mut self.of_block).is_empty() {
                    let what = "a comment of a block stands before no block, somewhere above";
                    self.say(1, what);
                }
            }
        }
    }

    fn obey(&mut self, line: usize, comment: Comment) {
        match comment {
            Comment::Run(commands) => {
                for command in Command::of_script(&commands) {
                    self.run(line, &command);
                }
            }
            Comment::Variable(name, value) => self.session.set(name, &value),
            Comment::Interrupt => self.session.interrupt(),
            Comment::OfBlock(_) => unreachable!("taken above"),
        }
    }

    fn try_block(&mut self, block: &Block, of_block: &[OfBlock]) {
        let not_run = |code: &str| {
            of_block
                .iter()
                .any(|what| matches!(what, OfBlock::NotRun(beginning) if code.starts_with(beginning)))
        };
        // Only a comment that names no beginning is about a command without a text: it is about the whole block.
        if not_run("") {
            return;
        }
        let commands = match block.language.as_str() {
            "toml" => return self.check(block, of_block),
            "sh" => Command::of_script(&block.text),
            "console" => Command::of_console(&block.text),
            language if SHOWN_ONLY.contains(&language) => {
                if block.text.lines().any(|line| line.starts_with("$ ")) {
                    self.say(block.line, "a block with commands is of the language `console`");
                }
                return;
            }
            language => {
                let what = format!("nobody knows what to do with a block of {language:?}");
                return self.say(block.line, &what);
            }
        };
        if commands.is_empty() {
            self.say(block.line, "a block of commands without a command");
        }
        self.session.set_terminal(of_block.contains(&OfBlock::Terminal));
        for command in commands.iter().filter(|command| !not_run(&command.text)) {
            match &command.shown {
                Some(shown) => self.compare(block, command, shown, of_block),
                None => self.run(block.line + command.lines[0], command),
            }
        }
        self.session.set_terminal(false);
    }

    /// Runs a command whose output is shown. What it says is what counts: commands that fail are shown too.
    fn compare(&mut self, block: &Block, command: &Command, shown: &str, of_block: &[OfBlock]) {
        let (mut printed, _) = self.session.run(command);
        for what in of_block {
            if let OfBlock::Output(filter) = what {
                printed = self.session.filter(filter, &printed);
            }
        }
        if let Err((difference, right)) = compare(shown, &printed) {
            let [before, from, to] = command.lines.map(|lines| block.line + lines);
            self.say(before, &format!("`{}` prints something else:\n{difference}", command.text));
            self.right.push((from, to, right));
        }
    }

    /// Runs a command whose output is not shown.
    fn run(&mut self, line: usize, command: &Command) {
        let (printed, good) = self.session.run(command);
        if !good {
            self.say(line, &format!("`{}` fails:\n{printed}", command.text));
        }
    }

    /// Has `gateway check` read a block, and writes it where it belongs.
    fn check(&mut self, block: &Block, of_block: &[OfBlock]) {
        let (mut before, mut with, mut top) = ("", "", None);
        for what in of_block {
            match what {
                OfBlock::In(lines) => before = lines,
                OfBlock::With(lines) => with = lines,
                OfBlock::AtTheTopOf(name) => top = Some(name.as_str()),
                OfBlock::NotRun(_) | OfBlock::Output(_) | OfBlock::Terminal => {
                    self.say(block.line, "this comment is not for TOML");
                }
            }
        }
        let whole = file_name(&block.text);
        let name = whole.or(top).unwrap_or(".fragment.toml");
        let before = if before.is_empty() { String::new() } else { format!("{before}\n") };
        let fragment = format!("{before}{}\n{with}\n", block.text);
        let text = match (whole, top) {
            (Some(_), _) => Ok(block.text.clone()),
            (None, Some(name)) => Ok(format!("{}\n{}", block.text, self.session.read(name))),
            (None, None) => complete(&fragment),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => return self.say(block.line, &error),
        };
        // A file that serves has its ports; in a fragment they would be those of nobody.
        let text = if whole.or(top).is_some() { self.session.with_ports(&text) } else { text };
        self.session.write(name, &text);
        let check = Command::of_script(&format!("gateway check --config {name}")).remove(0);
        self.run(block.line, &check);
    }

    /// Writes into the document what it should show.
    fn update(&self) {
        let mut lines: Vec<_> = self.document.text.split_inclusive('\n').map(str::to_owned).collect();
        for (from, to, right) in self.right.iter().rev() {
            lines.splice(from - 1..to - 1, [right.clone()]);
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&self.document.path);
        fs::write(path, lines.concat()).unwrap();
    }
}
