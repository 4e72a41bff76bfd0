//! Makes metrics of numbers that others keep, when they are shown.

use std::time::Duration;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// A family of metrics.
pub(super) fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// A counter with these labels, which are in the order of their names, as in all other metrics.
#[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
pub(super) fn counter(labels: &[(&str, &str)], count: u64) -> Metric {
    let label = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut counter = Counter::default();
    counter.set_value(count as f64);
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(label).collect());
    metric.set_counter(counter);
    metric
}

/// A gauge without labels.
pub(super) fn gauge(value: impl Into<f64>) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value.into());
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    metric
}

/// A histogram of durations: how many are at most as long as each bound and longer than the one before, then how many are longer than all,
/// and how long they are together.
pub(super) fn histogram(bounds: &[Duration], counts: &[u64], sum: Duration) -> Metric {
    let mut below = 0;
    let bounds = bounds.iter().zip(counts);
    let buckets = bounds.map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum.as_secs_f64());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}
