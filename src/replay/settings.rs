//! `--set limits.per_client.rate=20/s`: a change of the configuration, without editing its file.

use std::fmt;
use std::str::FromStr;

use toml_edit::{DocumentMut, Item, Table, Value};

/// A setting with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The names of the tables, and of the key.
    path: Vec<String>,
    /// The value as it was written.
    value: String,
}

/// Why a text is no setting, or a setting cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// There is no `=` with a path before it.
    BadSetting,
    /// The file is no TOML.
    BadFile,
    /// What the path leads through is no table.
    NotATable(String),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSetting => {
                f.write_str("a setting is a path and a value, such as limits.per_client.rate=20/s")
            }
            Self::BadFile => f.write_str("the configuration is no TOML"),
            Self::NotATable(name) => write!(f, "{name} is no table of the configuration"),
        }
    }
}

impl std::error::Error for SettingError {}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (path, value) = text.split_once('=').ok_or(SettingError::BadSetting)?;
        let path: Vec<_> = path.split('.').map(|name| name.trim().to_owned()).collect();
        match path.iter().any(String::is_empty) {
            true => Err(SettingError::BadSetting),
            false => Ok(Self { path, value: value.trim().to_owned() }),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path.join("."), self.value)
    }
}

impl Setting {
    /// The text of a configuration with these settings. What is not set stays where it is.
    ///
    /// # Errors
    /// When the text is no TOML, or a path leads through something that is no table.
    pub fn apply(settings: &[Self], text: &str) -> Result<String, SettingError> {
        if settings.is_empty() {
            return Ok(text.to_owned());
        }
        let mut document: DocumentMut = text.parse().map_err(|_| SettingError::BadFile)?;
        for setting in settings {
            setting.put(document.as_table_mut())?;
        }
        Ok(document.to_string())
    }

    fn put(&self, root: &mut Table) -> Result<(), SettingError> {
        let Some((key, tables)) = self.path.split_last() else { return Ok(()) };
        // An array of tables, as `routes` is, is entered by the `name` of one of them.
        let mut at = Place::Table(root);
        for name in tables {
            at = at.enter(name).ok_or_else(|| SettingError::NotATable(name.clone()))?;
        }
        match at {
            Place::Table(table) => {
                table.insert(key, Item::Value(self.value()));
                Ok(())
            }
            Place::Inline(table) => {
                table.insert(key, self.value());
                Ok(())
            }
            Place::Tables(_) => Err(SettingError::NotATable(key.clone())),
        }
    }

    /// The value: TOML if it is that, otherwise a string.
    fn value(&self) -> Value {
        self.value.parse().unwrap_or_else(|_| Value::from(self.value.as_str()))
    }
}

/// Where a path has led so far.
enum Place<'a> {
    Table(&'a mut Table),
    Inline(&'a mut toml_edit::InlineTable),
    Tables(&'a mut toml_edit::ArrayOfTables),
}

impl<'a> Place<'a> {
    fn enter(self, name: &str) -> Option<Self> {
        match self {
            Self::Table(table) => {
                let item = table.entry(name).or_insert_with(|| Item::Table(Table::new()));
                match item {
                    Item::Table(table) => Some(Self::Table(table)),
                    Item::Value(Value::InlineTable(table)) => Some(Self::Inline(table)),
                    Item::ArrayOfTables(tables) => Some(Self::Tables(tables)),
                    Item::None | Item::Value(_) => None,
                }
            }
            Self::Inline(table) => table.get_mut(name)?.as_inline_table_mut().map(Self::Inline),
            Self::Tables(tables) => {
                let named = |table: &&mut Table| table.get("name").and_then(Item::as_str) == Some(name);
                tables.iter_mut().find(named).map(Self::Table)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# limits\n[limits.a]\nrate = \"1/s\" # slow\noverrides = { x = { rate = \"2/s\" } }\n\n\
                        [[routes]]\nname = \"r\"\nlimits = [\"a\"]\n";

    fn set(settings: &[&str]) -> Result<String, SettingError> {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        Setting::apply(&settings, FILE)
    }

    #[test]
    fn a_setting_replaces_or_adds_a_value() {
        assert_eq!(set(&[]).unwrap(), FILE);
        assert!(set(&["limits.a.rate=20/s"]).unwrap().contains("rate = \"20/s\""));
        assert!(set(&["limits.a.burst=7"]).unwrap().contains("burst = 7"));
        assert!(set(&["limits.a.rate = \"3/s\""]).unwrap().contains("rate = \"3/s\""));
        assert!(set(&["limits.a.exempt=[\"::1/128\"]"]).unwrap().contains("exempt = [\"::1/128\"]"));
        assert!(set(&["limits.a.overrides.x.rate=5/s"]).unwrap().contains("{ rate = \"5/s\" }"));
        assert!(set(&["routes.r.limits=[]"]).unwrap().contains("limits = []"));
        assert!(set(&["limits.b.rate=1/h"]).unwrap().contains("[limits.b]\nrate = \"1/h\""));
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = set(&["limits.a.rate=20/s"]).unwrap();
        assert_eq!(text.lines().position(|line| line.contains("name = \"r\"")), Some(6));
        assert!(text.starts_with("# limits"));
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        assert_eq!("rate".parse::<Setting>(), Err(SettingError::BadSetting));
        assert_eq!("a..b=1".parse::<Setting>(), Err(SettingError::BadSetting));
        assert_eq!("=1".parse::<Setting>(), Err(SettingError::BadSetting));
        assert_eq!(set(&["limits.a.rate.x=1"]), Err(SettingError::NotATable("rate".to_owned())));
        assert_eq!(set(&["routes.none.limits=[]"]), Err(SettingError::NotATable("none".to_owned())));
        assert_eq!(set(&["routes.limits=[]"]), Err(SettingError::NotATable("limits".to_owned())));
        assert_eq!(Setting::apply(&["a=1".parse().unwrap()], "= ="), Err(SettingError::BadFile));
    }
}
