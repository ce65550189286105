//! Read-only views of file contents: memory maps on a real disk, copies on a simulated one.
#![allow(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::sync::Arc;

/// The content of a file, as one slice.
///
/// On a real disk this is a mapping: shortening the file under it makes the octets past the new end a
/// `SIGBUS`, and a write to the file shows through. So a map is only for
/// - files that never change once they have their name (message files), and
/// - files whose lock is held for as long as the slice is used: [`crate::lock::Mapping`] sees to that.
#[derive(Clone, Debug)]
pub struct Map {
    source: Source,
    length: usize,
}

#[derive(Clone, Debug)]
enum Source {
    Mapped(Arc<memmap2::Mmap>),
    Copied(Arc<[u8]>),
}

impl Map {
    /// Maps `length` octets of an open file, with room for `reserve` more should the file grow.
    pub(super) fn of_file(file: &std::fs::File, length: usize, reserve: usize) -> io::Result<Self> {
        let room = length.saturating_add(reserve);
        if room == 0 {
            return Ok(Self::of_bytes(&[]));
        }
        // SAFETY: the mapping is private to this value and read-only. The octets can only change or vanish
        // when somebody writes or truncates the file, which the cooperating processes do not do while
        // the file's lock is held; `lock::Mapping` is the only user in this crate for files that change, and
        // hands out slices for no longer than the lock. Message files are immutable once linked. Octets past
        // the file's end are mapped but never touched: `deref` stops at `length`, which `of_file` and
        // `resized` are given from the file's present size.
        let map = unsafe { memmap2::MmapOptions::new().len(room).map(file)? };
        Ok(Self {
            source: Source::Mapped(Arc::new(map)),
            length,
        })
    }

    /// A view of a copy.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            source: Source::Copied(bytes.into()),
            length: bytes.len(),
        }
    }

    /// The same mapping for a file that now has `length` octets, if the mapping has room for them.
    ///
    /// A copy shows nothing that was written later, so there is never room in one.
    pub(crate) fn resized(&self, length: usize) -> Option<Self> {
        match &self.source {
            Source::Mapped(map) if length <= map.len() => Some(Self {
                source: self.source.clone(),
                length,
            }),
            _ => None,
        }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.source {
            Source::Mapped(map) => map,
            Source::Copied(bytes) => bytes,
        };
        all.get(..self.length).unwrap_or(all)
    }
}
