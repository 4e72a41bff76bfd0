//! The framing of a chunked body.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::chunked(bytes));
