//! How a twoskip file is built, for people: the lines of `cyr_dbtool dump`.

use std::ops::ControlFlow;
use std::path::Path;

use super::super::{DbError, Line};
use super::header_of;
use crate::format::twoskip::{BLANK, DUMMY, Kind, Record, head_checksums};

/// Shows the header and every record up to the last commit, or up to a record that cannot be read.
pub(super) fn dump(path: &Path, file: &[u8], line: Line<'_>) -> Result<(), DbError> {
    let header = header_of(path, file)?;
    let first = format!(
        "HEADER: v=1 fl={} num={} sz=({:08X}/{:08X})",
        u8::from(header.dirty),
        header.records,
        header.current_size,
        header.repack_size
    );
    if line(first.as_bytes()).is_break() {
        return Ok(());
    }
    let mut offset = DUMMY;
    while offset < header.current_size {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| file.get(at..))
            .unwrap_or_default();
        let place = format!("{offset:08X} ");
        if rest.starts_with(BLANK) {
            if line(format!("{place}BLANK").as_bytes()).is_break() {
                return Ok(());
            }
            offset += BLANK.len() as u64;
            continue;
        }
        let Ok(record) = Record::parse(rest) else {
            let error = match head_checksums(rest) {
                Some((stored, right)) => format!("{place}ERROR [HEADCRC {stored:08X} {right:08X}]"),
                None => format!("{place}ERROR"),
            };
            let _ = line(error.as_bytes());
            return Ok(());
        };
        if show(&place, &record, line).is_break() {
            return Ok(());
        }
        offset += record.size() as u64;
    }
    Ok(())
}

fn show(place: &str, record: &Record<'_>, line: Line<'_>) -> ControlFlow<()> {
    let mut text = place.as_bytes().to_vec();
    if record.check_tail().is_err() {
        let (stored, right) = (record.tail_crc, record.right_tail_crc());
        text.extend_from_slice(format!("ERROR [TAILCRC {stored:08X} {right:08X}] ").as_bytes());
    }
    let name = match record.kind {
        Kind::Delete => {
            text.extend_from_slice(format!("DELETE ptr={:08X}", record.pointer(0)).as_bytes());
            return line(&text);
        }
        Kind::Commit => {
            text.extend_from_slice(format!("COMMIT start={:08X}", record.pointer(0)).as_bytes());
            return line(&text);
        }
        Kind::Dummy => "DUMMY",
        Kind::Live => "RECORD",
    };
    let sizes = (record.key.len(), record.value.len());
    text.extend_from_slice(format!("{name} kl={} dl={} lvl={} (", sizes.0, sizes.1, record.level).as_bytes());
    text.extend_from_slice(record.key);
    text.push(b')');
    line(&text)?;
    // The spare pointer of the lowest list stands alone, and a full row has another behind it, if an empty one.
    let pointers = record.pointers();
    let (spare, lists) = pointers.split_at(1.min(pointers.len()));
    let rows = lists.len() / PER_LINE + 1;
    let rows = (0..rows).map(|row| lists.chunks(PER_LINE).nth(row).unwrap_or_default());
    for row in [spare].into_iter().chain(rows) {
        let row: String = row.iter().map(|pointer| format!("{pointer:08X} ")).collect();
        line(format!("\t{row}").as_bytes())?;
    }
    ControlFlow::Continue(())
}

const PER_LINE: usize = 8;
