//! Which annotations there are: those of Cyrus, and those that a site adds in the file of `annotation_definitions`.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use cyrus_acl::{DeleteRight, Rights};

use super::Audience;
use super::computed::Computed;
use crate::format::index::options;

/// What the annotation of a definition belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinedScope {
    /// The server.
    Server,
    /// A mailbox.
    Mailbox,
    /// A message.
    Message,
}

/// What values of an annotation look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Any octets.
    String,
    /// `true` or `false`, in any case; kept in small letters.
    Boolean,
    /// An integer.
    Int,
    /// An integer that is not negative.
    Uint,
    /// A word that switches something, as in imapd.conf.
    Switch,
}

/// One annotation that there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The entry, such as `/comment`.
    pub entry: Cow<'static, str>,
    /// What it belongs to.
    pub scope: DefinedScope,
    /// What its values look like.
    pub value: ValueType,
    /// Whether everybody's value can be set.
    pub shared: bool,
    /// Whether private values can be set.
    pub private: bool,
    /// Rights that setting it needs beside the usual ones.
    pub extra_rights: Rights,
    /// Where its value is.
    pub(crate) kept: Kept,
}

/// Where the value of an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In a database, as annotations are.
    Stored,
    /// In a database, too: the special uses of a mailbox.
    SpecialUse,
    /// In a bit of the index header.
    Option(u32),
    /// In the index header: before when POP3 sees nothing.
    Pop3ShowAfter,
    /// In a file for all users, below `msg` in the configuration directory.
    File(&'static str),
    /// Nowhere: it says what is known otherwise. Everybody's value, or for some each user's own.
    Computed(Computed),
}

impl Definition {
    /// Whether anybody could have such a value: what is not kept as an annotation has but one audience.
    pub(crate) fn has(&self, audience: Audience) -> bool {
        match self.kept {
            Kept::Stored | Kept::SpecialUse => true,
            Kept::Computed(computed) => computed.audience() == audience,
            Kept::Option(_) | Kept::Pop3ShowAfter | Kept::File(_) => audience == Audience::Shared,
        }
    }

    /// Whether values for this audience can be set.
    pub(crate) fn may_set(&self, audience: Audience) -> bool {
        match audience {
            Audience::Shared => self.shared,
            Audience::Private => self.private,
        }
    }

    /// The value in the form in which it is kept; `None` if it cannot be a value of this annotation.
    pub(crate) fn checked(&self, value: &[u8]) -> Option<Vec<u8>> {
        let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let fits = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.parse::<u64>().is_ok());
        match self.value {
            ValueType::String => Some(value.to_vec()),
            ValueType::Boolean => {
                let known = [&b"true"[..], b"false"];
                let small = value.to_ascii_lowercase();
                known.contains(&small.as_slice()).then_some(small)
            }
            ValueType::Int => {
                let digits = value.strip_prefix(b"-").unwrap_or(value);
                (number(digits) && fits(digits)).then(|| value.to_vec())
            }
            ValueType::Uint => (number(value) && fits(value)).then(|| value.to_vec()),
            ValueType::Switch => SWITCHES
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word))
                .then(|| value.to_vec()),
        }
    }
}

const SWITCHES: [&[u8]; 10] = [
    b"on", b"off", b"true", b"false", b"yes", b"no", b"1", b"0", b"t", b"f",
];

/// All annotations that there may be, in the order in which they are listed.
#[derive(Clone, Debug)]
pub struct Definitions {
    all: Arc<[Definition]>,
    /// `annotation_allow_undefined`: others can be set, too.
    pub allow_undefined: bool,
}

impl Default for Definitions {
    fn default() -> Self {
        Self {
            all: BUILT_IN.clone(),
            allow_undefined: false,
        }
    }
}

impl Definitions {
    /// The largest file of definitions.
    const MAX_LINES: usize = 10_000;

    /// Those of Cyrus and those of a file of `annotation_definitions`.
    ///
    /// A line is `name, scope, attrib-type, proxy-type, attrib-names, extra-permissions`; lines that cannot be used are
    /// left out, and `complain` is told.
    pub fn with_file(text: &str, complain: &mut dyn FnMut(String)) -> Self {
        let mut all: Vec<Definition> = Vec::new();
        for (number, line) in text.lines().take(Self::MAX_LINES).enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match definition(line) {
                Ok(definition) => all.push(definition),
                Err(why) => complain(format!("line {}: {why}: {line:?}", number + 1)),
            }
        }
        all.reverse();
        all.extend(BUILT_IN.iter().cloned());
        Self {
            all: all.into(),
            allow_undefined: false,
        }
    }

    /// The definitions of a scope, in the order in which they are listed.
    pub(crate) fn of(&self, scope: DefinedScope) -> impl Iterator<Item = &Definition> {
        self.all
            .iter()
            .filter(move |definition| definition.scope == scope)
    }

    /// The definition of an entry, one for any text if everything may be set.
    pub(crate) fn find(&self, scope: DefinedScope, entry: &str) -> Option<Cow<'_, Definition>> {
        let known = self.of(scope).find(|definition| definition.entry == entry);
        match known {
            Some(known) => Some(Cow::Borrowed(known)),
            None if self.allow_undefined || is_filter(scope, entry) => Some(Cow::Owned(Definition {
                entry: Cow::Owned(entry.to_owned()),
                ..stored("", scope)
            })),
            None => None,
        }
    }
}

/// Whether an entry keeps a search program under a name (RFC 5466, section 3.1): every user may, whatever else is defined.
fn is_filter(scope: DefinedScope, entry: &str) -> bool {
    let name = entry.strip_prefix("/filters/values/");
    scope == DefinedScope::Server && name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// Reads one line of a file of definitions.
fn definition(line: &str) -> Result<Definition, String> {
    let mut fields = line.split(',').map(str::trim);
    let mut field = || fields.next().unwrap_or_default();
    let (entry, scope, kind, proxy, attributes, rights) =
        (field(), field(), field(), field(), field(), field());
    if !entry.starts_with('/') || entry.len() < 2 || entry.ends_with('/') {
        return Err("invalid annotation entry".to_owned());
    }
    if entry.starts_with(OWN_PREFIX) {
        return Err(format!("annotation under {OWN_PREFIX}"));
    }
    let scope = match scope {
        "server" => DefinedScope::Server,
        "mailbox" => DefinedScope::Mailbox,
        "message" => DefinedScope::Message,
        _ => return Err("invalid annotation scope".to_owned()),
    };
    let value = match kind {
        "string" | "content-type" => ValueType::String,
        "boolean" => ValueType::Boolean,
        "int" => ValueType::Int,
        "uint" => ValueType::Uint,
        _ => return Err("invalid annotation type".to_owned()),
    };
    if !matches!(proxy, "backend" | "proxy" | "proxy_and_backend") {
        return Err("invalid annotation proxy type".to_owned());
    }
    let mut definition = Definition {
        entry: Cow::Owned(entry.to_owned()),
        value,
        shared: false,
        private: false,
        extra_rights: Rights::parse(rights, DeleteRight::default()).map_err(|error| error.to_string())?,
        ..stored("", scope)
    };
    for attribute in attributes.split_ascii_whitespace() {
        match attribute {
            "value" => (definition.shared, definition.private) = (true, true),
            "value.shared" => definition.shared = true,
            "value.priv" => definition.private = true,
            // Sizes come with values, and what old drafts had besides is ignored.
            "size" | "size.shared" | "size.priv" => {}
            _ if attribute.starts_with("content-type") || attribute.starts_with("modifiedsince") => {}
            _ => return Err("invalid annotation attributes".to_owned()),
        }
    }
    if !definition.shared && !definition.private {
        return Err("invalid annotation attributes".to_owned());
    }
    Ok(definition)
}

/// Annotations whose names begin so are this program's own.
const OWN_PREFIX: &str = "/vendor/cmu/cyrus-imapd/";

/// An annotation of any text, for all and for each.
fn stored(entry: &'static str, scope: DefinedScope) -> Definition {
    Definition {
        entry: Cow::Borrowed(entry),
        scope,
        value: ValueType::String,
        shared: true,
        private: true,
        extra_rights: Rights::NONE,
        kept: Kept::Stored,
    }
}

/// One that is for all, and set by those who administer the mailbox.
fn administered(entry: &'static str, value: ValueType) -> Definition {
    Definition {
        value,
        private: false,
        extra_rights: Rights::ADMIN,
        ..stored(entry, DefinedScope::Mailbox)
    }
}

/// One that nobody sets.
fn computed(entry: &'static str, scope: DefinedScope, computed: Computed) -> Definition {
    Definition {
        shared: false,
        private: false,
        kept: Kept::Computed(computed),
        ..stored(entry, scope)
    }
}

/// One that is for all, and kept elsewhere.
fn elsewhere(entry: &'static str, scope: DefinedScope, value: ValueType, kept: Kept) -> Definition {
    Definition {
        value,
        private: false,
        kept,
        ..stored(entry, scope)
    }
}

fn of_value(value: ValueType, definition: Definition) -> Definition {
    Definition { value, ..definition }
}

fn shared_only(definition: Definition) -> Definition {
    Definition {
        private: false,
        ..definition
    }
}

fn private_only(definition: Definition) -> Definition {
    Definition {
        shared: false,
        ..definition
    }
}

static BUILT_IN: LazyLock<Arc<[Definition]>> = LazyLock::new(|| {
    use DefinedScope::{Mailbox, Message, Server};
    use ValueType::{Boolean, String, Switch, Uint};
    let option = |entry, bit| elsewhere(entry, Mailbox, Boolean, Kept::Option(bit));
    Arc::new([
        computed(UNIQUE_ID, Mailbox, Computed::UniqueId),
        computed("/vendor/cmu/cyrus-imapd/synccrcs", Mailbox, Computed::SyncCrcs),
        administered("/vendor/cmu/cyrus-imapd/squat", Boolean),
        private_only(of_value(
            Uint,
            stored("/vendor/cmu/cyrus-imapd/sortorder", Mailbox),
        )),
        computed("/vendor/cmu/cyrus-imapd/size", Mailbox, Computed::Size),
        administered("/vendor/cmu/cyrus-imapd/sieve", String),
        option("/vendor/cmu/cyrus-imapd/sharedseen", options::SHAREDSEEN),
        administered("/vendor/cmu/cyrus-imapd/search-fuzzy-always", Switch),
        elsewhere(
            "/vendor/cmu/cyrus-imapd/pop3showafter",
            Mailbox,
            String,
            Kept::Pop3ShowAfter,
        ),
        option("/vendor/cmu/cyrus-imapd/pop3newuidl", options::POP3_NEW_UIDL),
        computed("/vendor/cmu/cyrus-imapd/partition", Mailbox, Computed::Partition),
        administered("/vendor/cmu/cyrus-imapd/news2mail", String),
        computed(
            "/vendor/cmu/cyrus-imapd/lastupdate",
            Mailbox,
            Computed::LastUpdate,
        ),
        computed(
            "/vendor/cmu/cyrus-imapd/foldermodseq",
            Mailbox,
            Computed::FolderModSeq,
        ),
        computed("/vendor/cmu/cyrus-imapd/hasalarms", Mailbox, Computed::HasAlarms),
        computed("/vendor/cmu/cyrus-imapd/lastpop", Mailbox, Computed::LastPop),
        administered("/vendor/cmu/cyrus-imapd/expire", Uint),
        option("/vendor/cmu/cyrus-imapd/duplicatedeliver", options::DUPDELIVER),
        administered("/vendor/cmu/cyrus-imapd/delete", Uint),
        administered("/vendor/cmu/cyrus-imapd/archive", Uint),
        computed(
            "/vendor/cmu/cyrus-imapd/annotsize",
            Mailbox,
            Computed::AnnotationSize,
        ),
        stored("/thread", Mailbox),
        Definition {
            kept: Kept::SpecialUse,
            ..private_only(stored(SPECIAL_USE, Mailbox))
        },
        stored("/sort", Mailbox),
        stored("/comment", Mailbox),
        of_value(Uint, stored("/checkperiod", Mailbox)),
        of_value(Boolean, stored("/check", Mailbox)),
        shared_only(of_value(Boolean, stored("/vendor/cmu/cyrus-imapd/squat", Server))),
        elsewhere(
            "/vendor/cmu/cyrus-imapd/shutdown",
            Server,
            String,
            Kept::File("shutdown"),
        ),
        computed(
            "/vendor/cmu/cyrus-imapd/freespace/percent/most",
            Server,
            Computed::FreeSpaceMost,
        ),
        computed(
            "/vendor/cmu/cyrus-imapd/freespace/total",
            Server,
            Computed::FreeSpaceTotal,
        ),
        computed("/vendor/cmu/cyrus-imapd/freespace", Server, Computed::FreeSpace),
        shared_only(of_value(Uint, stored("/vendor/cmu/cyrus-imapd/expire", Server))),
        computed(
            "/vendor/cmu/cyrus-imapd/usercounters",
            Server,
            Computed::UserCounters,
        ),
        computed("/vendor/cmu/cyrus-imapd/usermodseq", Server, Computed::UserModSeq),
        elsewhere("/motd", Server, String, Kept::File("motd")),
        stored("/comment", Server),
        shared_only(stored("/admin", Server)),
        shared_only(stored("/vendor/cmu/cyrus-imapd/snoozed", Message)),
        shared_only(stored("/vendor/cmu/cyrus-imapd/snoozed-until", Message)),
        stored("/vendor/cmu/cyrus-imapd/createdmodseq", Message),
        stored("/vendor/cmu/cyrus-imapd/savedate", Message),
        stored("/vendor/cmu/cyrus-imapd/thrid", Message),
        stored("/vendor/cmu/cyrus-imapd/basethrid", Message),
        stored("/comment", Message),
        stored("/altsubject", Message),
    ])
});

/// The entry of special uses (RFC 6154).
pub(crate) const SPECIAL_USE: &str = "/specialuse";
const UNIQUE_ID: &str = "/vendor/cmu/cyrus-imapd/uniqueid";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_definitions_comes_first_and_backwards_and_bad_lines_are_told() {
        let text = "# ours\n\n/vendor/acme/a, mailbox, uint, backend, value.shared, \n\
                    /vendor/acme/b,message,content-type,proxy_and_backend,value size,n\n\
                    /vendor/cmu/cyrus-imapd/x,mailbox,string,backend,value,\n\
                    nothing\n/x,mailbox,float,backend,value,\n/y,mailbox,int,backend,size,\n";
        let mut told = Vec::new();
        let definitions = Definitions::with_file(text, &mut |line| told.push(line));
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].starts_with("line 5: annotation under"));
        let first: Vec<&str> = definitions.all[..3].iter().map(|found| &*found.entry).collect();
        assert_eq!(first, ["/vendor/acme/b", "/vendor/acme/a", UNIQUE_ID]);
        let a = definitions.find(DefinedScope::Mailbox, "/vendor/acme/a").unwrap();
        assert!(a.may_set(Audience::Shared) && !a.may_set(Audience::Private));
        assert_eq!(
            (a.checked(b"12"), a.checked(b"-1"), a.checked(b"")),
            (Some(b"12".to_vec()), None, None)
        );
        let b = definitions.find(DefinedScope::Message, "/vendor/acme/b").unwrap();
        assert!(b.may_set(Audience::Private) && b.extra_rights == Rights::ANNOTATE);
    }

    #[test]
    fn values_are_checked_by_their_type() {
        let of = |value| of_value(value, stored("/x", DefinedScope::Mailbox));
        assert_eq!(of(ValueType::Boolean).checked(b"TRUE"), Some(b"true".to_vec()));
        assert_eq!(of(ValueType::Boolean).checked(b"1"), None);
        assert_eq!(of(ValueType::Int).checked(b"-5"), Some(b"-5".to_vec()));
        assert_eq!(of(ValueType::Int).checked(b"5x"), None);
        assert_eq!(of(ValueType::Uint).checked(b"18446744073709551616"), None);
        assert_eq!(of(ValueType::Switch).checked(b"on"), Some(b"on".to_vec()));
        assert_eq!(of(ValueType::Switch).checked(b"x"), None);
    }

    #[test]
    fn what_is_not_defined_is_a_text_where_everything_is_allowed() {
        let mut definitions = Definitions::default();
        assert!(definitions.find(DefinedScope::Mailbox, "/x").is_none());
        definitions.allow_undefined = true;
        let any = definitions.find(DefinedScope::Mailbox, "/x").unwrap();
        assert!(any.entry == "/x" && any.shared && any.private);
    }
}
