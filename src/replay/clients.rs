//! A map from clients.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::limit::key::Fingerprint;

/// Something about each client of a limit.
pub(super) type Clients<T> = HashMap<Fingerprint, T, BuildHasherDefault<FirstBits>>;

/// Fingerprints are hashes already: their first bits are taken as they are, since clients of a sample have their last ones in common.
#[derive(Default)]
pub(super) struct FirstBits(u64);

impl Hasher for FirstBits {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.rchunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, bits: u128) {
        self.0 = u64::try_from(bits >> 64).unwrap_or_default();
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
