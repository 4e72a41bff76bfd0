//! The signal to drain: to accept no more connections, and to close those that are open after their requests.

use tokio::sync::watch;

/// Waits until the sender says to drain, or is dropped.
pub(super) async fn until_draining(mut draining: watch::Receiver<bool>) {
    // An error says that the sender was dropped.
    let _ = draining.wait_for(|draining| *draining).await;
}
