//! An HTTP/2 request.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway::server::fuzzing::http2_request(input));
