//! The comments of documents that say how a block is tried. GitHub shows none of them.

/// Why a block of commands is not run. There is no other reason.
const REASONS: [&str; 9] = [
    "a measurement",
    "another program's file",
    "it compiles",
    "it runs these tests",
    "it asks for a password",
    "needs Docker",
    "needs Prometheus",
    "needs root",
    "needs systemd",
];

/// What a comment says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Comment {
    /// `run: COMMAND`: commands that a reader needs not, such as those that start the reader's own service.
    Run(String),
    /// `env: NAME=VALUE`: a variable of all commands from here on.
    Variable(String, String),
    /// `Ctrl-C`: whatever the document has started ends.
    Interrupt,
    /// What is said of the next block.
    OfBlock(OfBlock),
}

/// What a comment says of the block after it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OfBlock {
    /// `not run: REASON`, or `not run (BEGINNING): REASON` of the commands that begin so.
    NotRun(String),
    /// `with: TOML`: what the fragment refers to.
    With(String),
    /// `in: TOML`: the lines before the fragment, such as `[[routes]]`.
    In(String),
    /// `at the top of: FILE`: the fragment is written there.
    AtTheTopOf(String),
    /// `terminal`: the commands run on a terminal, where some programs print more.
    Terminal,
    /// `output: FILTER`: what is printed goes through this program before it is compared.
    Output(String),
}

impl Comment {
    /// Reads the text of a comment.
    ///
    /// # Errors
    /// When it is none of these.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "Ctrl-C" => return Ok(Self::Interrupt),
            "terminal" => return Ok(Self::OfBlock(OfBlock::Terminal)),
            _ => {}
        }
        let wrong = || format!("a comment that tests/documents/comments.rs does not know: {text}");
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        let value = value.trim();
        Ok(match name {
            "run" => Self::Run(value.to_owned()),
            "env" => {
                let (name, value) = value.split_once('=').ok_or_else(wrong)?;
                Self::Variable(name.to_owned(), value.to_owned())
            }
            "with" => Self::OfBlock(OfBlock::With(value.to_owned())),
            "in" => Self::OfBlock(OfBlock::In(value.to_owned())),
            "at the top of" => Self::OfBlock(OfBlock::AtTheTopOf(value.to_owned())),
            "output" => Self::OfBlock(OfBlock::Output(value.to_owned())),
            _ => {
                let what = name.strip_prefix("not run").ok_or_else(wrong)?.trim();
                if !REASONS.contains(&value) {
                    return Err(format!("{value:?} is no reason not to run it; these are: {REASONS:?}"));
                }
                let beginning = what.trim_start_matches('(').trim_end_matches(')');
                Self::OfBlock(OfBlock::NotRun(beginning.to_owned()))
            }
        })
    }
}
