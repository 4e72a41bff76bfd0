//! What a table of the configuration may have: its keys, each with the type, the default and a description of its value.
//!
//! Each table is declared once, beside the code that reads it. A [`Section`](super::section::Section) reports the keys that its table
//! does not have, and the [schema](super::schema) for editors is made of the same tables, so that neither can know a key that the
//! other does not.

/// A table of the configuration.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) about: &'static str,
    pub(super) settings: &'static [Setting],
    /// Of these keys the table has exactly one.
    pub(super) one_of: &'static [&'static str],
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
    /// The default, as it would be written.
    pub(super) default: Option<&'static str>,
    /// A value for the documents, as it would be written, if its kind does not suggest one.
    example: Option<&'static str>,
    pub(super) required: bool,
}

/// The type of a value. Instead of any value that is no list and no table there may be a string with variables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any string.
    Text,
    /// A string that one of these regular expressions matches as a whole. They may match a little more than what is valid.
    Pattern(&'static [&'static str]),
    /// One of these strings.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
    /// A whole number in this range.
    Integer(u64, u64),
    /// A number from 0 to 1.
    Fraction,
    /// A string that one of these regular expressions matches as a whole, or a whole number in this range.
    Quantity(&'static [&'static str], u64, u64),
    /// A list of at least so many values.
    List(&'static Self, usize),
    /// A table with these keys.
    Table(&'static Table),
    /// A table whose keys are the user's, and which this regular expression matches as a whole, with a value of this kind for each.
    Named(&'static str, &'static Self),
    /// A value of one of these kinds.
    Either(&'static [Self]),
}

impl Table {
    /// A table with these keys.
    pub(super) const fn new(about: &'static str, settings: &'static [Setting]) -> Self {
        Self { about, settings, one_of: &[] }
    }

    /// The same, which has exactly one of these keys.
    pub(super) const fn with_one_of(self, one_of: &'static [&'static str]) -> Self {
        Self { one_of, ..self }
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.settings.iter().map(|setting| setting.name)
    }
}

impl Setting {
    /// A key that may be left out.
    pub(super) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about, default: None, example: None, required: false }
    }

    /// The same key, with an example.
    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    /// The same key, with a default.
    pub(super) const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The same key, which must be there.
    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// A value for the documents, as it would be written: a switch that is turned, a word that is not the default. `None` for a table.
    pub(super) fn shown_example(&self) -> Option<String> {
        match (self.example, self.kind) {
            (Some(example), _) => Some(example.into()),
            (None, Kind::Boolean) => Some((self.default != Some("true")).to_string()),
            (None, Kind::Word(words)) => {
                let mut words = words.iter().map(|word| format!("{word:?}"));
                words.find(|word| self.default != Some(word))
            }
            (None, _) => None,
        }
    }
}
