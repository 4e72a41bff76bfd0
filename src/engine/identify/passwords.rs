//! The work on passwords: their hashes are made on threads of their own, so that workers go on, and only so many at a time.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::proof::Unproven;
use super::turns::{Turn, Turns};
use super::verified::Verified;
use crate::client::ClientId;
use crate::password::{NoMemory, PasswordHash};

/// The longest time that a try waits for each of the two: the turn of its client, and a thread.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most hashes that are made at a time: each may take 64 MiB.
const MAX_AT_A_TIME: usize = 8;

/// How many passwords are remembered.
const REMEMBERED: usize = 64 * 1024;

const BUSY: Unproven = Unproven::Unverified("too many passwords wait to be verified");

/// What is known of passwords, and the threads that work on them. A reload keeps it.
pub(in crate::engine) struct Passwords {
    /// Those that were right. One of their parts is the hash that is kept, so one that has been changed is not known.
    pub(super) right: Verified<()>,
    turns: Turns,
    threads: Arc<Semaphore>,
    random: RandomState,
}

impl Passwords {
    /// None are known yet. Half of the processors make hashes at a time.
    pub(in crate::engine) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, Into::into);
        Self {
            right: Verified::new(REMEMBERED),
            turns: Turns::default(),
            threads: Arc::new(Semaphore::new((processors / 2).clamp(1, MAX_AT_A_TIME))),
            random: RandomState::new(),
        }
    }

    /// Waits until it is this client's turn.
    ///
    /// # Errors
    /// When it takes too long, or too many wait.
    pub(super) async fn turn(&self, client: &ClientId) -> Result<Arc<Turn>, Unproven> {
        timeout(PATIENCE, self.turns.wait(client)).await.ok().flatten().map(Arc::new).ok_or(BUSY)
    }

    /// A number that is always the same for a name, and that nobody else can tell.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.random.hash_one(name)
    }

    /// Whether this is the password. Whoever does not wait for it any more leaves nothing behind but a hash that is being made, and the turn
    /// of its client as long as that takes: a client that leaves again and again would keep all threads busy.
    ///
    /// # Errors
    /// When it cannot be found out now.
    pub(super) async fn verifies(
        &self,
        hash: PasswordHash,
        password: Vec<u8>,
        turn: Option<Arc<Turn>>,
    ) -> Result<bool, Unproven> {
        let thread = timeout(PATIENCE, self.threads.clone().acquire_owned()).await;
        let Ok(Ok(thread)) = thread else { return Err(BUSY) };
        let made = spawn_blocking(move || {
            // Until the hash is made, also if nobody waits for it any more.
            let _kept = (thread, turn);
            hash.verifies(&password)
        });
        match made.await {
            Ok(Ok(right)) => Ok(right),
            Ok(Err(NoMemory)) => Err(Unproven::Unverified("there is no memory to verify a password")),
            // The panic of a task has been logged.
            Err(_) => Err(Unproven::Unverified("the password could not be verified")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn who_waits_too_long_is_told_so_and_who_leaves_holds_nothing() {
        let hash =
            PasswordHash::parse("$2b$04$5K5Ej8vybqQ88cufPwEZKeVE5mqaT0PUsOdq.WxDMVRg.xl8PhCvm").unwrap();
        let passwords = Passwords::new();
        let all = passwords.threads.available_permits();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let verifies = || passwords.verifies(hash.clone(), b"hunter2".to_vec(), None);
        runtime.block_on(async {
            let busy = passwords.threads.clone().acquire_many_owned(u32::try_from(all).unwrap()).await;
            let mut left = Box::pin(verifies());
            assert!(futures_util::poll!(left.as_mut()).is_pending());
            drop(left);
            assert_eq!(verifies().await, Err(BUSY));
            drop(busy);
            assert_eq!(verifies().await, Ok(true));
        });
        // What is being made when its request leaves is made to its end, and then another one may be.
        runtime.block_on(async {
            let mut left = Box::pin(verifies());
            // Ready, if the thread was quicker than this one.
            let _ = futures_util::poll!(left.as_mut());
        });
        drop(runtime);
        assert_eq!(passwords.threads.available_permits(), all);
    }

    #[test]
    fn a_client_that_leaves_has_its_turn_as_long_as_its_hash_is_made() {
        let hash =
            PasswordHash::parse("$2b$04$5K5Ej8vybqQ88cufPwEZKeVE5mqaT0PUsOdq.WxDMVRg.xl8PhCvm").unwrap();
        let client = ClientId::Address([192, 0, 2, 1].into());
        let passwords = Passwords::new();
        // The only thread is busy, so the hash is made when the test says so.
        let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let busy = spawn_blocking(move || wait.recv());
            let turn = passwords.turn(&client).await.unwrap();
            let mut left = Box::pin(passwords.verifies(hash, b"wrong".to_vec(), Some(turn)));
            assert!(futures_util::poll!(left.as_mut()).is_pending());
            drop(left);
            let mut next = Box::pin(passwords.turn(&client));
            assert!(futures_util::poll!(next.as_mut()).is_pending());
            drop(go_on);
            assert!(busy.await.unwrap().is_err());
            assert!(next.await.is_ok());
        });
    }
}
