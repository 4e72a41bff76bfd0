//! The values by which limits count a request and which its record does not tell otherwise: those of header fields and cookies.
//!
//! With them a log can be replayed: `gateway replay` finds the buckets of its requests by them. A value that may be a credential is
//! recorded as a short hash.

use crate::config::{Config, LogFormat};
use crate::limit::key::{Inputs, KeyPart, Secret};

/// The values of a request: the index of a part among those that the engine records, and its value; `None` if the request has none.
pub type KeyValues = Vec<(usize, Option<String>)>;

/// The parts of keys that are recorded.
#[derive(Debug, Default)]
pub(super) struct RecordedParts {
    parts: Vec<RecordedPart>,
    /// The indices of the parts that the limits of each route go by.
    of_route: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct RecordedPart {
    part: KeyPart,
    /// As the configuration spells it.
    name: String,
    /// Every limit that goes by it may show its values.
    plainly: bool,
}

impl RecordedParts {
    /// The parts that are recorded under a configuration: none, if it has no log that tells them.
    pub(super) fn new(config: &Config) -> Self {
        let mut recorded = Self::default();
        if config.access_log.as_ref().is_none_or(|log| log.format != LogFormat::Json) {
            return recorded;
        }
        for rule in &config.limits {
            for part in &rule.key.parts {
                recorded.add(part, rule.show_keys);
            }
        }
        let index = |part: &KeyPart| recorded.parts.iter().position(|recorded| recorded.part == *part);
        recorded.of_route = config
            .routes
            .iter()
            .map(|route| {
                let parts = route.limits.iter().flat_map(|limit| &config.limits[*limit].key.parts);
                let mut indices: Vec<_> = parts.filter_map(index).collect();
                indices.sort_unstable();
                indices.dedup();
                indices
            })
            .collect();
        recorded
    }

    fn add(&mut self, part: &KeyPart, plainly: bool) {
        if !part.is_in_fields() {
            return;
        }
        match self.parts.iter_mut().find(|recorded| recorded.part == *part) {
            Some(recorded) => recorded.plainly &= plainly,
            None => self.parts.push(RecordedPart { part: part.clone(), name: part.to_string(), plainly }),
        }
    }

    /// The name of a part, as the configuration spells it.
    pub(super) fn name(&self, index: usize) -> &str {
        &self.parts[index].name
    }

    /// The values of a request by which the limits of its route count it.
    pub(super) fn values(&self, route: usize, inputs: &Inputs<'_>, secret: &Secret) -> KeyValues {
        let Some(parts) = self.of_route.get(route) else { return KeyValues::new() };
        let value = |&index: &usize| {
            let RecordedPart { part, plainly, .. } = &self.parts[index];
            (index, part.shown(inputs, secret, *plainly))
        };
        parts.iter().map(value).collect()
    }
}
