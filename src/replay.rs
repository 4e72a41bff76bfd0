//! `gateway replay`: what the limits of a configuration would have done to the requests of a log.
//!
//! `log` reads requests out of files. A `scenario` is a configuration whose limits decide about them, on the clock of the log, after the
//! `door` has found their routes and keys. It counts what became of them: `tally` for each limit, with the `timeline`, the `hardest` hit
//! clients and the `frontier` of rate against burst. Where a log tells whole seconds, `spread` lets the limits decide once more. The
//! `report` is what was found, as one value; `text` and `html` show it.

mod agreement;
mod args;
mod clients;
mod command;
mod decisions;
mod door;
mod fate;
mod frontier;
mod hardest;
mod html;
pub mod log;
mod notes;
pub mod record;
pub mod report;
mod running;
mod scenario;
mod settings;
mod spread;
mod tally;
mod text;
mod timeline;
mod trial;

pub use self::args::Args;
pub use self::command::{ReplayError, run};
