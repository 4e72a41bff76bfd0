//! Which text a line takes as it is.

/// Whether a text is printable ASCII without quotes and backslashes: no format escapes any of it.
///
/// Eight bytes are looked at together, or four. Where such words do not fit into the text one after the other, the last one overlaps
/// the one before.
pub(super) fn is_plain(text: &[u8]) -> bool {
    if let Some(last) = text.last_chunk() {
        let (words, _) = text.as_chunks();
        return words.iter().fold(faults(last), |before, word| before | faults(word)) == 0;
    }
    if let (Some([a, b, c, d]), Some([e, f, g, h])) = (text.first_chunk(), text.last_chunk()) {
        return faults(&[*a, *b, *c, *d, *e, *f, *g, *h]) == 0;
    }
    text.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

/// Zero if all bytes are plain. Each of the terms has the highest bit of a byte set if the byte is what the term is about, and
/// perhaps those of bytes above it, for they carry, but not while all bytes below are plain.
fn faults(bytes: &[u8; 8]) -> u64 {
    let word = u64::from_le_bytes(*bytes);
    let control = word.wrapping_sub(each(b' '));
    let delete = word.wrapping_add(each(1));
    let quote = (word ^ each(b'"')).wrapping_sub(each(1));
    let backslash = (word ^ each(b'\\')).wrapping_sub(each(1));
    (word | control | delete | quote | backslash) & each(0x80)
}

/// A word of this byte.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_judged_the_same_alone_and_in_every_place_of_a_text() {
        for byte in 0..=u8::MAX {
            let plain = (0x20..0x7f).contains(&byte) && !b"\"\\".contains(&byte);
            for length in 1..50 {
                for place in 0..length {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    assert_eq!(is_plain(&text), plain, "{byte:#x} at {place} of {length}");
                }
            }
        }
        assert!(is_plain(b""));
    }
}
