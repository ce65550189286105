//! Keys and values of a user's conversations database.
//!
//! A conversation (thread) has a 64-bit id. The database knows which message ids belong to which conversations
//! ([`MessageIdRow`]), what each conversation holds ([`Conversation`]), what each mailbox counts ([`FolderStatus`]), and
//! where each message and MIME part is, by its SHA-1 ([`GuidRow`]). Mailboxes are numbers in it: places in the list of
//! [`FOLDER_IDS`].

use super::dlist::Dlist;
use super::{Damage, Fault, be32, be64, decimal};
use crate::ident::Guid;

/// Key of the list of mailboxes, by unique id; the place in it is a mailbox's number, `-` a free place.
pub const FOLDER_IDS: &[u8] = b"$FOLDER_IDS";
/// The same by internal name, in databases of older versions.
pub const FOLDER_NAMES: &[u8] = b"$FOLDER_NAMES";
/// Key of the flags that are counted in each conversation, separated by spaces.
pub const COUNTED_FLAGS: &[u8] = b"$COUNTED_FLAGS";
/// Key of the [`EmailQuota`].
pub const QUOTA: &[u8] = b"Q";
/// A free place in the list of mailboxes.
pub const NO_FOLDER: &str = "-";
/// Flags that are counted at most.
pub const MAX_COUNTED: usize = 32;
/// Senders that a conversation keeps at most.
pub const MAX_SENDERS: usize = 99;

/// Reads a list of mailboxes.
///
/// # Errors
/// It is no list of strings.
pub fn parse_folders(value: &[u8]) -> Result<Vec<String>, Fault> {
    let list = Dlist::parse(value)?;
    let items = list.as_list().ok_or_else(|| expected("a list of mailboxes"))?;
    let name = |item: &Dlist<'_>| item.as_str().map(str::to_owned);
    items
        .iter()
        .map(|item| name(item).ok_or_else(|| expected("a mailbox")))
        .collect()
}

/// The value of a list of mailboxes.
pub fn folders_to_bytes(folders: &[String]) -> Vec<u8> {
    Dlist::List(folders.iter().map(Dlist::atom).collect()).to_bytes()
}

/// What the conversations of a message id are, and since when: value of a key `<id>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageIdRow {
    /// The conversations, the newest last.
    pub cids: Vec<u64>,
    /// When the last was added, Unix seconds.
    pub time: u64,
}

impl MessageIdRow {
    /// Reads a value.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let rest = versioned(value, 0, 0)?.1;
        let space = memchr::memchr(b' ', rest).ok_or_else(|| expected("conversations and a time"))?;
        let (cids, time) = (rest.get(..space), rest.get(space + 1..));
        let cids = cids.unwrap_or_default().split(|&byte| byte == b',');
        Ok(Self {
            cids: cids
                .map(|text| parse_cid(text).ok_or_else(|| expected("16 hexadecimal digits")))
                .collect::<Result<_, _>>()?,
            time: decimal(time.unwrap_or_default()).ok_or_else(|| expected("a time"))?,
        })
    }

    /// The value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let cids: Vec<String> = self.cids.iter().map(|cid| format!("{cid:016x}")).collect();
        format!("0 {} {}", cids.join(","), self.time).into_bytes()
    }
}

/// The key of a conversation.
pub fn conversation_key(cid: u64) -> Vec<u8> {
    format!("B{cid:016x}").into_bytes()
}

/// The conversation that a key is about.
pub fn cid_of_key(key: &[u8]) -> Option<u64> {
    parse_cid(key.strip_prefix(b"B")?)
}

fn parse_cid(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| hex)
}

/// What a conversation holds: value of a key `B`.
///
/// Each distinct message (by its GUID) is counted once, however many copies of it there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Version: 1; in 0, each copy is counted.
    pub version: u32,
    /// The highest modification sequence of a change of one of its messages.
    pub modseq: u64,
    /// Messages, expunged ones among them.
    pub num_records: u32,
    /// Messages that exist.
    pub exists: u32,
    /// Messages that are not seen.
    pub unseen: u32,
    /// Messages with each of the counted flags; each copy counts here.
    pub counts: Vec<u32>,
    /// The mailboxes that it has messages in, by their number.
    pub folders: Vec<ConversationFolder>,
    /// Who sent the messages, the latest first.
    pub senders: Vec<Sender>,
    /// The normalized subject; `None` as long as all are drafts.
    pub subject: Option<Vec<u8>>,
    /// Octets of the messages that exist.
    pub size: u32,
    /// The messages that exist, the oldest first.
    pub thread: Vec<ThreadItem>,
    /// The lowest modification sequence at which one of them was created.
    pub createdmodseq: u64,
}

/// What a mailbox has of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConversationFolder {
    /// Number of the mailbox.
    pub number: u32,
    /// The highest modification sequence of a change there.
    pub modseq: u64,
    /// Messages, expunged ones among them.
    pub num_records: u32,
    /// Messages that exist.
    pub exists: u32,
    /// Messages that are not seen.
    pub unseen: u32,
}

/// A sender, in the parts of an IMAP address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Display name, still encoded.
    pub name: Option<Vec<u8>>,
    /// Source route.
    pub route: Option<Vec<u8>>,
    /// Local part.
    pub mailbox: Vec<u8>,
    /// Domain.
    pub domain: Vec<u8>,
    /// The latest Date: of a message of his, Unix seconds.
    pub lastseen: u32,
    /// Messages of his that exist.
    pub exists: u32,
}

/// A message of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadItem {
    /// SHA-1 of the message.
    pub guid: Guid,
    /// 1.
    pub exists: u32,
    /// Unix seconds.
    pub internaldate: u64,
}

impl Conversation {
    /// The version that is written.
    pub const VERSION: u32 = 1;

    /// A conversation without messages.
    pub fn new() -> Self {
        Self {
            version: Self::VERSION,
            ..Self::default()
        }
    }

    /// Reads a value; older ones end early.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let (version, rest) = versioned(value, 0, Self::VERSION)?;
        let text = Dlist::parse(rest)?;
        let fields = text
            .as_list()
            .filter(|fields| fields.len() >= 8)
            .ok_or_else(|| expected("the fields of a conversation"))?;
        let list = |at: usize| match fields.get(at) {
            Some(field) => field.as_list().ok_or_else(|| expected("a list")),
            None => Ok(&[][..]),
        };
        let subject = fields.get(7).filter(|field| **field != Dlist::Nil);
        let subject = subject.map(|field| bytes(Some(field))).transpose()?;
        Ok(Self {
            version,
            modseq: number(fields.first())?,
            num_records: short(fields.get(1))?,
            exists: short(fields.get(2))?,
            unseen: short(fields.get(3))?,
            counts: list(4)?
                .iter()
                .map(|count| short(Some(count)))
                .collect::<Result<_, _>>()?,
            folders: list(5)?.iter().map(folder).collect::<Result<_, _>>()?,
            senders: list(6)?.iter().map(sender).collect::<Result<_, _>>()?,
            subject,
            size: optional(fields.get(8), short)?,
            thread: list(9)?.iter().map(thread_item).collect::<Result<_, _>>()?,
            createdmodseq: optional(fields.get(10), number)?,
        })
    }

    /// The value. Mailboxes and senders that have nothing are left out.
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = |count: &u32| Dlist::number(u64::from(*count));
        let folder = |folder: &ConversationFolder| {
            Dlist::List(vec![
                count(&folder.number),
                Dlist::number(folder.modseq),
                count(&folder.num_records),
                count(&folder.exists),
                count(&folder.unseen),
            ])
        };
        let mut fields = vec![
            Dlist::number(self.modseq),
            count(&self.num_records),
            count(&self.exists),
            count(&self.unseen),
            Dlist::List(self.counts.iter().map(count).collect()),
        ];
        let folders = self.folders.iter().filter(|folder| folder.num_records > 0);
        fields.push(Dlist::List(folders.map(folder).collect()));
        let senders = self.senders.iter().filter(|sender| sender.exists > 0);
        let senders = senders.take(MAX_SENDERS).map(|sender| {
            Dlist::List(vec![
                nstring(sender.name.as_deref()),
                nstring(sender.route.as_deref()),
                nstring(Some(&sender.mailbox)),
                nstring(Some(&sender.domain)),
                count(&sender.lastseen),
                count(&sender.exists),
            ])
        });
        fields.push(Dlist::List(senders.collect()));
        fields.push(nstring(self.subject.as_deref()));
        fields.push(count(&self.size));
        let thread = self.thread.iter().filter(|item| item.exists > 0).map(|item| {
            Dlist::List(vec![
                Dlist::Atom(item.guid.to_string().into_bytes().into()),
                count(&item.exists),
                Dlist::number(item.internaldate),
            ])
        });
        fields.push(Dlist::List(thread.collect()));
        fields.push(Dlist::number(self.createdmodseq));
        let mut out = format!("{} ", self.version).into_bytes();
        Dlist::List(fields).write(&mut out);
        out
    }
}

fn folder(item: &Dlist<'_>) -> Result<ConversationFolder, Fault> {
    let fields = item.as_list().ok_or_else(|| expected("a mailbox"))?;
    Ok(ConversationFolder {
        number: short(fields.first())?,
        modseq: number(fields.get(1))?,
        num_records: short(fields.get(2))?,
        exists: short(fields.get(3))?,
        unseen: optional(fields.get(4), short)?,
    })
}

fn sender(item: &Dlist<'_>) -> Result<Sender, Fault> {
    let fields = item.as_list().ok_or_else(|| expected("a sender"))?;
    let part = |at: usize| match fields.get(at) {
        None | Some(Dlist::Nil) => Ok(None),
        field => bytes(field).map(Some),
    };
    Ok(Sender {
        name: part(0)?,
        route: part(1)?,
        mailbox: part(2)?.unwrap_or_default(),
        domain: part(3)?.unwrap_or_default(),
        lastseen: short(fields.get(4))?,
        exists: short(fields.get(5))?,
    })
}

fn thread_item(item: &Dlist<'_>) -> Result<ThreadItem, Fault> {
    let fields = item.as_list().ok_or_else(|| expected("a message"))?;
    let hex = fields.first().and_then(Dlist::as_bytes).unwrap_or_default();
    Ok(ThreadItem {
        guid: parse_guid(hex).ok_or_else(|| expected("40 hexadecimal digits"))?,
        exists: short(fields.get(1))?,
        internaldate: number(fields.get(2))?,
    })
}

/// The key of what a mailbox counts.
pub fn folder_key(folder: &str) -> Vec<u8> {
    format!("F{folder}").into_bytes()
}

/// What a mailbox counts: value of a key `F`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderStatus {
    /// The highest modification sequence of the mailbox, or of a conversation that has a message there.
    pub threadmodseq: u64,
    /// Conversations with messages that exist there.
    pub threadexists: u32,
    /// Those among them with unseen messages anywhere.
    pub threadunseen: u32,
    /// Messages that exist there.
    pub emailexists: u32,
    /// Those among them of which a copy is unseen.
    pub emailunseen: u32,
}

impl FolderStatus {
    /// Reads a value.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let rest = versioned(value, 0, 0)?.1;
        let text = Dlist::parse(rest)?;
        let fields = text
            .as_list()
            .ok_or_else(|| expected("the counts of a mailbox"))?;
        Ok(Self {
            threadmodseq: number(fields.first())?,
            threadexists: short(fields.get(1))?,
            threadunseen: short(fields.get(2))?,
            emailexists: optional(fields.get(3), short)?,
            emailunseen: optional(fields.get(4), short)?,
        })
    }

    /// The value.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!(
            "0 ({} {} {} {} {})",
            self.threadmodseq, self.threadexists, self.threadunseen, self.emailexists, self.emailunseen
        )
        .into_bytes()
    }
}

/// What the messages of a user take, each counted once: value of the key `Q`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmailQuota {
    /// Messages.
    pub emails: u64,
    /// Octets.
    pub octets: u64,
}

impl EmailQuota {
    /// Reads a value.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let rest = versioned(value, 1, 1)?.1;
        let map = Dlist::parse(rest)?;
        let of = |key| {
            let number = map.get(key).and_then(Dlist::as_number);
            number.ok_or_else(|| expected("numbers of messages and octets"))
        };
        Ok(Self {
            emails: of("E")?,
            octets: of("S")?,
        })
    }

    /// The value.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("1 %(E {} S {})", self.emails, self.octets).into_bytes()
    }
}

/// Where a message or part with some content is: a key `G`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuidKey {
    /// SHA-1 of the content.
    pub guid: Guid,
    /// Number of the mailbox.
    pub folder: u32,
    /// UID of the message.
    pub uid: u32,
    /// The part, as in `BODY[1.2]`; `None` is the whole message.
    pub part: Option<String>,
}

impl GuidKey {
    /// What the keys of some content begin with.
    pub fn prefix(guid: Guid) -> Vec<u8> {
        format!("G{guid}:").into_bytes()
    }

    /// Reads a key.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (guid, place) = key.strip_prefix(b"G")?.split_at_checked(40)?;
        let place = std::str::from_utf8(place).ok()?.strip_prefix(':')?;
        let (folder, place) = place.split_once(':')?;
        let (uid, part) = match place.strip_suffix(']') {
            None => (place, None),
            Some(place) => {
                let (uid, part) = place.split_once('[')?;
                (uid, Some(Some(part).filter(|part| !part.is_empty())?.to_owned()))
            }
        };
        Some(Self {
            guid: parse_guid(guid)?,
            folder: plain_number(folder)?,
            uid: plain_number(uid)?,
            part,
        })
    }

    /// The key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let place = format!("G{}:{}:{}", self.guid, self.folder, self.uid);
        match &self.part {
            None => place,
            Some(part) => format!("{place}[{part}]"),
        }
        .into_bytes()
    }
}

/// The number that is all of `text`, spelt as it is printed.
fn plain_number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// What the database knows of a message or part: value of a key `G`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuidRow {
    /// Conversation; 0 for none.
    pub cid: u64,
    /// Client flags of the index record; `None` in databases of the first version, which do not tell.
    pub flags: Option<u32>,
    /// Unix seconds.
    pub internaldate: u64,
}

impl GuidRow {
    /// Version of values in databases that number mailboxes by unique id; those by name have 1.
    const BY_ID: u8 = 2;
    const BY_NAME: u8 = 1;

    /// Reads a value.
    ///
    /// # Errors
    /// It is of another version, or ends early.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        match value.first() {
            Some(&marked) if marked & 0x80 != 0 => {
                let version = marked & 0x7f;
                if !(Self::BY_NAME..=Self::BY_ID).contains(&version) {
                    return Err(Fault::new(0, Damage::Version(version.into())));
                }
                let truncated = || Fault::new(value.len(), Damage::Truncated);
                let client = be32(value, 9).ok_or_else(truncated)?;
                let internal = be32(value, 13).ok_or_else(truncated)?;
                Ok(Self {
                    cid: be64(value, 1).ok_or_else(truncated)?,
                    flags: Some(client | internal),
                    internaldate: be64(value, 17).ok_or_else(truncated)?,
                })
            }
            None => Ok(Self::default()),
            Some(_) => {
                let cid = parse_cid(value).ok_or_else(|| expected("16 hexadecimal digits"))?;
                Ok(Self {
                    cid,
                    ..Self::default()
                })
            }
        }
    }

    /// The value, for a database whose mailboxes are listed by name or not.
    pub fn to_bytes(&self, by_name: bool) -> Vec<u8> {
        let version = if by_name { Self::BY_NAME } else { Self::BY_ID };
        let flags = self.flags.unwrap_or_default();
        let mut out = vec![0x80 | version];
        out.extend_from_slice(&self.cid.to_be_bytes());
        out.extend_from_slice(&(flags & CLIENT_FLAGS).to_be_bytes());
        out.extend_from_slice(&(flags & !CLIENT_FLAGS).to_be_bytes());
        out.extend_from_slice(&self.internaldate.to_be_bytes());
        out
    }
}

/// The bits of an index record's flags that are a client's.
const CLIENT_FLAGS: u32 = 0xffff;

/// The GUID with these 40 hexadecimal digits.
pub fn parse_guid(hex: &[u8]) -> Option<Guid> {
    let mut guid = Guid::default();
    if hex.len() != 40 {
        return None;
    }
    for (byte, digits) in guid.0.iter_mut().zip(hex.chunks(2)) {
        let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(guid)
}

fn expected(what: &'static str) -> Fault {
    Fault::new(0, Damage::Expected(what))
}

/// The version that a value begins with, if it is one of these, and what follows the space after it.
fn versioned(value: &[u8], least: u32, most: u32) -> Result<(u32, &[u8]), Fault> {
    let space = memchr::memchr(b' ', value).ok_or_else(|| expected("a version"))?;
    let version = value.get(..space).and_then(decimal);
    let version = version.and_then(|version| u32::try_from(version).ok());
    let version = version.ok_or_else(|| expected("a version"))?;
    if !(least..=most).contains(&version) {
        return Err(Fault::new(0, Damage::Version(version)));
    }
    Ok((version, value.get(space + 1..).unwrap_or_default()))
}

fn number(field: Option<&Dlist<'_>>) -> Result<u64, Fault> {
    field
        .and_then(Dlist::as_number)
        .ok_or_else(|| expected("a number"))
}

fn short(field: Option<&Dlist<'_>>) -> Result<u32, Fault> {
    u32::try_from(number(field)?).map_err(|_| expected("a number of 32 bits"))
}

fn optional<T: Default>(
    field: Option<&Dlist<'_>>,
    parse: impl Fn(Option<&Dlist<'_>>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    match field {
        None => Ok(T::default()),
        field => parse(field),
    }
}

fn bytes(field: Option<&Dlist<'_>>) -> Result<Vec<u8>, Fault> {
    let bytes = field.and_then(Dlist::as_bytes);
    Ok(bytes.ok_or_else(|| expected("a string"))?.to_vec())
}

fn nstring(string: Option<&[u8]>) -> Dlist<'_> {
    string.map_or(Dlist::Nil, Dlist::atom)
}

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(row) = MessageIdRow::parse(data) {
        assert_eq!(MessageIdRow::parse(&row.to_bytes()).as_ref(), Ok(&row));
    }
    if let Ok(row) = FolderStatus::parse(data) {
        assert_eq!(FolderStatus::parse(&row.to_bytes()).as_ref(), Ok(&row));
    }
    if let Ok(row) = EmailQuota::parse(data) {
        assert_eq!(EmailQuota::parse(&row.to_bytes()).as_ref(), Ok(&row));
    }
    if let Ok(row) = GuidRow::parse(data)
        && row.flags.is_some()
    {
        assert_eq!(GuidRow::parse(&row.to_bytes(false)).as_ref(), Ok(&row));
    }
    if let Some(key) = GuidKey::parse(data) {
        assert_eq!(GuidKey::parse(&key.to_bytes()).as_ref(), Some(&key));
    }
    if let Ok(list) = parse_folders(data) {
        assert_eq!(parse_folders(&folders_to_bytes(&list)), Ok(list));
    }
    if let Ok(conversation) = Conversation::parse(data) {
        // What has nothing is not written.
        let written = conversation.to_bytes();
        let again = Conversation::parse(&written).expect("what was written can be read");
        assert_eq!(again.to_bytes(), written, "what was written reads back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows that Cyrus 3.6.1 wrote.
    const CONVERSATION: &[u8] = b"1 (24 3 3 1 (2 0 0 0 0) ((0 24 3 3 1) (2 7 1 0 0)) ((\"A B\" NIL a b.example 1704067200 3)) Dr 360 ((3d7a0812e405bb42843a45d96aa191798d71fe18 1 1795555621) (6aba22cf7bfb85de4d0a76b8f6fee5f2f67e71c1 1 1795555621)) 22)";

    #[test]
    fn a_conversation_of_cyrus_reads_and_is_written_the_same() {
        let read = Conversation::parse(CONVERSATION).unwrap();
        assert_eq!(
            (read.modseq, read.num_records, read.exists, read.unseen),
            (24, 3, 3, 1)
        );
        assert_eq!(read.counts, [2, 0, 0, 0, 0]);
        assert_eq!(read.folders[1].number, 2);
        assert_eq!(read.senders[0].name.as_deref(), Some(&b"A B"[..]));
        assert_eq!(read.subject.as_deref(), Some(&b"Dr"[..]));
        assert_eq!((read.size, read.createdmodseq, read.thread.len()), (360, 22, 2));
        assert_eq!(read.to_bytes(), CONVERSATION);
    }

    #[test]
    fn a_draft_has_no_subject_and_an_empty_one_is_a_subject() {
        let draft = b"1 (22 1 1 0 (1) ((0 22 1 1 0)) () NIL 104 () 22)";
        let empty = b"1 (22 1 1 0 () ((0 22 1 1 0)) () \"\" 104 () 22)";
        assert_eq!(Conversation::parse(draft).unwrap().subject, None);
        assert_eq!(
            Conversation::parse(empty).unwrap().subject.as_deref(),
            Some(&b""[..])
        );
        for value in [&draft[..], empty] {
            assert_eq!(Conversation::parse(value).unwrap().to_bytes(), value);
        }
    }

    #[test]
    fn the_other_rows_of_cyrus_read_and_are_written_the_same() {
        let id = b"0 4129db455222eb10,09a714c89267d2a8 1795555304";
        let read = MessageIdRow::parse(id).unwrap();
        assert_eq!(read.cids, [0x4129_db45_5222_eb10, 0x09a7_14c8_9267_d2a8]);
        assert_eq!(read.to_bytes(), id);
        let status = b"0 (23 5 3 4 2)";
        assert_eq!(FolderStatus::parse(status).unwrap().to_bytes(), status);
        let quota = b"1 %(E 5 S 476)";
        assert_eq!(EmailQuota::parse(quota).unwrap().to_bytes(), quota);
        let folders = b"(hq97bl1p4v0rb1ghc55fumqx - htw7ykvopl6164i41ycge7t4)";
        assert_eq!(folders_to_bytes(&parse_folders(folders).unwrap()), folders);
        let key = b"G609e8b74e82a05c50ab871f85479d7445b2b1f81:0:18[1.2]";
        let read = GuidKey::parse(key).unwrap();
        assert_eq!(
            (read.folder, read.uid, read.part.as_deref()),
            (0, 18, Some("1.2"))
        );
        assert_eq!(read.to_bytes(), key);
        let row = [
            0x82, 0x59, 0x4b, 0x4e, 0xb0, 0xe3, 0x39, 0x3b, 0xc3, 0, 0, 0, 0x14, 0x80, 0, 0, 0, 0, 0, 0, 0,
            0x6b, 0x06, 0x01, 0x57,
        ];
        let read = GuidRow::parse(&row).unwrap();
        assert_eq!((read.cid, read.flags), (0x594b_4eb0_e339_3bc3, Some(0x8000_0014)));
        assert_eq!(read.to_bytes(false), row);
    }

    #[test]
    fn rows_of_later_versions_are_refused() {
        assert!(Conversation::parse(b"2 (1 1 1 1 () () () a 1 () 1)").is_err());
        assert!(MessageIdRow::parse(b"1 4129db455222eb10 1").is_err());
        assert!(FolderStatus::parse(b"1 (1 1 1)").is_err());
        assert!(GuidRow::parse(&[0x83; 33]).is_err());
    }

    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..40)
    }

    prop_compose! {
        fn any_sender()(name in prop::option::of(any_text()), mailbox in any_text(), domain in any_text(), lastseen: u32, exists in 1u32..9) -> Sender {
            Sender { name, route: None, mailbox, domain, lastseen, exists }
        }
    }

    prop_compose! {
        fn any_conversation()(
            modseq: u64, num_records: u32, exists: u32, unseen: u32, size: u32, createdmodseq: u64,
            counts in prop::collection::vec(any::<u32>(), 0..5),
            folders in prop::collection::vec((any::<u32>(), any::<u64>(), 1u32.., any::<u32>(), any::<u32>()), 0..4),
            senders in prop::collection::vec(any_sender(), 0..4),
            subject in prop::option::of(any_text()),
            thread in prop::collection::vec((any::<[u8; 20]>(), 1u32.., any::<u64>()), 0..4),
        ) -> Conversation {
            Conversation {
                version: 1, modseq, num_records, exists, unseen, counts, senders, subject, size, createdmodseq,
                folders: folders.into_iter().map(|(number, modseq, num_records, exists, unseen)| {
                    ConversationFolder { number, modseq, num_records, exists, unseen }
                }).collect(),
                thread: thread.into_iter().map(|(guid, exists, internaldate)| {
                    ThreadItem { guid: Guid(guid), exists, internaldate }
                }).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn conversations_round_trip(conversation in any_conversation()) {
            prop_assert_eq!(Conversation::parse(&conversation.to_bytes()), Ok(conversation));
        }

        #[test]
        fn guid_rows_round_trip(cid: u64, flags: u32, internaldate: u64, by_name: bool) {
            let row = GuidRow { cid, flags: Some(flags), internaldate };
            prop_assert_eq!(GuidRow::parse(&row.to_bytes(by_name)), Ok(row));
        }

        #[test]
        fn guid_keys_round_trip(guid: [u8; 20], folder: u32, uid: u32, part in prop::option::of("[1-9](\\.[1-9]){0,3}")) {
            let key = GuidKey { guid: Guid(guid), folder, uid, part };
            prop_assert_eq!(GuidKey::parse(&key.to_bytes()), Some(key));
        }

        #[test]
        fn noise_does_no_harm(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&data);
        }
    }
}
