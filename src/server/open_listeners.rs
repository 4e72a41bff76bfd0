//! The listeners that are open: each is served until it is no longer configured, or the gateway drains.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::info;
use pingora_proxy::HttpProxy;
use tokio::sync::{mpsc, watch};

use super::accept;
use super::connection::Serving;
use super::connection_limit::ConnectionLimit;
use super::listener::Listener;
use super::tls::Acceptor;
use super::workers::Dispatcher;
use crate::config;
use crate::gateway::Gateway;
use crate::log_throttle::LogThrottle;
use crate::proxy::Proxy;
use crate::proxy::door::Door;

/// The listeners that are open.
pub(super) struct OpenListeners {
    pub(super) gateway: Arc<Gateway>,
    pub(super) door: Arc<Door>,
    pub(super) proxy: Arc<HttpProxy<Proxy>>,
    pub(super) workers: Dispatcher,
    /// For the listeners that speak TLS; `None` if there have been none.
    pub(super) tls: Option<Arc<Acceptor>>,
    /// Each task that serves a connection holds a clone; when all are dropped, the last connection is closed.
    pub(super) alive: mpsc::Sender<()>,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    pub(super) proxy_error_log: Arc<LogThrottle>,
    pub(super) open: Vec<OpenListener>,
}

/// A listener that is open.
pub(super) struct OpenListener {
    configured: config::Listener,
    /// To be given to a process that takes over; `None` if the system did not give another descriptor.
    socket: Option<OwnedFd>,
    drain: watch::Sender<bool>,
    closing: Arc<AtomicBool>,
    patient: Arc<AtomicBool>,
}

impl OpenListeners {
    /// Serves a listener. Needs a runtime.
    pub(super) fn open(&mut self, listener: Listener) {
        let configured = listener.configured().clone();
        let scheme = if configured.tls { "https" } else { "http" };
        info!("listening on {scheme}://{}", listener.address());
        let (drain, draining) = watch::channel(false);
        let (closing, patient) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let socket = listener.try_clone().ok();
        let serving = Arc::new(Serving {
            gateway: self.gateway.clone(),
            door: self.door.clone(),
            proxy: self.proxy.clone(),
            metrics: self.gateway.metrics.listener(&listener.address().to_string(), &configured),
            proxy_protocol: configured.proxy_protocol,
            tls: self.tls.clone().filter(|_| configured.tls),
            connection_limit: self.connection_limit.clone(),
            proxy_error_log: self.proxy_error_log.clone(),
            draining,
            closing: closing.clone(),
            patient: patient.clone(),
        });
        tokio::spawn(accept::accept(listener, serving, self.workers.clone(), self.alive.clone()));
        self.open.push(OpenListener { configured, socket, drain, closing, patient });
    }

    /// What the configuration says of those that are open.
    pub(super) fn configured(&self) -> Vec<config::Listener> {
        self.open.iter().map(|port| port.configured.clone()).collect()
    }

    /// Drains the listeners that are not among these.
    pub(super) fn keep(&mut self, listeners: &[config::Listener]) {
        self.open.retain(|port| {
            let stays = listeners.contains(&port.configured);
            if !stays {
                info!("no longer listening on {}", port.configured.address);
                port.drain();
            }
            stays
        });
    }

    /// The sockets, to be given to a process that takes over.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (&config::Listener, OwnedFd)> {
        self.open.iter().filter_map(|port| Some((&port.configured, port.socket.as_ref()?.try_clone().ok()?)))
    }

    /// Drains all of them.
    pub(super) fn close(self) {
        self.open.iter().for_each(OpenListener::drain);
    }

    /// Drains all of them for a process that has taken over: a connection between requests stays open for one more, since
    /// a client may have sent it already.
    pub(super) fn hand_over(self) {
        for port in &self.open {
            // Release: a connection that is told to drain sees it.
            port.patient.store(true, Ordering::Release);
            port.drain();
        }
    }
}

impl OpenListener {
    /// Accepts no more connections, and closes open ones after the request that is running.
    fn drain(&self) {
        // Relaxed: a connection that sees it late serves one request more.
        self.closing.store(true, Ordering::Relaxed);
        // There may be no connection left that listens for it.
        let _ = self.drain.send(true);
    }
}
