//! Writing a twoskip file anew.

use std::path::Path;

use super::super::staged::Staged;
use super::super::{DbError, Entry};
use super::Levels;
use super::view::LISTS;
use crate::format::twoskip::{DUMMY, EMPTY_SIZE, Header, Kind, extent, put_record};
use crate::sys::Disk;

/// Writes `entries`, which are in order, to a new file beside the one at `path`.
pub(super) fn write(
    disk: &dyn Disk,
    path: &Path,
    entries: &[Entry<'_>],
    generation: u64,
    levels: &mut Levels,
) -> Result<Staged, DbError> {
    // First where everything goes, then, from the end backwards, what points where, then the octets.
    let mut end = EMPTY_SIZE;
    let places: Vec<(u64, u8)> = entries
        .iter()
        .map(|(key, value)| {
            let level = levels.draw();
            let (offset, after) = extent(end, level, key, value);
            end = after;
            (offset, level)
        })
        .collect();
    let mut links = [0; LISTS];
    let mut pointers = Vec::with_capacity(places.len());
    for &(offset, level) in places.iter().rev() {
        let level = usize::from(level);
        pointers.push(pointers_to(&links, level));
        links.iter_mut().take(level).for_each(|link| *link = offset);
    }

    Staged::write(disk, path, 0o644, |new| {
        let mut header = Header {
            generation,
            records: entries.len() as u64,
            repack_size: end,
            current_size: end,
            dirty: false,
        };
        let mut piece = Vec::with_capacity(PIECE);
        let mut start = DUMMY;
        put_record(
            &mut piece,
            start,
            Kind::Dummy,
            &pointers_to(&links, LISTS),
            b"",
            b"",
        );
        for ((key, value), pointers) in entries.iter().zip(pointers.into_iter().rev()) {
            put_record(&mut piece, start, Kind::Live, &pointers, key, value);
            if piece.len() >= PIECE {
                new.write_at(&piece, start)?;
                start += piece.len() as u64;
                piece.clear();
            }
        }
        if !entries.is_empty() {
            put_record(&mut piece, start, Kind::Commit, &[EMPTY_SIZE], b"", b"");
        }
        new.write_at(&piece, start)?;
        header.current_size = start + piece.len() as u64;
        new.write_at(&header.encode(), 0)
    })
}

fn pointers_to(links: &[u64; LISTS], level: usize) -> Vec<u64> {
    std::iter::once(0)
        .chain(links.iter().copied().take(level))
        .collect()
}

/// How much is written at a time.
const PIECE: usize = 1 << 20;
