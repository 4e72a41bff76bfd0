//! Finds what is legal in a configuration and probably not meant: its warnings.
//!
//! `check` and a start print them; nothing is refused. A warning is worth having if whoever reads it changes the file. So what is often
//! meant as it is written is left out: a limit in `dry_run`, a route that answers by itself and has no limit.

mod consumers;
mod findings;
mod limits;
mod routes;
mod sharing;
mod trust;
mod upstreams;

use super::document::Node;
use super::problem::Sink;
use super::{Config, Warning};
use findings::Findings;

/// The warnings of a configuration, in the order of its file, which is `root` and called `name`.
pub(super) fn of(config: &Config, root: &Node, name: &str, sink: &Sink<'_>) -> Vec<Warning> {
    let mut findings = Findings::new(root);
    consumers::look(config, &mut findings);
    limits::look(config, &mut findings);
    sharing::look(config, &mut findings);
    routes::look(config, &mut findings);
    upstreams::look(config, &mut findings);
    trust::look(config, &mut findings);
    findings.warnings(name, sink)
}
