//! Opens the access log and the tracer of a configuration.

use std::sync::Arc;

use super::start_error::StartError;
use crate::access_log::AccessLog;
use crate::config::{self, Config};
use crate::gateway::{Active, Outputs};
use crate::metrics::Metrics;
use crate::trace::Tracer;

/// Opens the access log and the tracer of a configuration. Those of the configuration `before` are kept if both say the same.
pub(super) fn open(
    config: &Config,
    threads: usize,
    metrics: &Metrics,
    before: Option<&Active>,
) -> Result<Outputs, StartError> {
    let open_log = |log: &config::AccessLog| {
        AccessLog::open(log, threads, metrics.access_log_dropped().clone())
            .map(Arc::new)
            .map_err(|error| StartError::AccessLog(log.target.clone(), error))
    };
    let start_tracer = |tracing| Tracer::start(tracing, metrics.dropped_spans().clone()).map(Arc::new);
    Ok(Outputs {
        access_log: match before.filter(|before| before.config().access_log == config.access_log) {
            Some(before) => before.outputs.access_log.clone(),
            None => config.access_log.as_ref().map(open_log).transpose()?,
        },
        tracer: match before.filter(|before| before.config().tracing == config.tracing) {
            Some(before) => before.outputs.tracer.clone(),
            None => config.tracing.as_ref().map(start_tracer).transpose()?,
        },
    })
}
