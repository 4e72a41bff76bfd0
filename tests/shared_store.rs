//! The store of shared limits, on real servers.

mod model;
mod outages;
mod script;
