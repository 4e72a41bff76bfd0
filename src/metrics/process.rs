//! `process_*`: what the system says of the process, under the names that Prometheus' clients have for it.
//!
//! The collector of the `prometheus` crate counts CPU time in whole seconds, of which no rate can be made: a gateway that uses a
//! tenth of a core would stand still, and jump every ten seconds.

use procfs::process::{LimitValue, Process as Procfs};
use prometheus::{Counter, Gauge, IntGauge, Registry};

use super::families::{gauge, register};

/// The metrics of the process.
pub(super) struct Process {
    cpu: Counter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    start_time: Gauge,
    threads: IntGauge,
}

impl Process {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let cpu = Counter::new("process_cpu_seconds_total", "User and system CPU time, in seconds.")?;
        let start_time =
            Gauge::new("process_start_time_seconds", "When the process started, in seconds since 1970.")?;
        Ok(Self {
            cpu: register(registry, cpu)?,
            open_fds: gauge(registry, "process_open_fds", "Open file descriptors.")?,
            max_fds: gauge(registry, "process_max_fds", "File descriptors that may be open.")?,
            virtual_memory: gauge(registry, "process_virtual_memory_bytes", "Size of the virtual memory.")?,
            resident_memory: gauge(registry, "process_resident_memory_bytes", "Memory that is resident.")?,
            start_time: register(registry, start_time)?,
            threads: gauge(registry, "process_threads", "Threads of the process.")?,
        })
    }

    /// Asks the system. What it does not say stays as it was.
    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
    pub(super) fn update(&self) {
        let Ok(process) = Procfs::myself() else { return };
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        if let Ok(stat) = process.stat() {
            // Two scrapes at a time may both have asked.
            self.cpu.inc_by((seconds(stat.utime + stat.stime) - self.cpu.get()).max(0.0));
            self.virtual_memory.set(whole(stat.vsize));
            self.resident_memory.set(whole(stat.rss * procfs::page_size()));
            self.threads.set(stat.num_threads);
            if let Ok(boot) = procfs::boot_time_secs() {
                self.start_time.set(boot as f64 + seconds(stat.starttime));
            }
        }
        if let Ok(count) = process.fd_count() {
            self.open_fds.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
            self.max_fds.set(whole(most));
        }
    }
}
