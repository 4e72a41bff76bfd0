//! The gateway as its users meet it: the real programs, over sockets.
//!
//! One binary, a module for each behaviour. Every test starts its own gateway on ports that the system chooses,
//! so tests run side by side and in any order. Nothing sleeps for luck: what is waited for is asked for, until
//! a deadline that only a defect reaches.

mod support;

mod proxying;
mod timelines;
