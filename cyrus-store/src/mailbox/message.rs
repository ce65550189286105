//! One message of a mailbox that is being read.

use std::borrow::Cow;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::IndexRead;
use crate::error::MailboxError;
use crate::flags::{Flags, SystemFlags};
use crate::format::cache::CacheView;
use crate::format::index::{Record, RecordView};
use crate::format::{Damage, Fault};
use crate::hot::Hot;
use crate::ident::Guid;
use crate::log::Level;
use crate::message::{CACHE_VERSION, CacheRecord, MessageParser};
use crate::metrics::STORE;
use crate::store::Store;
use crate::sys::{File, Map, Open};
use crate::uid::{ModSeq, Uid};

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'r> {
    read: &'r IndexRead<'r>,
    number: u32,
    uid: Uid,
    view: RecordView<'r>,
}

impl<'r> Message<'r> {
    pub(super) fn new(read: &'r IndexRead<'r>, number: u32, uid: Uid, view: RecordView<'r>) -> Self {
        Self {
            read,
            number,
            uid,
            view,
        }
    }

    /// UID.
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// Whether it is expunged, and only there for clients that have not been told.
    pub fn is_expunged(&self) -> bool {
        self.view.is_expunged()
    }

    /// Octets.
    pub fn size(&self) -> u32 {
        self.view.size()
    }

    /// When it was received, Unix seconds.
    pub fn internal_date(&self) -> i64 {
        i64::from(self.view.internaldate())
    }

    /// Midnight, server time, of the day in the Date: field, Unix seconds.
    pub fn sent_date(&self) -> i64 {
        i64::from(self.view.sentdate())
    }

    /// The Date: field, Unix seconds.
    pub fn gm_date(&self) -> i64 {
        i64::from(self.view.gmtime())
    }

    /// When it came into this mailbox, Unix seconds; 0 where that is not known.
    pub fn save_date(&self) -> i64 {
        i64::from(self.view.savedate())
    }

    /// Modification sequence.
    pub fn modseq(&self) -> ModSeq {
        ModSeq(self.view.modseq())
    }

    /// Modification sequence when it was created.
    pub fn created_modseq(&self) -> ModSeq {
        ModSeq(self.view.createdmodseq())
    }

    /// SHA-1 of the message.
    pub fn guid(&self) -> Guid {
        self.view.guid()
    }

    /// Conversation; 0 for none.
    pub fn thread_id(&self) -> u64 {
        self.view.cid()
    }

    /// Octets through the blank line.
    pub fn header_size(&self) -> u32 {
        self.view.header_size()
    }

    /// Flags, `\Seen` being this user's. Call [`IndexRead::load_seen`] first to hear of a seen state that cannot be read;
    /// without it everything is unseen then.
    pub fn flags(&self) -> Flags {
        let word = self.view.flags();
        let mut system = SystemFlags::from_bits(word).without(SystemFlags::SEEN);
        if self.read.is_seen(self.uid, word) {
            system |= SystemFlags::SEEN;
        }
        Flags {
            system,
            keywords: self.view.keywords(),
        }
    }

    /// Whether this session is the first to be told of the message.
    pub fn is_recent(&self) -> bool {
        self.read.is_recent(self.uid)
    }

    /// What the cache says of the message; parsed from its file where the cache is wrong or not there.
    ///
    /// # Errors
    /// The file is needed, and gone or damaged.
    pub fn cache(&self) -> Result<CachedRecord, MailboxError> {
        let record = self.record()?;
        if record.cache_offset != 0 {
            match self.cached(&record)? {
                Ok(found) => {
                    STORE.cache_hits.add(1);
                    return Ok(found);
                }
                Err(fault) => {
                    let paths = &self.read.mailbox.hot.paths;
                    let path = if record.is_archived() {
                        &paths.archive_cache
                    } else {
                        &paths.cache
                    };
                    // Once for all the messages: each of them may be hit.
                    if self
                        .read
                        .mailbox
                        .hot
                        .complains_of_cache(self.read.header.generation)
                    {
                        self.read.mailbox.store.log().record(
                            Level::Warning,
                            format_args!(
                                "{}: {fault}; message {} is parsed instead, as any other will be that is not in it; \
                                 run `reconstruct` on the mailbox",
                                path.display(),
                                self.uid
                            ),
                        );
                    }
                }
            }
        }
        STORE.cache_misses.add(1);
        let file = self.file()?;
        let parsed =
            MessageParser::parse(&file).map_err(|_| self.damaged(Damage::Impossible("message size")))?;
        Ok(CachedRecord {
            source: Source::Parsed(parsed.into_cache_record().into()),
            version: CACHE_VERSION,
        })
    }

    /// The items of the cache record for as long as the mailbox is read, without a copy; `None` where the cache is wrong or
    /// not there: then [`Message::cache`] has them.
    ///
    /// # Errors
    /// The cache file cannot be read.
    pub fn cache_items(&self) -> Result<Option<CacheRecord<'r>>, MailboxError> {
        let Ok(start @ 1..) = usize::try_from(self.view.cache_offset()) else {
            return Ok(None);
        };
        let Some(map) = self.read.cache(self.view.is_archived())? else {
            return Ok(None);
        };
        let record = map.get(start..).and_then(|rest| CacheRecord::parse(rest).ok());
        let has_crc = self.read.header.layout.is_writable();
        Ok(record.filter(|record| !has_crc || record.crc() == self.view.cache_crc()))
    }

    /// Version of the cache record: which header fields it holds.
    pub fn cache_version(&self) -> u16 {
        self.view.cache_version()
    }

    /// The record in the cache file, or what is wrong with it.
    fn cached(&self, record: &Record) -> Result<Result<CachedRecord, Fault>, MailboxError> {
        let Some(map) = self.read.cache(record.is_archived())? else {
            let damage = match self.read.cache_is_there(record.is_archived())? {
                true => Damage::Impossible("generation of the cache"),
                false => Damage::Missing,
            };
            return Ok(Err(Fault::new(0, damage)));
        };
        let view = match CacheView::parse(map, record.cache_offset) {
            Ok(view) => view,
            Err(fault) => return Ok(Err(fault)),
        };
        let has_crc = self.read.header.layout.is_writable();
        if has_crc && view.crc() != record.cache_crc {
            return Ok(Err(Fault {
                at: record.cache_offset,
                damage: Damage::Crc("cache record"),
            }));
        }
        let start = usize::try_from(record.cache_offset).unwrap_or(usize::MAX);
        let source = Source::Mapped {
            map: map.clone(),
            start,
            length: view.bytes().len(),
        };
        Ok(Ok(CachedRecord {
            source,
            version: record.cache_version,
        }))
    }

    /// The message itself; usable after the locks are gone.
    ///
    /// # Errors
    /// Damage if the file is missing or has another size than on record.
    pub fn file(&self) -> Result<MessageFile, MailboxError> {
        let record = self.record()?;
        let path = self
            .read
            .mailbox
            .hot
            .paths
            .message(record.uid, record.is_archived());
        let file = match self.read.mailbox.store.disk().open(&path, Open::read()) {
            Ok(file) => file,
            Err(error) if error.is_not_found() && self.is_expunged() => {
                return Err(MailboxError::MessageGone);
            }
            Err(error) if error.is_not_found() => {
                return Err(MailboxError::damaged(&path, Fault::new(0, Damage::Missing)));
            }
            Err(error) => return Err(error.into()),
        };
        let (found, expected) = (file.size()?, u64::from(record.size));
        if found != expected {
            let (at, damage) = match found < expected {
                true => (found, Damage::Truncated),
                false => (expected, Damage::Expected("the end of the message")),
            };
            return Err(MailboxError::damaged(&path, Fault { at, damage }));
        }
        let size = record.size as usize;
        if size < SMALL {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, 0)?;
            return Ok(MessageFile {
                content: Content::Read(bytes.into()),
                file,
            });
        }
        let map = file.map(size, 0)?;
        Ok(MessageFile {
            content: Content::Mapped(map),
            file,
        })
    }

    /// The index record itself, for tools that show or compare it; its `\Seen` is the index's, not this user's.
    ///
    /// # Errors
    /// The CRC is wrong: it may have been changed on disk, without a trace in the header, since the mailbox was read.
    pub fn record(&self) -> Result<Record, MailboxError> {
        let hot = &self.read.mailbox.hot;
        self.view
            .record()
            .map_err(|fault| hot.damaged_record(&self.read.header, self.number, fault))
    }

    fn damaged(&self, damage: Damage) -> MailboxError {
        self.read
            .mailbox
            .hot
            .damaged_record(&self.read.header, self.number, Fault::new(0, damage))
    }
}

/// A cache record that stays readable after the locks are gone.
#[derive(Clone, Debug)]
pub struct CachedRecord {
    source: Source,
    version: u16,
}

#[derive(Clone, Debug)]
enum Source {
    Mapped { map: Map, start: usize, length: usize },
    Parsed(Arc<[u8]>),
}

impl CachedRecord {
    /// What the cache says of a message whose index is locked, or its file; nothing if neither can be read.
    pub(crate) fn find(store: &Store, hot: &Hot, generation: u32, record: &Record) -> Option<Self> {
        let map = hot
            .cache_map(store, record.is_archived(), generation)
            .ok()
            .flatten();
        if let Some(map) = map.filter(|_| record.cache_offset != 0)
            && let Ok(view) = CacheView::parse(&map, record.cache_offset)
            && view.crc() == record.cache_crc
        {
            let start = usize::try_from(record.cache_offset).unwrap_or(usize::MAX);
            let length = view.bytes().len();
            return Some(Self {
                source: Source::Mapped { map, start, length },
                version: record.cache_version,
            });
        }
        let bytes = store
            .disk()
            .read(&hot.paths.message(record.uid, record.is_archived()))
            .ok()?;
        let parsed = MessageParser::parse(&bytes).ok()?;
        Some(Self {
            source: Source::Parsed(parsed.into_cache_record().into()),
            version: CACHE_VERSION,
        })
    }

    /// The bytes of the record.
    pub fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Mapped { map, start, length } => map.get(*start..*start + *length).unwrap_or_default(),
            Source::Parsed(bytes) => bytes,
        }
    }

    /// The items of the record.
    pub fn record(&self) -> CacheRecord<'_> {
        CacheRecord::parse(self.bytes()).expect("all ten items were found when the record was read or made")
    }

    /// The IMAP ENVELOPE.
    pub fn envelope(&self) -> &[u8] {
        self.record().envelope()
    }

    /// The IMAP BODYSTRUCTURE.
    pub fn bodystructure(&self) -> &[u8] {
        self.record().bodystructure()
    }

    /// Version of the cache record: which header fields it holds.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// These header fields as they stand in the message, if the record holds all of them.
    pub fn header_fields<N: AsRef<[u8]>>(&self, names: &[N]) -> Option<Vec<u8>> {
        self.record().header_fields(names, self.version)
    }
}

/// The content of a message, unchanging.
#[derive(Clone, Debug)]
pub struct MessageFile {
    content: Content,
    file: File,
}

#[derive(Clone, Debug)]
enum Content {
    Mapped(Map),
    Read(Arc<[u8]>),
}

impl MessageFile {
    /// The descriptor, for sending straight from the page cache.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }

    /// The SHA-1 of the message as it is, which should be the one on record.
    pub fn guid(&self) -> Guid {
        use sha1::Digest;
        Guid(sha1::Sha1::digest(&**self).into())
    }

    /// A part of the message; cut short at its end.
    pub fn slice(&self, start: u64, length: u64) -> Cow<'_, [u8]> {
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.len());
        let end = start
            .saturating_add(usize::try_from(length).unwrap_or(usize::MAX))
            .min(self.len());
        Cow::Borrowed(self.get(start..end).unwrap_or_default())
    }
}

impl Deref for MessageFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.content {
            Content::Mapped(map) => map,
            Content::Read(bytes) => bytes,
        }
    }
}

/// Messages below this size are read: that is quicker than a mapping.
const SMALL: usize = 64 * 1024;
