//! The threads that serve connections.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Worker threads, each with a runtime of its own.
pub(super) struct Workers {
    workers: Vec<Worker>,
    dispatcher: Dispatcher,
}

struct Worker {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Gives tasks to the workers in turn.
#[derive(Clone)]
pub(super) struct Dispatcher {
    handles: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
}

/// The number of workers: that of the configuration, or one for each CPU.
pub(super) fn count(configured: Option<usize>) -> io::Result<usize> {
    configured.map_or_else(|| thread::available_parallelism().map(usize::from), Ok)
}

impl Workers {
    /// Starts this many workers.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (mut workers, mut handles) = (Vec::new(), Vec::new());
        for index in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let (stop, stopped) = oneshot::channel::<()>();
            let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                // An error means that the sender was dropped, which ends the worker too.
                let _ = runtime.block_on(stopped);
            })?;
            workers.push(Worker { stop, thread });
        }
        Ok(Self {
            workers,
            dispatcher: Dispatcher { handles: handles.into(), next: Arc::new(AtomicUsize::new(0)) },
        })
    }

    /// A dispatcher to these workers.
    pub(super) fn dispatcher(&self) -> Dispatcher {
        self.dispatcher.clone()
    }

    /// Stops the workers, and with them every task that is still running.
    pub(super) fn stop(self) {
        let threads: Vec<_> = self
            .workers
            .into_iter()
            .map(|worker| {
                // An error means that the worker has ended already.
                let _ = worker.stop.send(());
                worker.thread
            })
            .collect();
        for thread in threads {
            // The panic of a thread has been logged.
            let _ = thread.join();
        }
    }
}

impl Dispatcher {
    /// Runs a task on each worker.
    pub(super) fn each<T: Future<Output = ()> + Send + 'static>(&self, task: impl Fn() -> T) {
        for handle in self.handles.iter() {
            handle.spawn(task());
        }
    }

    /// Runs a task on the worker whose turn it is.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Relaxed: each number is used once, in any order.
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len();
        self.handles[turn].spawn(task);
    }
}
