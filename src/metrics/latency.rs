//! Mean and percentiles of histograms.

use prometheus::Histogram;
use prometheus::core::Metric as _;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shared_store::{LATENCY_BOUNDS, Numbers};

/// Histograms with the same buckets, added up.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// Upper bounds, and how many observations are at or below each.
    cumulative: Vec<(f64, u64)>,
    sum: f64,
    count: u64,
}

/// What [`Latency`] comes to, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// The mean.
    pub mean_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// 95 % are at or below this.
    pub p95_ms: f64,
    /// 99 % are at or below this.
    pub p99_ms: f64,
}

impl Latency {
    /// That of the calls to the store of shared limits.
    pub fn of_calls(numbers: &Numbers) -> Self {
        let mut below = 0;
        let cumulative = LATENCY_BOUNDS.iter().zip(numbers.latency).map(|(bound, count)| {
            below += count;
            (bound.as_secs_f64(), below)
        });
        Self {
            cumulative: cumulative.collect(),
            sum: numbers.latency_sum.as_secs_f64(),
            count: numbers.latency.iter().sum(),
        }
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds the observations of a histogram.
    pub fn add(&mut self, histogram: &Histogram) {
        let metric = histogram.metric();
        let histogram = metric.get_histogram();
        self.sum += histogram.get_sample_sum();
        self.count += histogram.get_sample_count();
        for (index, bucket) in histogram.get_bucket().iter().enumerate() {
            match self.cumulative.get_mut(index) {
                Some((_, count)) => *count += bucket.cumulative_count(),
                None => self.cumulative.push((bucket.upper_bound(), bucket.cumulative_count())),
            }
        }
    }

    /// What was observed after `earlier`, when these are the same histograms later. All of it, if some of them are gone.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        if earlier.count > self.count || earlier.cumulative.len() != self.cumulative.len() {
            return since;
        }
        since.sum = (self.sum - earlier.sum).max(0.0);
        since.count -= earlier.count;
        for ((_, count), (_, before)) in since.cumulative.iter_mut().zip(&earlier.cumulative) {
            *count = count.saturating_sub(*before);
        }
        since
    }

    /// Mean and percentiles. Within a bucket, observations are taken to be spread evenly; above the last bound
    /// nothing is known but that bound.
    pub fn summary(&self) -> Summary {
        if self.count == 0 {
            return Summary::default();
        }
        let milliseconds = |seconds: f64| (seconds * 1e6).round() / 1e3;
        Summary {
            mean_ms: milliseconds(self.sum / float(self.count)),
            p50_ms: milliseconds(self.quantile(0.5)),
            p95_ms: milliseconds(self.quantile(0.95)),
            p99_ms: milliseconds(self.quantile(0.99)),
        }
    }

    fn quantile(&self, q: f64) -> f64 {
        let rank = q * float(self.count);
        let (mut below, mut lower) = (0, 0.0);
        for &(bound, count) in &self.cumulative {
            if float(count) >= rank {
                let within = (rank - float(below)) / float((count - below).max(1));
                return lower + (bound - lower) * within;
            }
            (below, lower) = (count, bound);
        }
        lower
    }
}

/// A count as a float. Counts above 2^53 lose their last digits, which a percentile can spare.
#[expect(clippy::cast_precision_loss, reason = "percentiles are estimates")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::HistogramOpts;

    fn histogram(observations: &[f64]) -> Histogram {
        let histogram =
            Histogram::with_opts(HistogramOpts::new("h", "h").buckets(vec![0.1, 0.2, 0.4])).unwrap();
        observations.iter().for_each(|seconds| histogram.observe(*seconds));
        histogram
    }

    #[test]
    fn nothing_observed_is_zero() {
        assert_eq!(Latency::default().summary(), Summary::default());
    }

    #[test]
    fn percentiles_are_interpolated_over_all_histograms() {
        let mut latency = Latency::default();
        latency.add(&histogram(&[0.05; 50]));
        latency.add(&histogram(&[0.3; 50]));
        let summary = latency.summary();
        assert_eq!(summary.mean_ms, 175.0);
        assert_eq!(summary.p50_ms, 100.0);
        assert_eq!(summary.p95_ms, 380.0);
    }

    #[test]
    fn what_was_observed_since_is_what_was_added() {
        let all = histogram(&[0.05; 50]);
        let mut before = Latency::default();
        assert_eq!(before.since(&Latency::default()).summary(), Summary::default());
        before.add(&all);
        (0..10).for_each(|_| all.observe(0.3));
        let mut after = Latency::default();
        after.add(&all);
        assert_eq!(after.since(&before).summary().p50_ms, 300.0);
        assert_eq!(after.since(&before).summary().mean_ms, 300.0);
        assert_eq!(before.since(&after).summary(), before.summary(), "there is less than there was");
    }

    #[test]
    fn calls_are_summed_up_too() {
        let mut latency = [0; LATENCY_BOUNDS.len() + 1];
        (latency[0], latency[5]) = (50, 50);
        let numbers = Numbers {
            answered: 99,
            timed_out: 1,
            failed: 0,
            down: 7,
            latency,
            latency_sum: std::time::Duration::from_millis(200),
            is_up: true,
        };
        let summary = Latency::of_calls(&numbers).summary();
        assert_eq!((summary.mean_ms, summary.p50_ms, summary.p99_ms), (2.0, 0.1, 4.95));
    }

    #[test]
    fn beyond_the_last_bound_it_is_that_bound() {
        let mut latency = Latency::default();
        latency.add(&histogram(&[7.0]));
        assert_eq!(latency.summary().p50_ms, 400.0);
    }
}
