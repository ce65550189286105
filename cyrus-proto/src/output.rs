//! What a session has to send: a queue of byte runs and slices of shared or open files.
//!
//! Small replies gather in byte runs, so that a burst of them leaves in one write. Message bodies are queued as
//! slices: of something shared in memory (a mapped message file) or of an open file, and go from the page cache to
//! the socket without a copy when neither TLS nor a security layer is in between.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that can be shared with the driver for as long as they are being sent, such as a mapped message file.
pub trait SharedBytes: Send + Sync {
    /// The bytes; the same ones at each call.
    fn bytes(&self) -> &[u8];
}

impl SharedBytes for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// Bytes waiting to be sent, in order.
#[derive(Default)]
pub struct Output {
    chunks: VecDeque<Chunk>,
    len: u64,
}

/// One run of bytes in an [`Output`].
#[non_exhaustive]
pub enum Chunk {
    /// Owned bytes, of which those before `sent` are gone already.
    Bytes {
        /// The run.
        bytes: Vec<u8>,
        /// How much of it was consumed.
        sent: usize,
    },
    /// Part of something shared in memory.
    Shared {
        /// Keeps the bytes alive.
        owner: Arc<dyn SharedBytes>,
        /// What is left to send; checked against the owner's length when queued.
        range: Range<usize>,
    },
    /// Part of an open file.
    File {
        /// Keeps the file open.
        file: Arc<File>,
        /// Where the rest starts.
        offset: u64,
        /// How many octets are left.
        len: u64,
    },
}

impl Output {
    /// Above this many octets a driver stops reading from the peer and stops stepping the session.
    pub const HIGH_WATER: u64 = 64 * 1024;

    /// Shared and file slices up to this size are copied instead: cheaper than a system call of their own.
    pub const COPY_BELOW: usize = 2 * 1024;

    /// An empty queue; holds no memory.
    pub const fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            len: 0,
        }
    }

    /// Octets not yet consumed.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether everything was consumed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the peer should drain some before more is produced.
    pub fn is_full(&self) -> bool {
        self.len >= Self::HIGH_WATER
    }

    /// Appends a copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.tail().extend_from_slice(bytes);
            self.len += bytes.len() as u64;
        }
    }

    /// Appends text.
    pub fn text(&mut self, text: &str) {
        self.put(text.as_bytes());
    }

    /// Appends `text` and CRLF.
    pub fn line(&mut self, text: &str) {
        self.put(text.as_bytes());
        self.put(b"\r\n");
    }

    /// Appends bytes without copying them when they are many.
    pub fn put_vec(&mut self, bytes: Vec<u8>) {
        if bytes.len() <= Self::COPY_BELOW {
            return self.put(&bytes);
        }
        self.len += bytes.len() as u64;
        self.chunks.push_back(Chunk::Bytes { bytes, sent: 0 });
    }

    /// Appends part of something shared; the part of `range` beyond its end is left out.
    pub fn put_shared(&mut self, owner: &Arc<dyn SharedBytes>, range: Range<usize>) {
        let all = owner.bytes();
        let end = range.end.min(all.len());
        let Some(part) = all.get(range.start..end) else {
            return;
        };
        if part.len() <= Self::COPY_BELOW {
            return self.put(part);
        }
        self.len += part.len() as u64;
        self.chunks.push_back(Chunk::Shared {
            owner: Arc::clone(owner),
            range: range.start..end,
        });
    }

    /// Appends part of an open file, which must be at least `offset + len` long and not shrink.
    ///
    /// A file that proves shorter makes the driver close the connection: the peer was promised `len` octets.
    pub fn put_file(&mut self, file: Arc<File>, offset: u64, len: u64) {
        if len > 0 {
            self.len += len;
            self.chunks.push_back(Chunk::File { file, offset, len });
        }
    }

    /// Moves everything of `other` to the end of this queue.
    pub fn append(&mut self, mut other: Self) {
        if let (Some(Chunk::Bytes { bytes, .. }), Some(Chunk::Bytes { bytes: more, sent })) =
            (self.chunks.back_mut(), other.chunks.front_mut())
            && more.len() <= Self::COPY_BELOW
        {
            bytes.extend_from_slice(more.get(*sent..).unwrap_or_default());
            other.chunks.pop_front();
        }
        self.len += other.len;
        self.chunks.append(&mut other.chunks);
    }

    /// The next run to send.
    pub fn front(&self) -> Option<&Chunk> {
        self.chunks.front()
    }

    /// The runs to send, first first.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter()
    }

    /// Drops the first `count` octets: they were sent.
    pub fn consume(&mut self, count: u64) {
        let mut left = count.min(self.len);
        self.len -= left;
        while left > 0 {
            let Some(front) = self.chunks.front_mut() else {
                break;
            };
            let here = front.len().min(left);
            front.advance(here);
            left -= here;
            if front.len() == 0 {
                self.chunks.pop_front();
            }
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    /// Copies up to `limit` octets from the front onto the end of `into`, consuming them.
    ///
    /// # Errors
    /// A file that cannot be read, or is shorter than promised.
    pub fn drain_into(&mut self, into: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        let mut moved = 0;
        while moved < limit {
            let Some(front) = self.chunks.front() else { break };
            let take = usize::try_from(front.len())
                .unwrap_or(usize::MAX)
                .min(limit - moved);
            front.copy_to(into, take)?;
            self.consume(take as u64);
            moved += take;
        }
        Ok(moved)
    }

    /// Everything queued, as one vector; the queue is left as it is.
    ///
    /// # Errors
    /// A file that cannot be read, or is shorter than promised.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for chunk in &self.chunks {
            chunk.copy_to(&mut all, usize::try_from(chunk.len()).unwrap_or(usize::MAX))?;
        }
        Ok(all)
    }

    /// Forgets everything queued.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.chunks.back(), Some(Chunk::Bytes { .. })) {
            self.chunks.push_back(Chunk::Bytes {
                bytes: Vec::new(),
                sent: 0,
            });
        }
        match self.chunks.back_mut() {
            Some(Chunk::Bytes { bytes, .. }) => bytes,
            _ => unreachable!("a byte run was pushed just above"),
        }
    }
}

impl Chunk {
    /// Octets left in this run.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes { bytes, sent } => (bytes.len() - sent) as u64,
            Self::Shared { range, .. } => range.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// The bytes left, when they are in memory.
    pub fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes { bytes, sent } => bytes.get(*sent..),
            Self::Shared { owner, range } => owner.bytes().get(range.clone()),
            Self::File { .. } => None,
        }
    }

    fn advance(&mut self, by: u64) {
        match self {
            Self::Bytes { sent, .. } => *sent += by as usize,
            Self::Shared { range, .. } => range.start += by as usize,
            Self::File { offset, len, .. } => {
                *offset += by;
                *len -= by;
            }
        }
    }

    fn copy_to(&self, into: &mut Vec<u8>, take: usize) -> io::Result<()> {
        if let Self::File { file, offset, .. } = self {
            let start = into.len();
            into.resize(start + take, 0);
            let Some(room) = into.get_mut(start..) else {
                return Ok(());
            };
            return file.read_exact_at(room, *offset);
        }
        let bytes = self
            .memory()
            .and_then(|bytes| bytes.get(..take))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.extend_from_slice(bytes);
        Ok(())
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("chunks", &self.chunks.len())
            .field("len", &self.len)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn shared(size: usize) -> Arc<dyn SharedBytes> {
        Arc::new((0..size).map(|i| (i % 251) as u8).collect::<Vec<u8>>())
    }

    #[test]
    fn small_replies_share_one_run() {
        let mut output = Output::new();
        output.line("* 1 EXISTS");
        write!(output, "{} OK\r\n", 7).unwrap();
        output.put_shared(&shared(10), 2..4);
        assert_eq!(output.chunks().count(), 1);
        assert_eq!(output.to_vec().unwrap(), b"* 1 EXISTS\r\n7 OK\r\n\x02\x03");
    }

    #[test]
    fn large_slices_are_not_copied_and_keep_their_place() {
        let mut output = Output::new();
        output.put(b"before ");
        output.put_shared(&shared(10_000), 0..10_000);
        output.put(b" after");
        assert_eq!(output.chunks().count(), 3);
        let all = output.to_vec().unwrap();
        assert!(all.starts_with(b"before \x00\x01") && all.ends_with(b" after"));
        assert_eq!(all.len() as u64, output.len());
    }

    #[test]
    fn a_range_past_the_end_is_cut_and_a_mad_one_is_nothing() {
        let mut output = Output::new();
        output.put_shared(&shared(10), 8..20);
        output.put_shared(&shared(10), 30..40);
        assert_eq!(output.to_vec().unwrap(), [8, 9]);
    }

    #[test]
    fn consuming_crosses_runs_and_frees_the_queue() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut output = Output::new();
        output.put(b"ab");
        output.put_file(Arc::new(file), 2, 5);
        output.put(b"yz");
        output.consume(4);
        assert_eq!(output.to_vec().unwrap(), b"456yz");
        let mut rest = Vec::new();
        assert_eq!(output.drain_into(&mut rest, 4).unwrap(), 4);
        assert_eq!(rest, b"456y");
        output.consume(100);
        assert!(output.is_empty() && output.front().is_none());
    }

    #[test]
    fn a_file_shorter_than_promised_is_an_error() {
        let mut output = Output::new();
        output.put_file(Arc::new(tempfile::tempfile().unwrap()), 0, 5);
        assert_eq!(output.to_vec().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn appending_keeps_order_and_length() {
        let mut first = Output::new();
        first.put(b"one ");
        let mut second = Output::new();
        second.put(b"two ");
        second.put_vec(vec![b'x'; 5_000]);
        first.append(second);
        assert_eq!(first.len(), 5_008);
        assert!(first.to_vec().unwrap().starts_with(b"one two xxx"));
    }
}
