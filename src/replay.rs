//! `gateway replay`: what the limits of a configuration would have done to the requests of a log.

pub mod log;
pub mod record;
