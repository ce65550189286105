//! COMPRESS=DEFLATE on a connection (RFC 4978; RFC 1951): raw deflate, flushed whenever the connection has nothing more to say.
//!
//! A compressor is large and a thousand connections are idle, so one is held only while there is traffic: after a flush the next
//! block may as well be written without reference to what went before. The other direction is the client's: it may refer to
//! the last 32 KiB it sent, so those are kept, but no more than it did send, and nothing else between two blocks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use miniz_oxide::DataFormat;
use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress_with_limit};

use crate::job::LayerError;

/// Both directions of a compressed connection.
#[derive(Default)]
pub(crate) struct Compression {
    /// What the peer sends.
    pub(crate) inflate: Inflater,
    /// What it is sent.
    pub(crate) deflate: Deflater,
}

/// Decompresses what a peer sends, a bounded piece at a time.
#[derive(Default)]
pub(crate) struct Inflater {
    /// Within a block, what is known of it; otherwise `between` is.
    block: Option<Box<DecompressorOxide>>,
    between: BlockBoundaryState,
    /// The clear octets that the next ones may repeat.
    history: Vec<u8>,
    /// Fed and not looked at yet: `wire[at..]`.
    wire: Vec<u8>,
    at: usize,
    /// The last piece stopped for want of room.
    more: bool,
    /// The peer ended its stream.
    ended: bool,
}

impl Inflater {
    /// How far back deflate refers.
    const WINDOW: usize = 32 * 1024;

    /// Takes octets of the peer.
    pub(crate) fn feed(&mut self, wire: &[u8]) {
        self.wire.extend_from_slice(wire);
    }

    /// Whether [`read`](Self::read) may have something without more input.
    pub(crate) fn has_pending(&self) -> bool {
        self.more || self.at < self.wire.len()
    }

    /// Decompresses at most `room` octets, and not past the end of a block (with the empty ones that follow a flush): what
    /// comes then may be clear, if this block says so.
    pub(crate) fn read(&mut self, room: usize) -> Result<Vec<u8>, LayerError> {
        if self.ended && self.has_pending() {
            return Err(LayerError("compressed data goes on after its end".into()));
        }
        let mut state = match self.block.take() {
            Some(block) => block,
            None => Box::new(DecompressorOxide::from_block_boundary_state(&self.between)),
        };
        let known = self.history.len();
        let mut buffer = std::mem::take(&mut self.history);
        buffer.resize(known + room, 0);
        let mut end = known;
        let mut limit = room;
        loop {
            let wire = self.wire.get(self.at..).unwrap_or_default();
            let (status, taken, given) =
                decompress_with_limit(&mut state, wire, &mut buffer, end, limit, FLAGS);
            self.at += taken;
            end += given;
            match status {
                TINFLStatus::BlockBoundary => {
                    self.between = state.block_boundary_state().unwrap_or_default();
                    if end == known {
                        continue;
                    }
                    if limit == 0 {
                        self.more = false;
                        break;
                    }
                    // The empty block of a flush belongs to what it flushes.
                    limit = 0;
                }
                TINFLStatus::NeedsMoreInput => {
                    self.more = false;
                    let fresh = state
                        .block_boundary_state()
                        .is_some_and(|now| same(&now, &self.between));
                    if !fresh {
                        self.block = Some(state);
                    }
                    break;
                }
                TINFLStatus::HasMoreOutput => {
                    self.more = limit > 0 || self.at < self.wire.len();
                    self.block = Some(state);
                    break;
                }
                TINFLStatus::Done => {
                    self.ended = true;
                    self.more = false;
                    break;
                }
                _ => return Err(LayerError("what came is no compressed data".into())),
            }
        }
        if self.at == self.wire.len() {
            self.wire = Vec::new();
            self.at = 0;
        }
        let clear = buffer.get(known..end).unwrap_or_default().to_vec();
        let oldest = end.saturating_sub(Self::WINDOW);
        self.history = buffer.get(oldest..end).unwrap_or_default().to_vec();
        Ok(clear)
    }

    /// What was fed and is not compressed any more, because the peer stopped compressing after what was read last.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.wire.get(self.at..).unwrap_or_default().to_vec()
    }
}

/// Whether two places between blocks are the same.
fn same(one: &BlockBoundaryState, other: &BlockBoundaryState) -> bool {
    (one.num_bits, one.bit_buf) == (other.num_bits, other.bit_buf)
}

const FLAGS: u32 =
    TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

/// Compresses what a peer is sent.
#[derive(Default)]
pub(crate) struct Deflater {
    compressor: Option<Box<CompressorOxide>>,
    /// When it was used last.
    used: Option<Instant>,
}

impl Deflater {
    /// How long a compressor is kept after its last use: long enough for the next command of a busy client.
    const KEPT: Duration = Duration::from_secs(1);

    /// Appends the compressed form of `clear` to `wire`; `flush` if nothing follows for now, so that the peer gets all of it.
    pub(crate) fn encode(
        &mut self,
        clear: &[u8],
        flush: Flush,
        now: Instant,
        wire: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        self.used = Some(now);
        let compressor = self.compressor.get_or_insert_with(spare);
        let flush = match flush {
            Flush::Later => TDEFLFlush::None,
            Flush::Now => TDEFLFlush::Sync,
        };
        let (status, taken) = compress_to_output(compressor, clear, flush, |bytes| {
            wire.extend_from_slice(bytes);
            true
        });
        match status {
            TDEFLStatus::Okay if taken == clear.len() => {}
            _ => return Err(LayerError("the compressor stopped".into())),
        }
        // Many clients at once have to share: each then begins anew, and compresses a little worse.
        if flush == TDEFLFlush::Sync && IN_USE.load(Ordering::Relaxed) > MOST_IN_USE {
            self.compressor.take().into_iter().for_each(give_back);
        }
        Ok(())
    }

    /// When [`rest`](Self::rest) has something to free.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let used = self.used.filter(|_| self.compressor.is_some())?;
        used.checked_add(Self::KEPT)
    }

    /// Gives the compressor back if it was not used for a while; only after a flush.
    pub(crate) fn rest(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.compressor.take().into_iter().for_each(give_back);
        }
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        self.compressor.take().into_iter().for_each(give_back);
    }
}

/// Whether the peer can have all of it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// More follows.
    Later,
    /// Nothing follows for now.
    Now,
}

/// Compressors that are not in use: making one costs more than using it for a line.
static SPARE: Mutex<Vec<Box<CompressorOxide>>> = Mutex::new(Vec::new());

/// The most of them.
const MOST_SPARE: usize = 8;

/// Compressors that connections hold.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The most that are held from one reply to the next.
const MOST_IN_USE: usize = 32;

/// Quick, and nearly as good as slower levels for mail (RFC 4978, section 4).
const LEVEL: u8 = 2;

fn spare() -> Box<CompressorOxide> {
    IN_USE.fetch_add(1, Ordering::Relaxed);
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    spare.unwrap_or_else(|| {
        let strategy = CompressionStrategy::Default;
        Box::new(CompressorOxide::with_params(DataFormat::Raw, LEVEL, strategy, 15))
    })
}

fn give_back(mut compressor: Box<CompressorOxide>) {
    IN_USE.fetch_sub(1, Ordering::Relaxed);
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.len() < MOST_SPARE {
        compressor.reset();
        spare.push(compressor);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Everything that can be read now, in pieces of `room`.
    fn read_all(inflater: &mut Inflater, room: usize) -> Vec<u8> {
        let mut clear = Vec::new();
        while inflater.has_pending() {
            let piece = inflater.read(room).unwrap();
            assert!(piece.len() <= room);
            clear.extend_from_slice(&piece);
        }
        clear
    }

    fn deflated(deflater: &mut Deflater, clear: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        deflater
            .encode(clear, Flush::Now, Instant::now(), &mut wire)
            .unwrap();
        wire
    }

    proptest! {
        #[test]
        fn every_flush_gives_the_peer_all_that_was_written(
            replies in vec(vec(0_u8..4, 0..5_000), 1..8),
            cut in 1_usize..400,
            room in 1_usize..3_000,
            rest in any::<bool>(),
        ) {
            let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
            for reply in replies {
                let wire = deflated(&mut deflater, &reply);
                let mut clear = Vec::new();
                for part in wire.chunks(cut) {
                    inflater.feed(part);
                    clear.extend_from_slice(&read_all(&mut inflater, room));
                }
                prop_assert_eq!(clear, reply);
                if rest {
                    deflater.rest(Instant::now() + Deflater::KEPT);
                    prop_assert!(deflater.compressor.is_none());
                }
            }
        }

        #[test]
        fn noise_is_refused_or_waits_in_bounded_memory(noise in vec(any::<u8>(), 0..2_000)) {
            let mut inflater = Inflater::default();
            inflater.feed(&noise);
            for _ in 0..10_000 {
                match inflater.read(512) {
                    Ok(piece) if !piece.is_empty() || inflater.has_pending() => prop_assert!(piece.len() <= 512),
                    _ => break,
                }
            }
            prop_assert!(inflater.history.len() <= Inflater::WINDOW);
        }
    }

    #[test]
    fn many_connections_share_few_compressors() {
        let now = Instant::now();
        let mut all: Vec<(Deflater, Inflater)> = Vec::new();
        all.resize_with(3 * MOST_IN_USE, Default::default);
        for round in 0..3 {
            for (deflater, inflater) in &mut all {
                inflater.feed(&deflated(deflater, b"a OK Completed\r\n"));
                assert_eq!(read_all(inflater, 100), b"a OK Completed\r\n", "{round}");
            }
            let held = all.iter().filter(|(deflater, _)| deflater.compressor.is_some());
            assert!(held.count() <= MOST_IN_USE);
        }
        for (deflater, _) in &mut all {
            deflater.rest(now + 2 * Deflater::KEPT + Duration::from_secs(60));
            assert!(deflater.compressor.is_none());
        }
    }

    #[test]
    fn what_follows_the_flush_of_a_command_is_left_alone() {
        let mut deflater = Deflater::default();
        let mut inflater = Inflater::default();
        let mut wire = deflated(&mut deflater, b"a NOOP\r\n");
        wire.extend(deflated(&mut deflater, b"b UNAUTHENTICATE\r\n"));
        wire.extend_from_slice(b"c LOGIN admin pass\r\n");
        inflater.feed(&wire);
        assert_eq!(inflater.read(1_000).unwrap(), b"a NOOP\r\n");
        assert_eq!(inflater.read(1_000).unwrap(), b"b UNAUTHENTICATE\r\n");
        assert_eq!(inflater.into_rest(), b"c LOGIN admin pass\r\n");
    }

    #[test]
    fn an_idle_stream_keeps_what_the_peer_sent_and_nothing_more() {
        let mut deflater = Deflater::default();
        let mut inflater = Inflater::default();
        for _ in 0..3 {
            inflater.feed(&deflated(&mut deflater, b"a IDLE\r\n"));
            assert_eq!(read_all(&mut inflater, 1_000), b"a IDLE\r\n");
            assert!(inflater.block.is_none());
        }
        assert_eq!(inflater.history.capacity(), 24);
        assert_eq!(inflater.wire.capacity(), 0);
        let big = vec![7; 200_000];
        inflater.feed(&deflated(&mut deflater, &big));
        assert_eq!(read_all(&mut inflater, 65_536), big);
        assert_eq!(inflater.history.capacity(), Inflater::WINDOW);
        assert!(inflater.block.is_none());
    }

    #[test]
    fn a_stream_that_ended_cannot_go_on() {
        let mut inflater = Inflater::default();
        inflater.feed(&miniz_oxide::deflate::compress_to_vec(b"a NOOP\r\n", 6));
        assert_eq!(inflater.read(100).unwrap(), b"a NOOP\r\n");
        inflater.feed(b"b NOOP\r\n");
        assert!(inflater.read(100).is_err());
    }
}
