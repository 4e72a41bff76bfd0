//! The metrics of the configuration's reloads.

use jiff::Timestamp;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::families::{gauge, register};

/// The metrics of the configuration's reloads.
pub(super) struct Reloads {
    success: IntCounter,
    failure: IntCounter,
    last_successful: IntGauge,
    last_success: Gauge,
}

impl Reloads {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new("gateway_config_reloads_total", "Reloads of the configuration, by outcome.");
        let outcomes = register(registry, IntCounterVec::new(opts, &["outcome"])?)?;
        Ok(Self {
            success: outcomes.with_label_values(&["success"]),
            failure: outcomes.with_label_values(&["failure"]),
            last_successful: gauge(
                registry,
                "gateway_config_last_reload_successful",
                "1 if the configuration in force is the one that was read last, 0 if that one had problems.",
            )?,
            last_success: register(
                registry,
                Gauge::new(
                    "gateway_config_last_reload_success_timestamp_seconds",
                    "When the configuration in force was loaded, in seconds since 1970.",
                )?,
            )?,
        })
    }

    /// A configuration was loaded at this time.
    pub(super) fn note_load(&self, at: Timestamp) {
        self.last_successful.set(1);
        self.last_success.set(at.as_duration().as_secs_f64());
    }

    /// A reload was successful or changed nothing.
    pub(super) fn count(&self, successful: bool) {
        let outcome = if successful { &self.success } else { &self.failure };
        outcome.inc();
        self.last_successful.set(successful.into());
    }
}
