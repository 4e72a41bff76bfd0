//! The thread that tells the collector.

use std::io;
use std::sync::mpsc::{self as blocking, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use http::Uri;
use log::warn;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus::IntCounter;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::sleep;

use super::span::Spans;
use crate::clock::{Clock, Timestamp};

/// Requests whose spans may wait. What is kept of each is bounded, so this bounds memory.
pub(super) const QUEUE: usize = 4096;

/// How long spans gather before they are sent together.
const PAUSE: Duration = Duration::from_millis(200);

/// At most so many spans are sent together.
const BATCH: usize = 512;

/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long [`Collector::close`] waits for a collector that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// That spans cannot be sent is told of no more often than this.
const SILENCE: Duration = Duration::from_secs(10);

/// The thread that tells the collector.
pub(super) struct Collector {
    spans: Sender<Box<Spans>>,
    closing: Arc<Notify>,
    /// Disconnected when the thread has ended.
    ended: Mutex<blocking::Receiver<()>>,
    dropped: IntCounter,
}

impl Collector {
    pub(super) fn start(endpoint: &Uri, service_name: &str, dropped: IntCounter) -> io::Result<Self> {
        let exporter = exporter(endpoint, service_name)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (spans, waiting) = mpsc::channel(QUEUE);
        let (alive, ended) = blocking::channel::<()>();
        let (closing, lost) = (Arc::new(Notify::new()), dropped.clone());
        let mut sending = Sending { exporter, lost, clock: Clock::monotonic(), told_at: None };
        let told = closing.clone();
        thread::Builder::new().name("tracing".to_owned()).spawn(move || {
            runtime.block_on(sending.run(waiting, &told));
            drop(alive);
        })?;
        Ok(Self { spans, closing, ended: Mutex::new(ended), dropped })
    }

    /// Tells the collector of a request's spans. They are dropped if too many wait.
    pub(super) fn tell(&self, spans: Spans) {
        let count = spans.count();
        if self.spans.try_send(Box::new(spans)).is_err() {
            self.dropped.inc_by(count);
        }
    }

    /// Tells the collector of all that is waiting, and waits until it knows, but not for ever.
    pub(super) fn close(&self) {
        self.closing.notify_one();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            warn!("the collector of traces took nothing for {PATIENCE:?}: the last spans are lost");
        }
    }
}

fn exporter(endpoint: &Uri, service_name: &str) -> io::Result<SpanExporter> {
    let client = opentelemetry_http::hyper::HyperClient::with_default_connector(TIMEOUT, None);
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint.to_string())
        .with_timeout(TIMEOUT)
        .build()
        .map_err(io::Error::other)?;
    exporter.set_resource(&Resource::builder_empty().with_service_name(service_name.to_owned()).build());
    Ok(exporter)
}

/// What sending takes.
struct Sending {
    exporter: SpanExporter,
    lost: IntCounter,
    clock: Clock,
    told_at: Option<Timestamp>,
}

impl Sending {
    /// Sends what comes, until nothing more can come.
    async fn run(&mut self, mut waiting: Receiver<Box<Spans>>, closing: &Notify) {
        loop {
            let first = tokio::select! {
                first = waiting.recv() => first,
                () = closing.notified(), if !waiting.is_closed() => {
                    waiting.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            if !waiting.is_closed() {
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = closing.notified() => waiting.close(),
                }
            }
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(spans) = next {
                batch.push(spans.server);
                batch.extend(spans.client);
                if batch.len() >= BATCH {
                    self.send(std::mem::take(&mut batch)).await;
                }
                next = waiting.try_recv().ok();
            }
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let Err(error) = self.exporter.export(batch).await else { return };
        self.lost.inc_by(count);
        let now = self.clock.now();
        if self.told_at.is_none_or(|at| now.since(at) >= SILENCE) {
            self.told_at = Some(now);
            warn!("spans cannot be sent, and are dropped: {error}");
        }
    }
}
