//! A snapshot of buckets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::saved_buckets(bytes));
