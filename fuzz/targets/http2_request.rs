//! An HTTP/2 request.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::http2_request(bytes));
