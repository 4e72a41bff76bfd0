//! Makes metrics of numbers that others keep, when they are shown.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

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
