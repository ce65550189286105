//! How a skiplist file is built, for people: the lines of `cyr_dbtool dump`.

use std::path::Path;

use super::super::{DbError, Line};
use super::header_of;
use crate::format::skiplist::{DUMMY, Kind, Record};

/// Shows every record, up to one that cannot be read.
pub(super) fn dump(path: &Path, file: &[u8], line: Line<'_>) -> Result<(), DbError> {
    header_of(path, file)?;
    let mut at = DUMMY as usize;
    while let Some(rest) = file.get(at..).filter(|rest| !rest.is_empty()) {
        let record = match Record::parse(rest) {
            Ok(record) => record,
            Err(damage) => {
                let _ = line(format!("{at:04X}: ERROR {damage}").as_bytes());
                return Ok(());
            }
        };
        let name = match record.kind {
            Kind::Dummy => "DUMMY",
            Kind::InOrder => "INORDER",
            Kind::Add => "ADD",
            Kind::Delete => "DELETE",
            Kind::Commit => "COMMIT",
        };
        let shown = match record.kind {
            Kind::Delete => line(format!("{at:04X}: {name} offset={:04X}", record.target).as_bytes()),
            Kind::Commit => line(format!("{at:04X}: {name} ").as_bytes()),
            Kind::Dummy | Kind::InOrder | Kind::Add => {
                let sizes = (record.key.len(), record.value.len(), record.level());
                let row: String = record
                    .pointers()
                    .iter()
                    .map(|pointer| format!("{pointer:04X} "))
                    .collect();
                line(
                    format!(
                        "{at:04X}: {name} kl={} dl={} lvl={}\n\t{row}",
                        sizes.0, sizes.1, sizes.2
                    )
                    .as_bytes(),
                )
            }
        };
        if shown.is_break() {
            return Ok(());
        }
        at += record.size;
    }
    Ok(())
}
