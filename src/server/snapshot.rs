//! The file that keeps buckets over a restart: read at the start, written at intervals and at the end.
//!
//! It is written under another name, and renamed when it is complete and on the disk. So the file is complete whenever the process dies or
//! the disk is full. A file that cannot be used is logged, and buckets begin full.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{info, warn};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::clock::{Clock, wall_clock};
use crate::gateway::Gateway;
use crate::limit::snapshot::{self, Moment, Snapshot};
use crate::regular_file::{self, Unread};

/// Only the owner may read the file, since it has the secret under which keys are hashed.
const MODE: u32 = 0o600;

/// Reads the file, if there is one that can be used.
pub(super) fn load(path: &Path, clock: &Clock) -> Option<Snapshot> {
    match read(path, clock) {
        Ok(snapshot) => {
            info!("buckets restored from {}", path.display());
            Some(snapshot)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            warn!("{} is no snapshot that can be used, all buckets are full: {error}", path.display());
            None
        }
    }
}

fn read(path: &Path, clock: &Clock) -> io::Result<Snapshot> {
    let file = regular_file::open(path).map_err(|why| match why {
        Unread::Io(error) => error,
        Unread::NotRegular | Unread::Large => io::Error::other("it is no file"),
    })?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let length = file.get_ref().metadata()?.len();
    snapshot::check(&mut file, length)?;
    file.rewind()?;
    Snapshot::read(file, moment(clock))
}

/// Writes the file at the interval of the configuration, for ever.
pub(super) async fn keep(gateway: Arc<Gateway>) {
    loop {
        let interval = gateway.active().config().limiter.snapshot_interval;
        sleep(interval).await;
        save(&gateway).await;
    }
}

/// Writes the file, if the configuration names one.
pub(super) async fn save(gateway: &Arc<Gateway>) {
    let Some(path) = gateway.active().config().limiter.snapshot.clone() else { return };
    let writing = gateway.clone();
    let written = spawn_blocking(move || write(&writing, &path).map_err(|error| (path, error)));
    // The panic of a task has been logged.
    if let Ok(Err((path, error))) = written.await {
        warn!("the snapshot {} cannot be written: {error}", path.display());
    }
}

/// Waits until no file is being written. None is written as long as the guard is held.
pub(super) fn wait_for_writing() -> MutexGuard<'static, ()> {
    static WRITING: Mutex<()> = Mutex::new(());
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(gateway: &Gateway, path: &Path) -> io::Result<()> {
    let _writing = wait_for_writing();
    let beside = beside(path);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&beside)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let written = gateway
        .active()
        .engine
        .limiter()
        .save(moment(&gateway.clock), &mut out)
        .and_then(|()| out.get_ref().sync_all())
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // An incomplete file would take space that the disk may not have.
        let _ = std::fs::remove_file(&beside);
        return written;
    }
    // The directory is synced too, so that the new name survives a power failure.
    File::open(folder(path)).and_then(|folder| folder.sync_all())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".new");
    path.with_file_name(name)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// This moment, on both clocks.
pub(super) fn moment(clock: &Clock) -> Moment {
    let wall = wall_clock().as_nanosecond();
    Moment { wall: u64::try_from(wall).unwrap_or(0), clock: clock.now() }
}
