//! Loads a [`Config`] from a file, or reports all problems of the file.

use std::path::{Path, PathBuf};
use std::{env, fmt, io};

use super::document::Node;
use super::env::Env;
use super::excerpt::Excerpts;
use super::include::{self, Part};
use super::problem::{Checked, Problems, Sink};
use super::text::{self, without_mark};
use super::{Config, advice, document, shown, validate};

/// Why a config file cannot be used.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be read.
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It has problems.
    Invalid(Problems),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => {
                write!(f, "cannot read the config file {}: {source}", path.display())
            }
            Self::Invalid(problems) => problems.fmt(f),
        }
    }
}

impl LoadError {
    /// The other files that the configuration names, as far as they are known.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::Io { .. } => &[],
            Self::Invalid(problems) => problems.files(),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Invalid(problems) => Some(problems),
        }
    }
}

/// A variable of the process's environment. A value that is not Unicode is kept with replacement characters, so that it is reported where
/// it is used.
pub fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The text of the file at `path`.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn read(path: &Path) -> Result<String, LoadError> {
    text::read(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })
}

/// What has been read of a file, with what it includes.
struct Whole {
    root: Node,
    parts: Vec<Part>,
}

/// Reads a file and those that it includes.
fn whole(text: &str, path: &Path, sink: &Sink<'_>, env: Env<'_>) -> Checked<Whole> {
    let root = document::read(text, env, sink)?;
    let parts = include::read(&root, path, sink, env)?;
    Ok(Whole { root, parts })
}

fn config(whole: Whole, name: &str, sink: &Sink<'_>, env: Env<'_>) -> Checked<Config> {
    let Whole { mut root, parts } = whole;
    include::merge(&mut root, parts, sink);
    let config = validate::config(&root, sink, env)?;
    let advice = advice::of(&config, &root, name, sink);
    let (files, keys, secrets) = (sink.files(), sink.keys(), sink.secrets());
    Ok(Config { files, keys, secrets, shown: shown::file(&root), advice, ..config })
}

impl Config {
    /// Reads the file at `path`, with the variables of the process's environment.
    ///
    /// # Errors
    /// When the file cannot be read, or has problems: all of them.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read(path)?;
        Self::parse_at(path, &text, &variable).map_err(LoadError::Invalid)
    }

    /// Reads the config file `text`, which is called `name` in messages. What it includes is found from the folder of that name on.
    ///
    /// # Errors
    /// When the file has problems: all of them.
    pub fn parse(name: &str, text: &str, env: Env<'_>) -> Result<Self, Problems> {
        Self::parse_at(Path::new(name), text, env)
    }

    fn parse_at(path: &Path, text: &str, env: Env<'_>) -> Result<Self, Problems> {
        let (name, text) = (path.display().to_string(), without_mark(text));
        let sink = Sink::new(text);
        let config = whole(text, path, &sink, env).and_then(|whole| config(whole, &name, &sink, env));
        sink.finish(&name, config)
    }

    /// Like [`parse`](Self::parse), with the lines of the texts to show beside problems and warnings.
    pub fn inspect<'a>(name: &str, text: &'a str, env: Env<'_>) -> (Result<Self, Problems>, Excerpts<'a>) {
        let text = without_mark(text);
        let sink = Sink::new(text);
        let root = document::read(text, env, &sink);
        let mut excerpts = Excerpts::new(name, text, root.as_ref().ok());
        let read = root.and_then(|root| {
            let parts = include::read(&root, Path::new(name), &sink, env)?;
            Ok(Whole { root, parts })
        });
        for part in read.iter().flat_map(|whole| &whole.parts) {
            excerpts.add(&part.name, part.text.clone(), &part.root);
        }
        let config = read.and_then(|whole| config(whole, name, &sink, env));
        (sink.finish(name, config), excerpts)
    }

    /// The index of the plan of this name.
    pub fn plan(&self, name: &str) -> Option<usize> {
        self.plans.iter().position(|plan| plan == name)
    }

    /// The numbers of its sections in one line: `3 routes, 2 limits, 1 upstream`.
    pub fn summary(&self) -> String {
        let count = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        [
            count(self.routes.len(), "route"),
            count(self.limits.len(), "limit"),
            count(self.upstreams.len(), "upstream"),
        ]
        .join(", ")
    }
}
