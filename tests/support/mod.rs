//! What the tests are written with.

pub mod gateway;
pub mod http;
pub mod upstream;

use std::time::Duration;

/// Nothing here takes this long unless it is broken, not even on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `what` gives a value.
///
/// # Panics
/// When it has not after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(description: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let pause = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if let Some(value) = what() {
            return value;
        }
        std::thread::sleep(pause);
    }
    panic!("still not after {PATIENCE:?}: {description}");
}
