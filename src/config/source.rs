//! Where a configuration comes from: a file, or the command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::warning::Warning;
use super::{Config, LoadError, variable};

/// Where a configuration comes from. It can be loaded any number of times.
#[derive(Clone, Debug)]
pub enum Source {
    /// The file at this path.
    File(PathBuf),
    /// A text that the command line says.
    Text {
        /// What it is called in messages.
        name: &'static str,
        /// The contents of a file that would say the same.
        text: Arc<str>,
    },
}

impl Source {
    /// The configuration.
    ///
    /// # Errors
    /// When the file cannot be read, or it has problems: all of them.
    pub fn load(&self) -> Result<Config, LoadError> {
        match self {
            Self::File(path) => Config::load(path),
            // Nothing that a command line says stands for a variable.
            Self::Text { name, text } => Config::parse(name, text, &variable).map_err(LoadError::Invalid),
        }
    }

    /// What is probably not meant in a valid configuration from here.
    pub fn warnings(&self, config: &Config) -> Vec<Warning> {
        config.warnings(self.path())
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text { .. } => None,
        }
    }
}

impl fmt::Display for Source {
    /// What it is called in messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text { name, .. } => f.write_str(name),
        }
    }
}
