//! Reloads the configuration: reads it, validates it, and swaps it in one step. If anything is wrong, nothing changes.
//!
//! All steps that take time or may fail (reading, binding, opening, resolving) are done before the swap, not on the threads that serve
//! requests. The swap itself exchanges one pointer, and the steps after it cannot fail.

use std::path::PathBuf;
use std::sync::Arc;

use log::{error, info, warn};
use tokio::task::{AbortHandle, spawn_blocking};

use super::files::{self, Watched};
use super::listener::{self, Listener};
use super::open_listeners::OpenListeners;
use super::outputs;
use super::start_error::StartError;
use super::tls::Acceptor;
use crate::config::{self, Address, Config, Source};
use crate::gateway::{Active, Gateway, ReloadOutcome};
use crate::upstream::{self, Upstream};

/// Reloads the configuration.
pub(super) struct Reloader {
    pub(super) source: Source,
    pub(super) gateway: Arc<Gateway>,
    /// How many worker threads there are.
    pub(super) threads: usize,
    pub(super) listeners: OpenListeners,
    pub(super) files: Watched,
    /// The upstreams, each with the task that resolves and checks its servers.
    pub(super) cared_for: Vec<(Arc<Upstream>, AbortHandle)>,
}

/// What a reload has prepared to be put in force.
struct Prepared {
    active: Active,
    listeners: Vec<Listener>,
}

/// Why a configuration cannot be put in force.
struct NotLoaded {
    problems: Vec<String>,
    /// The other files that the configuration names, as far as they are known.
    files: Vec<PathBuf>,
}

impl Reloader {
    /// Reads the configuration again and puts it in force. If this is dropped before it is done, nothing has changed.
    pub(super) async fn reload(&mut self) -> ReloadOutcome {
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(summary) => info!("reloaded {}: {summary}", self.source),
            Err(problems) => {
                problems.iter().for_each(|problem| error!("{problem}"));
                warn!("{} is not reloaded: what was in force still is", self.source);
            }
        }
        self.gateway.metrics.count_reload(outcome.is_ok());
        self.gateway.reloads.note(outcome.clone());
        if outcome.is_ok() {
            self.gateway.metrics.note_load(self.gateway.reloads.history().loaded_at);
        }
        outcome
    }

    async fn try_reload(&mut self) -> ReloadOutcome {
        let (source, gateway, threads, open) =
            (self.source.clone(), self.gateway.clone(), self.threads, self.listeners.configured());
        let files = self.files.clone();
        let prepared = spawn_blocking(move || {
            files::lock(&files).begin();
            prepare(&source, &gateway, threads, &open)
        });
        let prepared = prepared.await;
        let Prepared { active, listeners } =
            match prepared.map_err(|panic| vec![format!("the reload has failed: {panic}")])? {
                Ok(prepared) => prepared,
                Err(NotLoaded { problems, files }) => {
                    self.watch(files).await;
                    return Err(problems);
                }
            };
        // A server that is given by name cannot be used before it has an address.
        for upstream in active.upstreams.iter().filter(|upstream| !self.cares_for(upstream)) {
            upstream.find_servers().await;
        }
        let summary = active.config().summary();
        self.put_in_force(active, listeners)?;
        self.watch(Vec::new()).await;
        Ok(summary)
    }

    /// Puts a configuration in force, without waiting for anything.
    fn put_in_force(&mut self, active: Active, listeners: Vec<Listener>) -> Result<(), Vec<String>> {
        if let Err(problems) = self.speak_tls(&active) {
            self.gateway.discard(&active);
            return Err(problems);
        }
        let (configured, upstreams) = (active.config().server.listen.clone(), active.upstreams.clone());
        self.gateway.put_in_force(active);
        for listener in listeners {
            self.listeners.open(listener);
        }
        self.listeners.keep(&configured);
        self.care_for(&upstreams);
        // Each thread keeps a reference to the configuration that it last used, so each uses the new one now.
        self.listeners.workers.each(|| {
            let gateway = self.gateway.clone();
            async move { drop(gateway.active()) }
        });
        Ok(())
    }

    /// Applies the TLS settings to new connections.
    fn speak_tls(&mut self, active: &Active) -> Result<(), Vec<String>> {
        let Some(tls) = &active.config().server.tls else { return Ok(()) };
        let failed = |error| vec![format!("server.tls: {error}")];
        match &self.listeners.tls {
            Some(acceptor) => acceptor.reload(tls, &self.gateway.metrics).map_err(failed)?,
            None => {
                let acceptor = Acceptor::new(tls, &self.gateway.metrics).map_err(StartError::Tls);
                let acceptor = acceptor.map_err(|error| vec![error.to_string()])?;
                self.listeners.tls = Some(Arc::new(acceptor));
            }
        }
        Ok(())
    }

    /// Watches the files of the configuration in force, and those of one that could not be loaded, since a missing file may still come.
    pub(super) async fn watch(&self, of_another: Vec<PathBuf>) {
        let others = self.gateway.active().config().files.clone();
        let (path, files) = (self.source.path().map(ToOwned::to_owned), self.files.clone());
        let paths = path.into_iter().chain(others).chain(of_another);
        let follow = move || files::lock(&files).follow(paths);
        // The panic of a task has been logged.
        let _ = spawn_blocking(follow).await;
    }

    fn cares_for(&self, upstream: &Arc<Upstream>) -> bool {
        self.cared_for.iter().any(|(known, _)| Arc::ptr_eq(known, upstream))
    }

    /// Runs the tasks of these upstreams, and stops those of all others.
    pub(super) fn care_for(&mut self, upstreams: &[Arc<Upstream>]) {
        self.cared_for.retain(|(known, task)| {
            let stays = upstreams.iter().any(|upstream| Arc::ptr_eq(known, upstream));
            if !stays {
                task.abort();
            }
            stays
        });
        for upstream in upstreams {
            if !self.cares_for(upstream) {
                let task = tokio::spawn(upstream::look_after(upstream.clone())).abort_handle();
                self.cared_for.push((upstream.clone(), task));
            }
        }
    }
}

/// Takes all steps of a reload that take time or may fail.
fn prepare(
    source: &Source,
    gateway: &Gateway,
    threads: usize,
    open: &[config::Listener],
) -> Result<Prepared, NotLoaded> {
    let config = source
        .load()
        .map_err(|error| NotLoaded { problems: lines(&error), files: error.files().to_vec() })?;
    source.warnings(&config).iter().for_each(|warning| warn!("{warning}"));
    let current = gateway.active();
    let not_loaded = |problems| NotLoaded { problems, files: config.files.clone() };
    refuse_what_needs_a_restart(source, current.config(), &config).map_err(not_loaded)?;
    let wanted = |listener: &config::Listener| !open.contains(listener);
    let listeners =
        listener::bind_all(&config.server.listen, wanted).map_err(|error| not_loaded(lines(&error)))?;
    let outputs = outputs::open(&config, threads, &gateway.metrics, Some(&current));
    let outputs = outputs.map_err(|error| not_loaded(lines(&error)))?;
    Ok(Prepared { active: gateway.prepare(config, outputs), listeners })
}

fn lines(error: &impl ToString) -> Vec<String> {
    error.to_string().lines().map(str::to_owned).collect()
}

/// Refuses changes that cannot be made while the gateway runs.
fn refuse_what_needs_a_restart(source: &Source, now: &Config, next: &Config) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    let mut refuse = |what: &str| {
        problems
            .push(format!("{source}: `{what}` cannot change while the gateway runs: restart it for that"));
    };
    if now.server.threads != next.server.threads {
        refuse("server.threads");
    }
    if now.admin.as_ref().map(|admin| admin.listen) != next.admin.as_ref().map(|admin| admin.listen) {
        refuse("admin.listen");
    }
    let turned = |listener: &&config::Listener| {
        let same = |other: &config::Listener| other.address == listener.address && other != *listener;
        now.server.listen.iter().any(same)
    };
    let is_new = |listener: &&config::Listener| {
        matches!(listener.address, Address::Systemd(_)) && !now.server.listen.contains(listener)
    };
    if let Some(listener) = next.server.listen.iter().find(is_new) {
        refuse(&format!("server.listen, to {}", listener.address));
    } else if let Some(listener) = next.server.listen.iter().find(turned) {
        refuse(&format!("what is spoken on {}", listener.address));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
