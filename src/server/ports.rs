//! The listeners that are open: each is served until it is no longer configured, or the gateway drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::info;
use pingora_proxy::HttpProxy;
use tokio::sync::{mpsc, watch};

use super::connection::Serving;
use super::doorman::Doorman;
use super::listener::{self, Listener};
use super::tls::Acceptor;
use super::workers::Dealer;
use crate::config;
use crate::gateway::Gateway;
use crate::proxy::Proxy;

/// The listeners that are open.
pub(super) struct Ports {
    pub(super) gateway: Arc<Gateway>,
    pub(super) proxy: Arc<HttpProxy<Proxy>>,
    pub(super) workers: Dealer,
    /// For the listeners that speak TLS; `None` if there have been none.
    pub(super) tls: Option<Arc<Acceptor>>,
    /// Whoever serves a connection holds a clone; when all are gone, the last connection is closed.
    pub(super) alive: mpsc::Sender<()>,
    pub(super) doorman: Arc<Doorman>,
    pub(super) open: Vec<Port>,
}

/// A listener that is open.
pub(super) struct Port {
    configured: config::Listener,
    drain: watch::Sender<bool>,
    closing: Arc<AtomicBool>,
}

impl Ports {
    /// Serves a listener. Needs a runtime.
    pub(super) fn open(&mut self, listener: Listener) {
        let configured = listener.configured();
        let scheme = if configured.tls { "https" } else { "http" };
        info!("listening on {scheme}://{}", listener.address());
        let (drain, draining) = watch::channel(false);
        let closing = Arc::new(AtomicBool::new(false));
        let serving = Arc::new(Serving {
            gateway: self.gateway.clone(),
            proxy: self.proxy.clone(),
            metrics: self.gateway.metrics.listener(&listener.address().to_string(), configured.tls),
            tls: self.tls.clone().filter(|_| configured.tls),
            doorman: self.doorman.clone(),
            draining,
            closing: closing.clone(),
        });
        tokio::spawn(listener::accept(listener, serving, self.workers.clone(), self.alive.clone()));
        self.open.push(Port { configured, drain, closing });
    }

    /// What the configuration says of those that are open.
    pub(super) fn configured(&self) -> Vec<config::Listener> {
        self.open.iter().map(|port| port.configured).collect()
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

    /// Drains all of them.
    pub(super) fn close(self) {
        self.open.iter().for_each(Port::drain);
    }
}

impl Port {
    /// Takes no more connections, and closes those that there are after the request that is running.
    fn drain(&self) {
        // Relaxed: whoever sees it late serves one request more.
        self.closing.store(true, Ordering::Relaxed);
        // There may be no connection left that listens for it.
        let _ = self.drain.send(true);
    }
}
