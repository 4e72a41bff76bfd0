//! A connection with the store: with one server, with the master that Sentinels know, or with the nodes of a Cluster.
//!
//! Many calls share a connection: a call writes what it asks, and answers come in the order of the calls. So a call that is given up
//! stays in the way of nobody.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    RedisError, RedisResult, TlsCertificates, TlsMode, Value,
};

use crate::config::{SharedStore, StoreKind};

/// How long connecting to one server may take.
const CONNECT: Duration = Duration::from_secs(1);

/// So many calls may wait to be written. One more waits for its turn, in the time that it may take.
const WAITING: usize = 1024;

/// How often a node of a Cluster is asked again: a node that has given a key away names the one that has it now.
const REDIRECTIONS: u32 = 2;

/// A connection with the store. What drives it is a task of the runtime that opened it.
#[derive(Clone)]
pub(super) enum Connection {
    /// With one server.
    Server(MultiplexedConnection),
    /// With the nodes of a Cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects. The caller bounds the time.
    pub(super) async fn open(settings: &SharedStore) -> RedisResult<Self> {
        let infos: Vec<ConnectionInfo> = settings
            .urls
            .iter()
            .map(|url| url.as_str().into_connection_info())
            .collect::<RedisResult<_>>()?;
        let authorities =
            settings.ca.clone().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca) });
        // The calls themselves have no bound here, since each brings its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        match &settings.kind {
            StoreKind::Single => {
                let none = || RedisError::from((ErrorKind::InvalidClientConfig, "the store has no URL"));
                let info = infos.into_iter().next().ok_or_else(none)?;
                let client = match authorities {
                    Some(authorities) => Client::build_with_tls(info, authorities)?,
                    None => Client::open(info)?,
                };
                client.get_multiplexed_async_connection_with_config(&config).await.map(Self::Server)
            }
            StoreKind::Sentinel(master) => {
                let mut sentinels = sentinels(infos, master, authorities)?.build()?;
                sentinels.get_async_connection_with_config(&config).await.map(Self::Server)
            }
            StoreKind::Cluster => {
                let mut builder =
                    ClusterClientBuilder::new(infos).retries(REDIRECTIONS).connection_timeout(CONNECT);
                if let Some(authorities) = authorities {
                    builder = builder.certs(authorities);
                }
                builder.build()?.get_async_connection().await.map(Self::Cluster)
            }
        }
    }

    /// Sends a command, and waits for its answer.
    pub(super) async fn call(&self, command: &Cmd) -> RedisResult<Value> {
        match self.clone() {
            Self::Server(mut connection) => command.query_async(&mut connection).await,
            Self::Cluster(mut connection) => command.query_async(&mut connection).await,
        }
    }

    /// Whether an error means that there is no connection any more. That of a Cluster has many, and mends them by itself.
    pub(super) fn is_lost(&self, error: &RedisError) -> bool {
        matches!(self, Self::Server(_)) && error.is_unrecoverable_error()
    }

    /// Whether the keys of a call may lie on different servers.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// The Sentinels at these URLs, whose users, passwords and databases are those of the master.
fn sentinels(
    infos: Vec<ConnectionInfo>,
    master: &str,
    authorities: Option<TlsCertificates>,
) -> RedisResult<SentinelClientBuilder> {
    let settings = infos.first().map(|info| info.redis_settings().clone()).unwrap_or_default();
    let addresses: Vec<ConnectionAddr> = infos.into_iter().map(|info| info.addr().clone()).collect();
    let uses_tls = addresses.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. }));
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
        .set_client_to_redis_db(settings.db());
    if let Some(user) = settings.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if uses_tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(authorities) = authorities {
        builder = builder
            .set_client_to_redis_certificates(authorities.clone())
            .set_client_to_sentinel_certificates(authorities);
    }
    Ok(builder)
}
