//! Keeps what has been read of a request's body, in case the request has to be sent again.

use bytes::{Bytes, BytesMut};

/// The most bytes that are kept.
const MOST: usize = 64 << 10;

/// What has been read of a body, unless that is too much.
#[derive(Debug, Default)]
pub(super) struct RetryBuffer {
    kept: Option<BytesMut>,
    truncated: bool,
}

impl RetryBuffer {
    /// Starts keeping what is read.
    pub(super) fn enable(&mut self) {
        if !self.truncated {
            self.kept.get_or_insert_default();
        }
    }

    /// Keeps a piece of the body. If that becomes too much, everything is dropped.
    pub(super) fn keep(&mut self, piece: &[u8]) {
        let Some(kept) = &mut self.kept else { return };
        if kept.len() + piece.len() > MOST {
            *self = Self { kept: None, truncated: true };
        } else {
            kept.extend_from_slice(piece);
        }
    }

    /// Whether something that has been read was dropped.
    pub(super) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// All that has been read, if there is anything and nothing was dropped.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        let kept = self.kept.as_ref().filter(|kept| !kept.is_empty())?;
        Some(Bytes::copy_from_slice(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_unless_it_is_too_long() {
        let mut buffer = RetryBuffer::default();
        buffer.keep(b"before it was enabled");
        buffer.enable();
        assert_eq!(buffer.bytes(), None);
        buffer.keep(b"ab");
        buffer.keep(b"c");
        assert_eq!(buffer.bytes().unwrap(), "abc");
        buffer.keep(&[0; MOST]);
        assert!(buffer.is_truncated());
        assert_eq!(buffer.bytes(), None);
        buffer.enable();
        buffer.keep(b"d");
        assert_eq!(buffer.bytes(), None, "what came before is missing");
    }
}
