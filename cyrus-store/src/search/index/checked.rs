//! Files of which every octet that is read was checked: a checksum a block, and one over the checksums.
//!
//! ```text
//! content | CRC-32 of each 16 KiB of it | MAGIC, length of the content, CRC-32 of the checksums and of these two
//! ```
//!
//! All numbers are little-endian. A file is written once, from beginning to end, and never changed.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::sys::{Disk, DiskError, DiskResult, File, Open};

/// A file that is being written.
pub(super) struct Writer {
    file: File,
    /// What is not yet a block.
    block: Vec<u8>,
    sums: Vec<u8>,
    length: u64,
}

impl Writer {
    /// Begins a file, which must not exist if `fresh`.
    pub(super) fn create(disk: &dyn Disk, path: &Path, fresh: bool) -> DiskResult<Self> {
        let how = if fresh {
            Open::create_new()
        } else {
            Open::replace()
        };
        Ok(Self {
            file: disk.open(path, how.mode(0o600))?,
            block: Vec::with_capacity(BLOCK),
            sums: Vec::new(),
            length: 0,
        })
    }

    /// Adds to the content.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> DiskResult<()> {
        while !bytes.is_empty() {
            let room = BLOCK - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.write_block()?;
            }
        }
        Ok(())
    }

    fn write_block(&mut self) -> DiskResult<()> {
        self.file.write_at(&self.block, self.length)?;
        self.sums.extend(crc32fast::hash(&self.block).to_le_bytes());
        self.length += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Ends the file. On return it is on stable storage; its name is once the directory is.
    pub(super) fn finish(&mut self) -> DiskResult<()> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        let mut tail = std::mem::take(&mut self.sums);
        tail.extend(MAGIC);
        tail.extend(self.length.to_le_bytes());
        tail.extend(crc32fast::hash(&tail).to_le_bytes());
        self.file.write_at(&tail, self.length)?;
        self.file.sync()
    }
}

/// A whole file that can be read in places.
#[derive(Debug)]
pub(super) struct Reader {
    content: Content,
    length: usize,
}

#[derive(Debug)]
enum Content {
    /// A small one is read at once, so that many can be open without a descriptor each.
    Small {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    Large {
        file: File,
        sums: Vec<u8>,
    },
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is not whole.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> DiskResult<Self> {
        let file = disk.open(path, Open::read())?;
        let size = file.size()?;
        let damaged = |what: &str| Err(damage(file.path(), what));
        let Some(end) = size.checked_sub(TAIL as u64) else {
            return damaged("is cut short");
        };
        let mut tail = [0; TAIL];
        file.read_exact_at(&mut tail, end)?;
        let (magic, rest) = tail.split_at(MAGIC.len());
        let (length, _) = rest.split_at(8);
        let length = length
            .first_chunk()
            .map_or(u64::MAX, |&bytes| u64::from_le_bytes(bytes));
        if magic != MAGIC {
            return damaged("is cut short, or of another kind or version");
        }
        let blocks = length.div_ceil(BLOCK as u64);
        let expected = blocks.checked_mul(4).and_then(|sums| length.checked_add(sums));
        let (Some(true), Ok(length)) = (expected.map(|sum| sum == end), usize::try_from(length)) else {
            return damaged("has not the length that it promises");
        };
        let mut sums = vec![0; usize::try_from(blocks * 4).unwrap_or_default()];
        file.read_exact_at(&mut sums, length as u64)?;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&sums);
        let (covered, own) = tail.split_at(TAIL - 4);
        sum.update(covered);
        if sum.finalize().to_le_bytes() != *own {
            return damaged("has wrong checksums");
        }
        if length > SMALL {
            let content = Content::Large { file, sums };
            return Ok(Self { content, length });
        }
        let bytes = read_blocks(&file, &sums, 0, length)?;
        let path = file.path().to_owned();
        let content = Content::Small { path, bytes };
        Ok(Self { content, length })
    }

    /// Octets of the content.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// A stretch of the content.
    ///
    /// # Errors
    /// It is not within the file, or the file was changed after it was written.
    pub(super) fn read(&self, range: Range<usize>) -> DiskResult<Vec<u8>> {
        if range.start > range.end || range.end > self.length {
            return Err(damage(self.path(), "is read beyond its end"));
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        match &self.content {
            Content::Small { bytes, .. } => Ok(bytes.get(range).unwrap_or_default().to_vec()),
            Content::Large { file, sums } => {
                let start = range.start / BLOCK * BLOCK;
                let end = range.end.next_multiple_of(BLOCK).min(self.length);
                let mut bytes = read_blocks(file, sums, start, end)?;
                bytes.truncate(range.end - start);
                bytes.drain(..range.start - start);
                Ok(bytes)
            }
        }
    }

    fn path(&self) -> &Path {
        match &self.content {
            Content::Small { path, .. } => path,
            Content::Large { file, .. } => file.path(),
        }
    }
}

/// Whole blocks from `start`, which is where one begins, to `end`, where one or the content ends.
fn read_blocks(file: &File, sums: &[u8], start: usize, end: usize) -> DiskResult<Vec<u8>> {
    let mut bytes = vec![0; end - start];
    file.read_exact_at(&mut bytes, start as u64)?;
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        let at = (start / BLOCK + number) * 4;
        if sums.get(at..at + 4) != Some(&crc32fast::hash(block).to_le_bytes()) {
            return Err(damage(file.path(), "has a block with a wrong checksum"));
        }
    }
    Ok(bytes)
}

fn damage(path: &Path, what: &str) -> DiskError {
    let source = io::Error::new(io::ErrorKind::InvalidData, format!("the file {what}"));
    DiskError::new("read", path, source)
}

const BLOCK: usize = 16 << 10;

/// Files of no more octets are kept in memory.
const SMALL: usize = 32 << 10;

const MAGIC: &[u8; 8] = b"cyrTxt1\n";
const TAIL: usize = MAGIC.len() + 8 + 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::SimDisk;
    use proptest::prelude::*;

    fn written(disk: &SimDisk, path: &Path, pieces: &[Vec<u8>]) {
        let mut writer = Writer::create(disk, path, false).unwrap();
        for piece in pieces {
            writer.write(piece).unwrap();
        }
        writer.finish().unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_written_is_read_anywhere(
            pieces in prop::collection::vec((any::<u8>(), 0_usize..20_000), 0..6), start in 0.0..1.0, end in 0.0..1.0,
        ) {
            let disk = SimDisk::new();
            let path = Path::new("/file");
            let pieces: Vec<Vec<u8>> = pieces.iter().map(|&(byte, count)| vec![byte; count]).collect();
            written(&disk, path, &pieces);
            let whole = pieces.concat();
            let reader = Reader::open(&disk, path).unwrap();
            prop_assert_eq!(reader.len(), whole.len());
            let place = |part: f64| (whole.len() as f64 * part) as usize;
            let range = place(f64::min(start, end))..place(f64::max(start, end));
            prop_assert_eq!(reader.read(range.clone()).unwrap(), &whole[range]);
            prop_assert!(reader.read(0..whole.len() + 1).is_err());
        }

        #[test]
        fn no_change_goes_unnoticed(count in 0_usize..60_000, at in 0.0..1.0, bit in 0_u8..8, cut in any::<bool>()) {
            let disk = SimDisk::new();
            let path = Path::new("/file");
            written(&disk, path, &[vec![7; count]]);
            let file = disk.open(path, Open::write()).unwrap();
            let place = (file.size().unwrap() as f64 * at) as u64;
            if cut {
                file.truncate(place).unwrap();
            } else {
                let mut byte = [0];
                file.read_exact_at(&mut byte, place).unwrap();
                file.write_at(&[byte[0] ^ 1 << bit], place).unwrap();
            }
            let read = Reader::open(&disk, path).and_then(|reader| reader.read(0..reader.len()));
            prop_assert!(read.is_err());
        }
    }
}
