//! A snapshot of buckets: as it is, and with a checksum that is right.
#![no_main]

use gateway::clock::Timestamp;
use gateway::limit::snapshot::{Moment, Snapshot, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = check(bytes, bytes.len() as u64);
    let mut file = bytes.to_vec();
    file.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    check(&*file, file.len() as u64).expect("its checksum is right");
    let _ = Snapshot::read(&*file, Moment { wall: 1 << 60, clock: Timestamp::from_nanos(1 << 40) });
});
