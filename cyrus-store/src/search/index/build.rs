//! Bringing an index up to date: what is new is added, what is expunged goes, what does not fit is made anew.
//!
//! One process writes an index at a time. What it writes is seen all at once, when tantivy's list of parts is replaced; a
//! crash before that leaves the index as it was.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tantivy::schema::Term;
use tantivy::{IndexWriter, TantivyDocument};

use super::IndexError;
use super::engine::{Fault, Fields, Opened, guarded, open_or_create};
use super::grams::{Gatherer, Half};
use super::keep::META;
use super::state::{State, Texts};
use super::texts::{self, Read, Source};
use super::words::each_stem;
use crate::error::{ErrorClass, MailboxError};
use crate::ident::Guid;
use crate::lock::{Guard, LockError, Wait};
use crate::mailbox::{CachedRecord, Mailbox, MessageFile};
use crate::mboxlist::MailboxEntry;
use crate::store::Store;
use crate::sys::{FileKind, Mode};
use crate::uid::{ModSeq, Uid, UidSet, UidValidity};

/// How an index is brought up to date.
#[derive(Clone, Copy, Debug)]
pub struct Indexing {
    /// Make it anew, even if it could be added to.
    pub anew: bool,
    /// Make it as small and as quick to search as it can be.
    pub compact: bool,
    /// Whether to wait while another process is at work on it.
    pub wait: bool,
}

/// What was done to an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// Messages that were added.
    pub added: u32,
    /// Messages that were taken out.
    pub removed: u32,
    /// Messages that are not, or not wholly, in the index: searches look at them.
    pub left_out: u32,
    /// Whether it was made anew.
    pub anew: bool,
}

/// The index of one mailbox while it is written.
struct Build<'s> {
    store: &'s Store,
    mailbox: &'s mut Mailbox,
    path: PathBuf,
    texts: Texts,
    fields: Fields,
    gatherer: Gatherer,
    room: Vec<u8>,
}

/// The mailbox at the moment when the work began.
struct Goal {
    uidvalidity: UidValidity,
    /// The highest UID given until then.
    last: u32,
    modseq: ModSeq,
    messages: Vec<(Uid, u64)>,
}

/// What is to be done.
struct Plan {
    anew: bool,
    stale: Vec<u32>,
    /// Ascending.
    fresh: Vec<Uid>,
    /// What was not wholly read before, and is not read again.
    left_out: UidSet,
}

/// A message whose texts are to be read.
struct Wanting {
    uid: Uid,
    guid: u64,
    header_size: usize,
    content: Option<(MessageFile, CachedRecord)>,
}

impl Store {
    /// Brings the index of a mailbox up to date.
    ///
    /// The mailbox is locked for a few messages at a time only.
    ///
    /// # Errors
    /// The mailbox or the index cannot be read or written; what was there before is left.
    pub fn index_mailbox(&self, mailbox: &mut Mailbox, how: Indexing) -> Result<Indexed, IndexError> {
        if !self.options().search.engine {
            return Err(IndexError::Off);
        }
        let path = self.index_path(mailbox.entry())?;
        let _lock = self.lock_index(&path, how.wait)?;
        let mut build = Build {
            store: self,
            mailbox,
            texts: Texts::of(&self.options().search),
            fields: Fields::schema().0,
            gatherer: Gatherer::new(),
            room: Vec::new(),
            path: path.clone(),
        };
        let done = build.run(how);
        self.indexes().forget(&path);
        done
    }

    /// Up to which UID the index of a mailbox is whole, and how many messages are in it; `None` without one of any use.
    pub fn index_extent(&self, mailbox: &mut Mailbox) -> Result<Option<(u32, usize)>, MailboxError> {
        let index = mailbox.search_index()?;
        Ok(index.map(|index| (index.opened.state.through, index.opened.messages().len())))
    }

    /// The directory of the index of a mailbox, whether it is there or not.
    ///
    /// # Errors
    /// The mailbox holds no messages.
    pub fn index_path(&self, entry: &MailboxEntry) -> Result<PathBuf, MailboxError> {
        let (id, partition) = entry.storage()?;
        let root = self.index_root(Some(partition));
        Ok(root.join(crate::paths::id_path(id)))
    }

    fn index_root(&self, partition: Option<&crate::ident::Partition>) -> PathBuf {
        let options = self.options();
        let own = partition.and_then(|partition| options.search.roots.get(partition));
        own.map_or_else(|| options.config_dir.join("search"), Clone::clone)
            .join(TOP)
    }

    /// Whether a mailbox was not changed since its index was written, and that was at least so long after the last change.
    pub fn index_is_newer(&self, mailbox: &Mailbox, delta: Duration) -> bool {
        let written = |path: &Path| {
            let stat = self.disk().try_stat(path).ok().flatten();
            stat.map(|stat| stat.modified)
        };
        let index = self.index_path(mailbox.entry()).ok();
        let index = index.and_then(|path| written(&path.join(META)));
        index
            .zip(written(mailbox.index_path()))
            .is_some_and(|(index, messages)| messages + delta < index)
    }

    /// Removes the index of a mailbox.
    ///
    /// # Errors
    /// It is being written, or the disk refuses.
    pub fn remove_index(&self, entry: &MailboxEntry) -> Result<(), IndexError> {
        let path = self.index_path(entry)?;
        self.remove_index_at(&path)
    }

    /// Removes the indexes of mailboxes for which `exists` is false; how many those were.
    ///
    /// # Errors
    /// A directory cannot be read, or an index not be removed.
    pub fn remove_lost_indexes(&self, exists: &dyn Fn(&str) -> bool) -> Result<u32, IndexError> {
        let mut roots = vec![self.index_root(None)];
        roots.extend(
            self.options()
                .search
                .roots
                .keys()
                .map(|name| self.index_root(Some(name))),
        );
        roots.dedup();
        let mut removed = 0;
        for root in roots {
            // uuid/8/a/8a3v2x: the directories of unique ids are as deep as those of mailboxes.
            let mut level = vec![root];
            for _ in 0..3 {
                let mut next = Vec::new();
                for path in level {
                    next.extend(self.directories(&path)?);
                }
                level = next;
            }
            for path in level {
                for index in self.directories(&path)? {
                    let id = index.file_name().and_then(|name| name.to_str());
                    if id.is_some_and(|id| !exists(id)) {
                        self.remove_index_at(&index)?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }

    fn directories(&self, path: &Path) -> Result<Vec<PathBuf>, IndexError> {
        match self.disk().read_dir(path) {
            Ok(entries) => Ok(entries
                .into_iter()
                .filter(|entry| entry.kind == FileKind::Directory)
                .map(|entry| path.join(entry.name))
                .collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(MailboxError::from(error).into()),
        }
    }

    fn remove_index_at(&self, path: &Path) -> Result<(), IndexError> {
        if self.disk().try_stat(path).map_err(MailboxError::from)?.is_none() {
            return Ok(());
        }
        let _lock = self.lock_index(path, false)?;
        self.indexes().forget(path);
        self.wipe(path, true)
            .map_err(|error| MailboxError::from(error).into())
    }

    /// Removes the files of an index; its list of parts first, so that no half of it is ever taken for the whole.
    fn wipe(&self, path: &Path, whole: bool) -> crate::sys::DiskResult<()> {
        let disk = self.disk();
        disk.unlink_if_exists(&path.join(META))?;
        disk.sync_dir(path)?;
        for entry in disk.read_dir(path)? {
            if whole || entry.name != *LOCK {
                disk.unlink_if_exists(&path.join(entry.name))?;
            }
        }
        if whole {
            disk.remove_dir(path)?;
        }
        Ok(())
    }

    fn lock_index(&self, path: &Path, wait: bool) -> Result<Guard, IndexError> {
        let wait = if wait { Wait::Forever } else { Wait::Never };
        let lock = self.locks().lock_file(&path.join(LOCK), Mode::Exclusive, wait);
        lock.map_err(|error| match error {
            LockError::Busy { .. } => IndexError::Busy {
                path: path.to_owned(),
            },
            error => MailboxError::from(error).into(),
        })
    }
}

impl Build<'_> {
    fn run(&mut self, how: Indexing) -> Result<Indexed, IndexError> {
        let goal = self.goal()?;
        let old = match self.store.disk().try_stat(&self.path.join(META)) {
            Ok(None) => None,
            Ok(Some(_)) => match guarded(|| Opened::open(&self.path, self.store.locks())) {
                Ok(old) => Some(old),
                Err(Fault::Busy) => return Err(Fault::Busy.at(&self.path)),
                Err(Fault::Foreign | Fault::Damaged(_)) => None,
            },
            Err(error) => return Err(MailboxError::from(error).into()),
        };
        let old = old.filter(|old| self.can_be_added_to(&old.state, &goal));
        let plan = self.plan(old.as_ref(), &goal, how.anew);
        if old.is_none() && goal.messages.is_empty() && !how.anew {
            // Nothing to find, and so no need of files.
            return Ok(Indexed::default());
        }
        if old.is_none() {
            // What is there, if anything, is of no use.
            self.store.wipe(&self.path, false).map_err(MailboxError::from)?;
        } else if !plan.anew && plan.stale.is_empty() && plan.fresh.is_empty() {
            let state = old.as_ref().map(|old| &old.state);
            if !how.compact && state.is_some_and(|state| state.through == goal.last) {
                return Ok(Indexed::default());
            }
        }
        drop(old);
        self.write(&plan, &goal, how.compact)
    }

    fn goal(&mut self) -> Result<Goal, IndexError> {
        let read = self.mailbox.read()?;
        Ok(Goal {
            uidvalidity: read.uidvalidity(),
            last: read.uidnext().saturating_sub(1),
            modseq: read.highest_modseq(),
            messages: read
                .messages()
                .map(|message| (message.uid(), hash(&message.guid())))
                .collect(),
        })
    }

    fn can_be_added_to(&self, state: &State, goal: &Goal) -> bool {
        state.id == *self.mailbox.id()
            && state.uidvalidity == goal.uidvalidity
            && state.through <= goal.last
            && state.modseq <= goal.modseq
            && state.texts == self.texts
    }

    fn plan(&self, old: Option<&Opened>, goal: &Goal, anew: bool) -> Plan {
        let Some(old) = old.filter(|_| !anew) else {
            return Plan {
                anew: true,
                stale: Vec::new(),
                fresh: goal.messages.iter().map(|(uid, _)| *uid).collect(),
                left_out: UidSet::new(),
            };
        };
        let mut indexed: HashMap<u32, u64> = HashMap::new();
        let mut stale = Vec::new();
        for (uid, guid) in old.messages() {
            if indexed.insert(uid, guid).is_some() {
                stale.push(uid);
            }
        }
        for uid in &stale {
            indexed.remove(uid);
        }
        let mut fresh = Vec::new();
        for (uid, guid) in &goal.messages {
            match indexed.remove(&uid.get()) {
                Some(known) if known == *guid => {}
                Some(_) => {
                    stale.push(uid.get());
                    fresh.push(*uid);
                }
                None => fresh.push(*uid),
            }
        }
        stale.extend(indexed.into_keys());
        let mut left_out = old.state.left_out.clone();
        left_out.keep_all(&goal.messages.iter().map(|(uid, _)| *uid).collect());
        left_out.remove_all(&fresh.iter().copied().collect());
        Plan {
            anew: false,
            stale,
            fresh,
            left_out,
        }
    }

    fn write(&mut self, plan: &Plan, goal: &Goal, compact: bool) -> Result<Indexed, IndexError> {
        let path = self.path.clone();
        let index = guarded(|| open_or_create(&path, self.store.locks())).map_err(|fault| fault.at(&path))?;
        let memory = if plan.fresh.len() > MANY { MUCH } else { LITTLE };
        let writer = guarded(|| Ok(index.writer_with_num_threads(1, memory)?));
        let mut writer: IndexWriter = writer.map_err(|fault| fault.at(&path))?;
        if plan.anew {
            guarded(|| Ok(writer.delete_all_documents()?)).map_err(|fault| fault.at(&path))?;
        }
        for &uid in &plan.stale {
            writer.delete_term(Term::from_field_u64(self.fields.uid, u64::from(uid)));
        }
        let mut done = Indexed {
            removed: u32::try_from(plan.stale.len()).unwrap_or(u32::MAX),
            anew: plan.anew,
            ..Indexed::default()
        };
        let mut left_out = plan.left_out.clone();
        let mut since = 0;
        let batch = self.store.options().search.batch.max(1);
        for uids in plan.fresh.chunks(batch) {
            let (messages, last) = (self.fetch(uids, goal)?, uids.last());
            for message in messages {
                let whole = guarded(|| self.add(&mut writer, &message)).map_err(|fault| fault.at(&path))?;
                if whole {
                    done.added += 1;
                } else {
                    left_out.insert(message.uid);
                }
            }
            since += uids.len();
            if let Some(last) = last.filter(|_| since >= COMMIT) {
                since = 0;
                self.commit(&mut writer, goal, last.get(), &left_out)?;
            }
        }
        self.commit(&mut writer, goal, goal.last, &left_out)?;
        if compact {
            let merged = guarded(|| {
                let parts = index.searchable_segment_ids()?;
                if parts.len() > 1 {
                    writer.merge(&parts).wait()?;
                }
                Ok(writer.garbage_collect_files().wait()?)
            });
            merged.map_err(|fault| fault.at(&path))?;
        }
        guarded(|| Ok(writer.wait_merging_threads()?)).map_err(|fault| fault.at(&path))?;
        done.left_out = u32::try_from(left_out.len()).unwrap_or(u32::MAX);
        Ok(done)
    }

    /// Reads some messages, as far as they are still there.
    fn fetch(&mut self, uids: &[Uid], goal: &Goal) -> Result<Vec<Wanting>, IndexError> {
        let read = self.mailbox.read()?;
        if read.uidvalidity() != goal.uidvalidity {
            return Err(MailboxError::Locked.into());
        }
        let mut fetched = Vec::with_capacity(uids.len());
        for message in uids.iter().filter_map(|uid| read.get(*uid)) {
            let content = message.file().and_then(|file| Ok((file, message.cache()?)));
            let content = match content {
                Ok(content) => Some(content),
                Err(MailboxError::MessageGone) => continue,
                Err(error) if error.class() == ErrorClass::Damaged => None,
                Err(error) => return Err(error.into()),
            };
            fetched.push(Wanting {
                uid: message.uid(),
                guid: hash(&message.guid()),
                header_size: message.header_size() as usize,
                content,
            });
        }
        Ok(fetched)
    }

    /// Adds a message; whether wholly.
    fn add(&mut self, writer: &mut IndexWriter, message: &Wanting) -> Result<bool, Fault> {
        let Some((file, cached)) = &message.content else {
            return Ok(false);
        };
        let read = Read {
            message: file,
            header_size: message.header_size,
            record: cached.record(),
            version: cached.version(),
        };
        let fields = self.fields;
        let mut document = TantivyDocument::default();
        document.add_u64(fields.uid, u64::from(message.uid.get()));
        document.add_u64(fields.guid, message.guid);
        let comparison = self.texts.comparison();
        let limit = self.store.options().search.max_size;
        let (gatherer, room, html) = (&mut self.gatherer, &mut self.room, self.texts.html);
        let read = texts::each_text(read, self.texts.headers, &mut |source, text| {
            let half = match source {
                Source::PartHeader | Source::Plain | Source::Html => Half::Body,
                _ => Half::Header,
            };
            gatherer.begin();
            texts::each_piece(text, comparison, room, &mut |piece| gatherer.add(half, piece));
            let field = match source {
                Source::From => fields.from,
                Source::To => fields.to,
                Source::Cc => fields.cc,
                Source::Bcc => fields.bcc,
                Source::Subject => fields.subject,
                Source::Field => fields.header,
                Source::Html if !html => return,
                Source::Plain | Source::Html => fields.body,
                // Its fields come one by one.
                Source::Header | Source::PartHeader => return,
            };
            let text = text.get(..text.floor_char_boundary(limit)).unwrap_or(text);
            let plain = match source {
                Source::Html => texts::without_tags(text),
                _ => text.into(),
            };
            let mut words = String::new();
            each_stem(&plain, &mut |stem| {
                words.push_str(stem);
                words.push(' ');
            });
            if !words.is_empty() {
                document.add_text(field, words);
            }
        });
        gatherer.take(&mut |gram| document.add_u64(fields.grams, gram));
        writer.add_document(document)?;
        Ok(read.is_ok())
    }

    fn commit(
        &self,
        writer: &mut IndexWriter,
        goal: &Goal,
        through: u32,
        left_out: &UidSet,
    ) -> Result<(), IndexError> {
        let state = State {
            id: self.mailbox.id().clone(),
            uidvalidity: goal.uidvalidity,
            through,
            modseq: goal.modseq,
            texts: self.texts,
            left_out: left_out.clone(),
        };
        guarded(|| {
            let mut prepared = writer.prepare_commit()?;
            prepared.set_payload(&state.to_string());
            prepared.commit()?;
            Ok(())
        })
        .map_err(|fault| fault.at(&self.path))
    }
}

/// The beginning of a message's SHA-1.
fn hash(guid: &Guid) -> u64 {
    guid.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The directory of all indexes, below that of a partition.
const TOP: &str = "text-index.1";

/// The lock of whoever writes an index.
const LOCK: &str = "squatter.lock";

/// After how many messages those before are seen by searches, and not lost if the work is cut short.
const COMMIT: usize = 50_000;

/// More messages than this are worth much memory.
const MANY: usize = 2_000;
const MUCH: usize = 192 << 20;
const LITTLE: usize = 16 << 20;
