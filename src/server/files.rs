//! Notices when files of the configuration change.
//!
//! Their metadata is read every second, and of the folders that a pattern of `include` goes through the names of what is in them. Unlike notifications of the kernel, that also works for a file that is replaced, a directory behind
//! a symbolic link that is exchanged (as Kubernetes does with a ConfigMap), and a network file system.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::wall_clock;
use crate::gateway::Gateway;

/// How often the metadata is read.
const EVERY: Duration = Duration::from_secs(1);

/// How far the clock of a file system may be behind, in nanoseconds: it advances with the kernel's ticks.
const TICK: i128 = 10_000_000;

/// The metadata by which a change of a file is seen; `None` if it cannot be read.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The files that a task watches, which a reload may replace. Reading metadata may take long, so the lock is never taken on a thread that
/// accepts connections.
pub(super) type Watched = Arc<Mutex<Files>>;

/// Watches the files as long as the configuration says so. The receiver gets each change.
pub(super) fn watch(files: Watched, gateway: Arc<Gateway>) -> mpsc::Receiver<()> {
    let (changes, changed) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !changes.is_closed() {
            looks.tick().await;
            if !gateway.active().config().server.watch {
                continue;
            }
            let looked_at = files.clone();
            let look = spawn_blocking(move || lock(&looked_at).have_changed()).await;
            if look.unwrap_or(false) {
                // If the channel is full, a change is waiting to be received already.
                let _ = changes.try_send(());
            }
        }
    });
    changed
}

pub(super) fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files, and their metadata when it was last read.
#[derive(Default)]
pub(super) struct Files {
    loaded: Vec<(PathBuf, Stamp)>,
    last: Vec<Stamp>,
    /// When the configuration last began to be read, in nanoseconds.
    began: Option<i128>,
}

impl Files {
    /// Notes that the configuration begins to be read: changes count from now on.
    pub(super) fn begin(&mut self) {
        self.began = Some(wall_clock().as_nanosecond() - TICK);
        self.loaded.iter_mut().for_each(|(path, loaded)| *loaded = stamp(path));
        self.last = self.loaded.iter().map(|(_, stamp)| *stamp).collect();
    }

    /// Notes that the configuration has been read from these files. A new file that has changed since reading began may have been read
    /// before its change, so that counts as a change.
    pub(super) fn follow(&mut self, paths: impl Iterator<Item = PathBuf>) {
        let known: HashMap<PathBuf, Stamp> = std::mem::take(&mut self.loaded).into_iter().collect();
        let loaded = paths.map(|path| {
            let stamp = known.get(&path).copied().unwrap_or_else(|| {
                stamp(&path).filter(|_| self.began.is_none_or(|began| changed(&path) < began))
            });
            (path, stamp)
        });
        self.loaded = loaded.collect();
        self.last = self.loaded.iter().map(|(_, stamp)| *stamp).collect();
    }

    /// Whether a file has changed, and none has changed since the last call, so that no half-written file is read. True once for each
    /// change.
    pub(super) fn have_changed(&mut self) -> bool {
        let now: Vec<Stamp> = self.loaded.iter().map(|(path, _)| stamp(path)).collect();
        let settled = now == self.last;
        self.last = now;
        let changed = self.loaded.iter().zip(&self.last).any(|((_, loaded), now)| loaded != now);
        if changed && settled {
            self.loaded.iter_mut().zip(&self.last).for_each(|((_, loaded), now)| *loaded = *now);
        }
        changed && settled
    }
}

fn stamp(path: &Path) -> Stamp {
    let data = path.metadata().ok()?;
    match data.is_dir() {
        // Editors put hidden files beside those that they edit, which change the time of the folder.
        true => Some((data.dev(), data.ino(), names(path), 0, 0)),
        false => Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec())),
    }
}

/// A hash of the names in a folder, without those that begin with a dot.
fn names(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort_unstable();
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    hasher.finish()
}

/// When a file, or its place, was last changed, in nanoseconds.
fn changed(path: &Path) -> i128 {
    let at = |data: Metadata| i128::from(data.ctime()) * 1_000_000_000 + i128::from(data.ctime_nsec());
    path.metadata().map_or(i128::MIN, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_change_is_noticed_once_and_only_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let mut files = Files::default();
        files.follow([path.clone(), folder.path().join("missing")].into_iter());
        assert!(!files.have_changed());
        fs::write(&path, "12").unwrap();
        assert!(!files.have_changed(), "it may still be being written");
        fs::write(&path, "123").unwrap();
        assert!(!files.have_changed());
        assert!(files.have_changed());
        assert!(!files.have_changed());
        fs::write(folder.path().join("missing"), "").unwrap();
        assert_eq!([files.have_changed(), files.have_changed()], [false, true]);
    }

    #[test]
    fn a_change_while_the_file_is_read_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "1").unwrap();
        let mut files = Files::default();
        files.follow(std::iter::once(one.clone()));
        fs::write(&one, "12").unwrap();
        files.begin();
        fs::write(&one, "123").unwrap();
        files.follow([one.clone(), two.clone()].into_iter());
        assert_eq!([files.have_changed(), files.have_changed(), files.have_changed()], [false, true, false]);
        files.begin();
        files.follow([one, two].into_iter());
        assert_eq!([files.have_changed(), files.have_changed()], [false, false]);
    }

    #[test]
    fn a_file_that_comes_while_the_configuration_is_read_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new, late) =
            (folder.path().join("old"), folder.path().join("new"), folder.path().join("late"));
        fs::write(&old, "1").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let mut files = Files::default();
        files.begin();
        files.follow([old.clone(), late].into_iter());
        assert_eq!(
            [files.have_changed(), files.have_changed()],
            [false, false],
            "one that was there is none"
        );
        files.begin();
        fs::write(&new, "1").unwrap();
        files.follow([old, new].into_iter());
        assert_eq!([files.have_changed(), files.have_changed(), files.have_changed()], [false, true, false]);
    }

    #[test]
    fn a_directory_that_is_exchanged_behind_a_link_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("gateway.toml"), version).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/gateway.toml", at("gateway.toml")).unwrap();
        let mut files = Files::default();
        files.follow(std::iter::once(at("gateway.toml")));
        symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!([files.have_changed(), files.have_changed(), files.have_changed()], [false, true, false]);
    }
}
