//! Header and index files that lie in the directory of another mailbox, as a careless restore or a repaired file system
//! leaves them: they are put where they belong.
//!
//! A header file names the unique id of its mailbox, and an index the checksum of the header file it was written with, so
//! each can be recognised wherever it lies.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Outcome, Repair};
use crate::error::MailboxError;
use crate::format::crc32;
use crate::format::header::MailboxHeader;
use crate::format::index::IndexHeader;
use crate::ident::MailboxId;
use crate::mailbox::new_path;
use crate::mboxlist::MailboxEntry;
use crate::paths::MailboxPaths;
use crate::store::Store;
use crate::sys::{Mode, Open};

/// What lies in the directory of a mailbox.
struct Place {
    entry: Arc<MailboxEntry>,
    id: MailboxId,
    paths: MailboxPaths,
    /// The mailbox that the header file is of, and its checksum.
    header: Option<(MailboxId, u32)>,
    /// The checksum of the header file that the index belongs to.
    index: Option<u32>,
}

/// A file that is to be put where it belongs.
struct Move {
    from: PathBuf,
    to: PathBuf,
    /// The mailbox it belongs to.
    place: usize,
}

impl Store {
    /// Looks at the header and the index of every mailbox, and puts those right that lie in each other's directories.
    ///
    /// # Errors
    /// The list or a file cannot be read or written.
    pub fn return_strays(&self, dry_run: bool, tell: &mut dyn FnMut(&Repair)) -> Result<(), MailboxError> {
        let places = self.census()?;
        let moves = moves(&places);
        for planned in &moves {
            tell(&Repair {
                path: planned.to.clone(),
                what: format!("was found as {}, and returned", planned.from.display()),
                outcome: Outcome::Kept,
            });
        }
        if dry_run {
            return Ok(());
        }
        // All are copied before the first is put in place: they may lie in each other's.
        for planned in &moves {
            let bytes = self.disk().read(&planned.from)?;
            let copy = self.disk().open(&returned(&planned.to), Open::replace())?;
            copy.write_at(&bytes, 0)?;
            copy.sync()?;
        }
        for planned in &moves {
            let Some(place) = places.get(planned.place) else {
                continue;
            };
            let hot = self.hot(place.paths.clone());
            let owner = place.entry.name.owner();
            let _names = hot.lock_name(
                self,
                owner.as_deref(),
                Mode::Exclusive,
                Mode::Exclusive,
                self.wait(),
            )?;
            self.disk().rename(&returned(&planned.to), &planned.to)?;
            if let Some(directory) = planned.to.parent() {
                self.disk().sync_dir(directory)?;
            }
        }
        self.forget_idle();
        Ok(())
    }

    fn census(&self) -> Result<Vec<Place>, MailboxError> {
        let mut places = Vec::new();
        for (name, row) in self.rows()? {
            if !row.mbtype.is_usable() {
                continue;
            }
            let Some(entry) = self.lookup(&name)? else {
                continue;
            };
            let Some(id) = entry.id.clone() else { continue };
            let Ok(paths) = self.paths_of(&entry) else {
                continue;
            };
            let (header, index) = {
                let hot = self.hot(paths.clone());
                let owner = name.owner();
                let _names =
                    hot.lock_name(self, owner.as_deref(), Mode::Shared, Mode::Shared, self.wait())?;
                (self.beginning(&paths.header)?, self.beginning(&paths.index)?)
            };
            let header = header.and_then(|bytes| {
                let parsed = MailboxHeader::parse(&bytes).ok()?;
                Some((parsed.id, crc32(&bytes)))
            });
            let index = index.and_then(|bytes| IndexHeader::parse(&bytes).ok());
            places.push(Place {
                entry,
                id,
                paths,
                header,
                index: index.map(|index| index.header_file_crc),
            });
            self.forget_idle();
        }
        Ok(places)
    }

    /// A header file, or what an index begins with.
    fn beginning(&self, path: &Path) -> Result<Option<Vec<u8>>, MailboxError> {
        let Some(file) = self.disk().try_open(path, Open::read())? else {
            return Ok(None);
        };
        let mut bytes = vec![0; LONGEST_HEADER];
        let length = file.read_at(&mut bytes, 0)?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }
}

fn moves(places: &[Place]) -> Vec<Move> {
    let is_own = |place: &Place| place.header.as_ref().is_some_and(|(id, _)| *id == place.id);
    // Whose header lies where, unless it is at home.
    let mut headers: HashMap<&MailboxId, (usize, u32)> = HashMap::new();
    for (at, place) in places.iter().enumerate() {
        if let Some((id, crc)) = &place.header
            && (is_own(place) || !headers.contains_key(id))
        {
            headers.insert(id, (at, *crc));
        }
    }
    let crc_of = |place: &Place| headers.get(&place.id).map(|(_, crc)| *crc);
    let mut indexes: HashMap<u32, usize> = HashMap::new();
    for (at, place) in places.iter().enumerate() {
        if let Some(crc) = place.index.filter(|crc| Some(*crc) != crc_of(place)) {
            indexes.insert(crc, at);
        }
    }
    let mut moves = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let Some((header_at, crc)) = headers.get(&place.id) else {
            continue;
        };
        if *header_at != at
            && let Some(other) = places.get(*header_at)
        {
            moves.push(Move {
                from: other.paths.header.clone(),
                to: place.paths.header.clone(),
                place: at,
            });
        }
        if place.index != Some(*crc)
            && let Some(other) = indexes.get(crc).and_then(|other| places.get(*other))
        {
            moves.push(Move {
                from: other.paths.index.clone(),
                to: place.paths.index.clone(),
                place: at,
            });
        }
    }
    moves
}

fn returned(path: &Path) -> PathBuf {
    new_path(path)
}

/// Octets read of a header file or an index.
const LONGEST_HEADER: usize = 1 << 20;
