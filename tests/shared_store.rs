//! The store of shared limits, on real servers.

mod bound;
mod deployments;
mod model;
mod outages;
mod script;
