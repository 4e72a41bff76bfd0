//! Warns of files of a configuration that other users may read or write. They are not refused, since some systems (such as Kubernetes)
//! mount secrets in that way.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Config;

/// Others may read it.
const OTHERS_READ: u32 = 0o004;

/// Others may write to it.
const OTHERS_WRITE: u32 = 0o002;

/// In a directory: only the owner of a file may replace it.
const STICKY: u32 = 0o1000;

impl Config {
    /// Warnings about a valid configuration that was read from `path`, one a line.
    pub fn warnings(&self, path: &Path) -> Vec<String> {
        let files = std::iter::once(path).chain(self.files.iter().map(AsRef::as_ref));
        let mut warnings: Vec<String> = Vec::new();
        let mut warn = |warning: Option<String>| {
            // A file may be named more than once.
            warnings.extend(warning.filter(|warning| !warnings.contains(warning)));
        };
        for file in files {
            warn(writable(file));
        }
        for key in &self.keys {
            warn(readable(key));
        }
        let of_limits = self.unguarded_limits().into_iter();
        warnings.extend(of_limits.map(|told| format!("{}: {told}", path.display())));
        warnings
    }
}

fn writable(path: &Path) -> Option<String> {
    let shown = path.display();
    if mode(path.metadata()) & OTHERS_WRITE != 0 {
        return Some(format!("{shown}: anybody may write to this file; `chmod o-w` it"));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let of_folder = mode(folder.metadata());
    (of_folder & OTHERS_WRITE != 0 && of_folder & STICKY == 0)
        .then(|| format!("{shown}: anybody may replace this file; `chmod o-w` its directory"))
}

fn readable(path: &Path) -> Option<String> {
    (mode(path.metadata()) & OTHERS_READ != 0)
        .then(|| format!("{}: anybody may read this private key; `chmod o-r` it", path.display()))
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
            assert!(may_write.is_none_or(|word| told.is_some_and(|told| told.contains(word))));
            assert_eq!(readable(&file).is_some(), may_read, "{of_file:o}");
        }
        assert_eq!(writable(&inside.join("gone")), None);
    }
}
