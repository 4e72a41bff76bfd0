//! The head of an HTTP/1 request.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway::server::fuzzing::request_head(input));
