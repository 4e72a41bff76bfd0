//! x
mod framing;
mod head;
