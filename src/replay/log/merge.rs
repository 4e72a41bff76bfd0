//! Merges the records of several files by when their requests ended.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::fields::Wanted;
use super::reader::{Reader, Trouble};
use crate::replay::record::{Record, Stamp};

/// Several files, read as one.
pub(super) struct Merge {
    /// By their rank: the one that begins first, and of those that begin together by their names. So records with the same stamp come
    /// in the same order, in whichever order the files were named.
    readers: Vec<Reader>,
    /// The next record of each file that is not over, in the places of the files.
    heads: Vec<Option<Box<Record>>>,
    /// When those ended, and their places.
    queue: BinaryHeap<Reverse<(Stamp, usize)>>,
    /// The record of the first in the queue has been taken, and the next one of its file is still to be read.
    is_taken: bool,
}

impl Merge {
    /// Reads the first record of each file.
    pub(super) fn new(readers: Vec<Reader>, wanted: &Wanted) -> Result<Self, (String, Trouble)> {
        let mut files = Vec::with_capacity(readers.len());
        for mut reader in readers {
            let first = reader.next(wanted).map_err(|trouble| (reader.name().to_owned(), trouble))?;
            files.push((first, reader));
        }
        let rank = |(first, reader): &(Option<Box<Record>>, Reader)| {
            (first.as_ref().map(|first| first.ended), reader.name().to_owned())
        };
        files.sort_by_cached_key(rank);
        let (heads, readers): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let ended = |(place, head): (usize, &Option<Box<Record>>)| {
            head.as_ref().map(|head| Reverse((head.ended, place)))
        };
        let queue = heads.iter().enumerate().filter_map(ended).collect();
        Ok(Self { readers, heads, queue, is_taken: false })
    }

    /// The files.
    pub(super) fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// The next record of all. What was read before an error comes before it.
    pub(super) fn next(&mut self, wanted: &Wanted) -> Result<Option<Box<Record>>, (String, Trouble)> {
        if std::mem::take(&mut self.is_taken)
            && let Some(mut top) = self.queue.peek_mut()
        {
            let Reverse((_, place)) = *top;
            let reader = &mut self.readers[place];
            match reader.next(wanted).map_err(|trouble| (reader.name().to_owned(), trouble))? {
                Some(next) => {
                    *top = Reverse((next.ended, place));
                    self.heads[place] = Some(next);
                }
                None => drop(PeekMut::pop(top)),
            }
        }
        let Some(Reverse((_, place))) = self.queue.peek() else { return Ok(None) };
        self.is_taken = true;
        Ok(self.heads[*place].take())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use super::*;

    fn merged(files: &[(&str, &str)]) -> Vec<String> {
        let reader = |(name, text): &(&str, &str)| {
            let line = |word: &str| {
                let (second, path) = word.split_once('/').unwrap();
                format!("192.0.2.1 - - [10/Oct/2000:13:55:{second} +0000] \"GET /{path} HTTP/1.1\" 200 1\n")
            };
            let text: String = text.split_whitespace().map(line).collect();
            Reader::new((*name).to_owned(), Box::new(Cursor::new(text)), None, Duration::from_secs(60))
        };
        let wanted = Wanted::default();
        let mut merge = Merge::new(files.iter().map(reader).collect(), &wanted).unwrap();
        let mut paths = Vec::new();
        while let Some(record) = merge.next(&wanted).unwrap() {
            paths.push(String::from_utf8(record.target).unwrap()[1..].to_owned());
        }
        assert!(merge.next(&wanted).unwrap().is_none());
        paths
    }

    #[test]
    fn files_are_merged_by_their_stamps_in_whichever_order_they_are_named() {
        let mut files = [
            ("log.1", "01/a 02/b 05/c 05/d"),
            ("log", "05/e 05/f 09/g"),
            ("empty", ""),
            ("other", "00/h 04/i 03/j 05/k 10/l"),
        ];
        let expected = ["h", "a", "b", "i", "j", "k", "c", "d", "e", "f", "g", "l"];
        for _ in 0..files.len() {
            assert_eq!(merged(&files), expected);
            files.rotate_left(1);
        }
        files.reverse();
        assert_eq!(merged(&files), expected);
        assert!(merged(&[]).is_empty());
    }
}
