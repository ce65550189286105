//! Responses: the one place that knows how a reply is spelt (RFC 3501, section 7).
//!
//! Everything is appended to byte buffers; bodies go to an [`Output`](crate::output::Output) as slices, by whoever has them.

use std::fmt;

use super::command::{EventSet, Tag};

pub use self::data::*;
pub use self::fetch::FetchLine;
pub use self::lex::{
    put_astring, put_literal, put_literal8, put_mailbox, put_nstring, put_number, put_string,
};
pub use self::search::{EsearchLine, SearchedMailbox, put_comparator, put_sort, put_thread};

mod binary;
mod data;
mod fetch;
mod lex;
mod search;

/// The condition of a status response (RFC 3501, section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It went well.
    Ok,
    /// It could not be done.
    No,
    /// It could not be understood.
    Bad,
    /// The connection ends.
    Bye,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
        }
    }
}

/// The code in brackets that tells programs what the text tells people (RFC 3501, section 7.1; RFC 5530).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The user must see the text.
    Alert,
    /// Where the appended messages went: UIDVALIDITY and UIDs (RFC 4315).
    AppendUid(u32, String),
    /// Credentials were wrong (RFC 5530).
    AuthenticationFailed,
    /// An event of NOTIFY is not known; these are (RFC 5465).
    BadEvent,
    /// No collation matches (RFC 5255).
    BadComparator,
    /// A URL of CATENATE cannot be used (RFC 4469).
    BadUrl(String),
    /// The charset of a SEARCH is not known; these are.
    BadCharset(&'static [&'static str]),
    /// What the server can do.
    Capability(String),
    /// What can never succeed here (RFC 5530).
    Cannot,
    /// An annotation of a message cannot be stored: `TOOBIG` or `TOOMANY` (RFC 5257).
    Annotate(&'static str),
    /// The most octets of an annotation of a message (RFC 5257).
    Annotations(usize),
    /// Something compresses the connection already (RFC 4978).
    CompressionActive,
    /// An earlier mailbox is no longer selected (RFC 7162).
    Closed,
    /// Where copies went: UIDVALIDITY, UIDs here, UIDs there (RFC 4315).
    CopyUid(u32, String, String),
    /// The client does what it should not (RFC 5530).
    ClientBug,
    /// Messages are gone that the command named (RFC 5530).
    ExpungeIssued,
    /// The mailbox has children (RFC 9051).
    HasChildren,
    /// The highest modification sequence (RFC 7162).
    HighestModSeq(u64),
    /// How far a command is: its tag, and how much of how much is done (RFC 9585).
    InProgress(String, u32, u32),
    /// More was asked for than the server does at once (RFC 5530).
    Limit,
    /// The mailbox's unique id (RFC 8474).
    MailboxId(String),
    /// A command worked on so many messages, down to this UID, or on none (RFC 9738).
    MessageLimit(u32, Option<u32>),
    /// What became of metadata: `LONGENTRIES n`, `MAXSIZE n`, `TOOMANY` or `NOPRIVATE` (RFC 5464).
    Metadata(String),
    /// Messages that a conditional STORE left alone, ready to print (RFC 7162).
    Modified(String),
    /// The mailbox keeps no modification sequences (RFC 7162).
    NoModSeq,
    /// There are more notifications than the server gives (RFC 5465).
    NotificationOverflow,
    /// The search of this tag goes on without notifications (RFC 5267).
    NoUpdate(String),
    /// A quota would be exceeded (RFC 5530).
    OverQuota,
    /// The flags that can be changed for good, ready to print.
    PermanentFlags(String),
    /// The mailbox is open for reading only.
    ReadOnly,
    /// The mailbox is open for reading and writing.
    ReadWrite,
    /// Where else to look: URLs (RFC 2193, RFC 2221).
    Referral(String),
    /// Something the client sent is too big (RFC 4469).
    TooBig,
    /// A number of something is too low (RFC 10022).
    TooFew,
    /// CREATE first.
    TryCreate,
    /// No such filter is kept (RFC 5466).
    UndefinedFilter(String),
    /// The next UID.
    UidNext(u32),
    /// Message numbers were switched off (RFC 9586).
    UidRequired,
    /// The UIDVALIDITY.
    UidValidity(u32),
    /// Something the server needs is out of order; try later (RFC 5530).
    Unavailable,
    /// A part's content transfer encoding is not known (RFC 3516).
    UnknownCte,
    /// A special use that the new mailbox cannot have (RFC 6154).
    UseAttr,
    /// The first message not seen.
    Unseen(u32),
    /// How URLs can be authorized (RFC 4467).
    UrlMech(&'static str),
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert => f.write_str("ALERT"),
            Self::Annotate(problem) => write!(f, "ANNOTATE {problem}"),
            Self::Annotations(size) => write!(f, "ANNOTATIONS {size}"),
            Self::AppendUid(validity, uids) => write!(f, "APPENDUID {validity} {uids}"),
            Self::AuthenticationFailed => f.write_str("AUTHENTICATIONFAILED"),
            Self::BadEvent => write!(
                f,
                "BADEVENT ({})",
                EventSet::NAMES.map(|(_, name)| name).join(" ")
            ),
            Self::BadComparator => f.write_str("BADCOMPARATOR"),
            Self::BadUrl(url) => write!(f, "BADURL {url}"),
            Self::BadCharset(charsets) => write!(f, "BADCHARSET ({})", charsets.join(" ")),
            Self::Capability(list) => write!(f, "CAPABILITY {list}"),
            Self::Cannot => f.write_str("CANNOT"),
            Self::ClientBug => f.write_str("CLIENTBUG"),
            Self::CompressionActive => f.write_str("COMPRESSIONACTIVE"),
            Self::Closed => f.write_str("CLOSED"),
            Self::CopyUid(validity, from, to) => write!(f, "COPYUID {validity} {from} {to}"),
            Self::ExpungeIssued => f.write_str("EXPUNGEISSUED"),
            Self::HasChildren => f.write_str("HASCHILDREN"),
            Self::HighestModSeq(modseq) => write!(f, "HIGHESTMODSEQ {modseq}"),
            Self::InProgress(tag, done, goal) => write!(f, "INPROGRESS (\"{tag}\" {done} {goal})"),
            Self::Limit => f.write_str("LIMIT"),
            Self::MailboxId(id) => write!(f, "MAILBOXID ({id})"),
            Self::MessageLimit(limit, None) => write!(f, "MESSAGELIMIT {limit}"),
            Self::MessageLimit(limit, Some(lowest)) => write!(f, "MESSAGELIMIT {limit} {lowest}"),
            Self::Metadata(what) => write!(f, "METADATA {what}"),
            Self::Modified(set) => write!(f, "MODIFIED {set}"),
            Self::NoModSeq => f.write_str("NOMODSEQ"),
            Self::NotificationOverflow => f.write_str("NOTIFICATIONOVERFLOW"),
            Self::NoUpdate(tag) => write!(f, "NOUPDATE \"{tag}\""),
            Self::OverQuota => f.write_str("OVERQUOTA"),
            Self::PermanentFlags(flags) => write!(f, "PERMANENTFLAGS ({flags})"),
            Self::ReadOnly => f.write_str("READ-ONLY"),
            Self::ReadWrite => f.write_str("READ-WRITE"),
            Self::Referral(urls) => write!(f, "REFERRAL {urls}"),
            Self::TooBig => f.write_str("TOOBIG"),
            Self::TooFew => f.write_str("TOOFEW"),
            Self::TryCreate => f.write_str("TRYCREATE"),
            Self::UndefinedFilter(name) => write!(f, "UNDEFINED-FILTER {name}"),
            Self::UidNext(uid) => write!(f, "UIDNEXT {uid}"),
            Self::UidRequired => f.write_str("UIDREQUIRED"),
            Self::UidValidity(validity) => write!(f, "UIDVALIDITY {validity}"),
            Self::UseAttr => f.write_str("USEATTR"),
            Self::Unavailable => f.write_str("UNAVAILABLE"),
            Self::UnknownCte => f.write_str("UNKNOWN-CTE"),
            Self::UrlMech(mechanism) => write!(f, "URLMECH {mechanism}"),
            Self::Unseen(seqno) => write!(f, "UNSEEN {seqno}"),
        }
    }
}

/// A status response, tagged or not, without its tag: how a command ended, mostly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The condition.
    pub status: Status,
    /// The code, if there is one.
    pub code: Option<Code>,
    /// The text for people; one line.
    pub text: String,
}

impl Reply {
    /// The reply with this code, unless it has one already.
    #[must_use]
    pub fn or_code(self, code: Code) -> Self {
        match self.code {
            None => self.with(code),
            Some(_) => self,
        }
    }

    /// `OK text`
    pub fn ok(text: impl Into<String>) -> Self {
        Self::new(Status::Ok, text)
    }

    /// `NO text`
    pub fn no(text: impl Into<String>) -> Self {
        Self::new(Status::No, text)
    }

    /// `BAD text`
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(Status::Bad, text)
    }

    /// `BYE text`
    pub fn bye(text: impl Into<String>) -> Self {
        Self::new(Status::Bye, text)
    }

    fn new(status: Status, text: impl Into<String>) -> Self {
        Self {
            status,
            code: None,
            text: text.into(),
        }
    }

    /// The same with `code`.
    #[must_use]
    pub fn with(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// Appends `tag OK [code] text`.
    pub fn put_tagged(&self, out: &mut Vec<u8>, tag: &Tag) {
        out.extend_from_slice(tag.as_bytes());
        self.put(out);
    }

    /// Appends `* OK [code] text`.
    pub fn put_untagged(&self, out: &mut Vec<u8>) {
        out.push(b'*');
        self.put(out);
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        out.extend_from_slice(self.status.name().as_bytes());
        if let Some(code) = &self.code {
            out.extend_from_slice(format!(" [{code}]").as_bytes());
        }
        out.push(b' ');
        if self.text.is_empty() {
            out.extend_from_slice(b"Ok"); // resp-text needs at least one octet
        }
        // Whatever a text was made of, it cannot break the line.
        out.extend(self.text.bytes().filter(|&c| c >= b' ' && c != 0x7f));
        out.extend_from_slice(b"\r\n");
    }
}

/// `+ text`: go on (RFC 3501, section 7.5).
pub fn put_continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// UIDs as the `uid-set` of APPENDUID and COPYUID: in the order given, runs of neighbours as ranges.
pub fn uid_set(uids: impl IntoIterator<Item = u32>) -> String {
    let mut text = String::new();
    let mut run: Option<(u32, u32)> = None;
    let flush = |text: &mut String, run: Option<(u32, u32)>| {
        if let Some((first, last)) = run {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&first.to_string());
            if last > first {
                text.push_str(&format!(":{last}"));
            }
        }
    };
    for uid in uids {
        match &mut run {
            Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
            _ => {
                flush(&mut text, run);
                run = Some((uid, uid));
            }
        }
    }
    flush(&mut text, run);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_never_breaks_the_line() {
        let mut out = Vec::new();
        Reply::no("a\r\nb OK done").put_untagged(&mut out);
        Reply::ok("")
            .with(Code::Closed)
            .put_tagged(&mut out, &Tag::new(b"x").unwrap());
        assert_eq!(out, b"* NO ab OK done\r\nx OK [CLOSED] Ok\r\n");
    }

    #[test]
    fn uid_sets_keep_their_order() {
        assert_eq!(uid_set([3, 4, 5, 9, 7, 8]), "3:5,9,7:8");
        assert_eq!(uid_set([u32::MAX]), "4294967295");
    }
}
