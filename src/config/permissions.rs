//! Warns of files of a configuration that other users may read or write. They are not refused, since some systems (such as Kubernetes)
//! mount secrets in that way.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Config, Lint, Warning};

/// Others may read it.
const OTHERS_READ: u32 = 0o004;

/// Others may write to it.
const OTHERS_WRITE: u32 = 0o002;

/// In a directory: only the owner of a file may replace it.
const STICKY: u32 = 0o1000;

impl Config {
    /// Warnings about a valid configuration that was read from `path`, if from a file: of its files, and then of what it says.
    pub fn warnings(&self, path: Option<&Path>) -> Vec<Warning> {
        let mut seen = HashSet::new();
        let files = path.into_iter().chain(self.files.iter().map(AsRef::as_ref));
        let files = files.filter(|file| seen.insert(*file));
        let mut warnings: Vec<Warning> = Vec::new();
        let mut warn = |warning: Option<Warning>| {
            // A file may be named more than once.
            warnings.extend(warning.filter(|warning| !warnings.contains(warning)));
        };
        for file in files {
            warn(writable(file));
        }
        for key in &self.keys {
            let message = "anybody may read this private key; `chmod o-r` it";
            warn(readable(key, Lint::ReadableKey, message));
        }
        for secret in &self.secrets {
            let message = "anybody may read this secret; `chmod o-r` it";
            warn(readable(secret, Lint::ReadableSecret, message));
        }
        warnings.extend(self.advice.iter().cloned());
        warnings
    }
}

fn warning(lint: Lint, path: &Path, message: &str) -> Warning {
    Warning { lint, file: path.display().to_string(), place: None, message: message.to_owned() }
}

fn writable(path: &Path) -> Option<Warning> {
    if mode(path.metadata()) & OTHERS_WRITE != 0 {
        let message = match path.is_dir() {
            true => "anybody may put files into this folder, which are included; `chmod o-w` it",
            false => "anybody may write to this file; `chmod o-w` it",
        };
        return Some(warning(Lint::WritableFile, path, message));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let of_folder = mode(folder.metadata());
    let message = "anybody may replace this file; `chmod o-w` its directory";
    (of_folder & OTHERS_WRITE != 0 && of_folder & STICKY == 0)
        .then(|| warning(Lint::ReplaceableFile, path, message))
}

fn readable(path: &Path, lint: Lint, message: &str) -> Option<Warning> {
    (mode(path.metadata()) & OTHERS_READ != 0).then(|| warning(lint, path, message))
}

/// The permissions of a file; zero if they cannot be read.
fn mode(metadata: std::io::Result<Metadata>) -> u32 {
    metadata.map_or(0, |metadata| metadata.permissions().mode())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_may_do_with_a_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let file = inside.join("file");
        fs::write(&file, "").unwrap();
        for (of_folder, of_file, may_write, may_read) in [
            (0o755, 0o644, None, true),
            (0o755, 0o640, None, false),
            (0o755, 0o662, Some("write to"), false),
            (0o777, 0o600, Some("replace"), false),
            (0o1777, 0o600, None, false),
        ] {
            chmod(&inside, of_folder);
            chmod(&file, of_file);
            let told = writable(&file);
            assert_eq!(told.is_some(), may_write.is_some(), "{of_folder:o} {of_file:o}: {told:?}");
            assert!(may_write.is_none_or(|word| told.is_some_and(|told| told.message.contains(word))));
            assert_eq!(readable(&file, Lint::ReadableKey, "").is_some(), may_read, "{of_file:o}");
        }
        assert_eq!(writable(&inside.join("gone")), None);
    }

    #[test]
    fn files_of_secrets_that_others_read_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str, mode: u32| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            chmod(&path, mode);
            path
        };
        let set =
            r#"{"keys":[{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","alg":"HS256"}]}"#;
        for (mode, count) in [(0o644, 3), (0o640, 0)] {
            let (token, users, keys) =
                (file("token", "secret", mode), file("users", "", mode), file("keys.json", set, mode));
            let text = format!(
                "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"${{file:{}}}\"\n[auth.basic]\nhtpasswd = {users:?}\n\
                 [auth.jwt]\njwks = {keys:?}\n[[routes]]\nname = \"r\"\npath = \"/*\"\nrespond = {{}}\n",
                token.display()
            );
            let config = Config::parse("gateway.toml", &text, &|_| None).unwrap();
            let warnings = config.warnings(None);
            let told: Vec<_> =
                warnings.iter().filter(|warning| warning.lint == Lint::ReadableSecret).collect();
            assert_eq!(told.len(), count, "{warnings:?}");
            assert!(warnings.iter().all(|warning| warning.lint != Lint::ReadableKey), "{warnings:?}");
        }
    }
}
