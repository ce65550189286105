//! What is known about an option of imapd.conf: its type, its default and the capability that reads it.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::options::{OPTIONS, Opt};

/// One row of the table: what an option is called, what it holds and where it counts.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The option.
    pub id: Opt,
    /// Its name in imapd.conf, in lower case.
    pub name: &'static str,
    /// Its type, with the default.
    pub kind: Kind,
    /// The capability that reads it.
    pub area: Area,
    /// The release of Cyrus that last changed its meaning or default.
    pub changed: (u8, u8, u8),
    /// Set when the option is on its way out.
    pub deprecated: Option<Deprecated>,
}

/// Since when an option is deprecated, and what took its place.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated {
    /// The release that deprecated it.
    pub since: &'static str,
    /// The option that took over, if any did.
    pub successor: Option<Opt>,
}

/// The type of an option, with its default.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// STRING.
    Text(Option<&'static str>),
    /// SWITCH.
    Switch(bool),
    /// INT.
    Int(i64),
    /// An INT that counts octets or KiB; a suffix K, M or G is understood too (BYTESIZE of later releases).
    Bytes(i64, ByteUnit),
    /// DURATION, with the unit of a bare number.
    Time(Option<&'static str>, TimeUnit),
    /// ENUM: the place of the default among the words.
    Choice(u8, &'static [&'static str]),
    /// STRINGLIST: one word out of several.
    Word(Option<&'static str>, &'static [&'static str]),
    /// BITFIELD: any number of the words. Of two words with one bit the first is the proper one.
    Bits(u64, &'static [(&'static str, u64)]),
}

/// What a bare number counts in an option that is a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteUnit {
    /// Octets.
    Octets,
    /// Units of 1,024 octets.
    KiB,
}

/// What a bare number counts in an option that is a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Days of 24 hours.
    Days,
}

impl TimeUnit {
    /// Its length in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Days => 86_400,
        }
    }
}

macro_rules! areas {
    ($($id:ident $built:literal $text:literal;)*) => {
        /// The capability an option belongs to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Area {
            $(#[doc = concat!("Options of ", $text, ".")] $id,)*
        }

        impl Area {
            /// Whether this build has the capability. Setting an option of one that it lacks is reported.
            pub const fn is_built(self) -> bool {
                match self { $(Self::$id => $built,)* }
            }

            /// What the capability is called in messages.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $text,)* }
            }
        }
    };
}

areas! {
    Acl true "access control";
    Annotations true "annotation definitions and callouts";
    Archive true "archive partitions";
    Autocreate true "automatic creation of mailboxes";
    Backup false "backups";
    Conversations true "conversations";
    Dav false "the HTTP server";
    Deny true "the list of denied users";
    Events false "event notifications";
    Imap true "IMAP";
    Jmap false "JMAP";
    Ldap false "LDAP look-ups";
    Lmtp true "LMTP";
    Login true "login";
    Logs true "logging";
    Master true "master";
    Metrics false "Prometheus metrics";
    Murder false "the Murder";
    Network false "socket tuning";
    News false "NNTP";
    Notification false "new-mail notification";
    ObjectStorage false "object storage";
    Pop3 false "POP3";
    Pts true "ptloader groups";
    Quota true "quotas";
    Replication false "replication";
    ReverseAcls true "reverse ACLs";
    Search true "search indexes";
    Sending false "outgoing mail";
    Sieve false "Sieve";
    Sql false "SQL databases";
    StatusCache true "the status cache";
    Store true "the mail store";
    Submission false "URLAUTH and mail submission";
    Tls true "TLS";
    VirtualDomains true "virtual domains";
    VirusScan false "virus scanning";
}

/// Options of capabilities that this build has, which nothing here obeys yet. Setting one is reported.
pub(crate) const NOT_OBEYED: &[Opt] = &[
    // These are for ptloader itself, which is Cyrus's.
    Opt::AfsptsLocalrealms,
    Opt::AfsptsMycell,
    Opt::PtsModule,
    Opt::Ptskrb5Convert524,
    Opt::Ptskrb5StripDefaultRealm,
    Opt::AnnotationCallout,
    Opt::AnnotationCalloutDisableAppend,
    Opt::Allowdeleted,
    Opt::Auditlog,
    Opt::AutocreateSieveCompiledScript,
    Opt::AutocreateSieveFolders,
    Opt::AutocreateSieveScript,
    Opt::AutocreateSieveScriptCompile,
    Opt::AutocreateSieveScriptCompiled,
    Opt::Autosievefolders,
    Opt::GenerateCompiledSieveScript,
    Opt::BoundaryLimit,
    Opt::DebugWritefailGuid,
    Opt::Imapmagicplus,
    Opt::ImprovedMboxlistSort,
    Opt::Iolog,
    Opt::Maxheaderlines,
    Opt::Notesmailbox,
    Opt::Rfc2046Strict,
    Opt::Rfc2047Utf8,
    Opt::SearchAttachmentExtractorUrl,
    Opt::SearchIndexLanguage,
    Opt::SearchIndexedDb,
    Opt::SearchNormalisationMax,
    Opt::SearchQueryscan,
    Opt::SearchSnippetLength,
    Opt::SearchStopwordPath,
    Opt::SkiplistUnsafe,
    Opt::SortcacheDb,
];

/// Options whose wish is always fulfilled, whatever they say; nothing has to read them.
#[cfg(test)]
pub(crate) const ALWAYS_SO: &[Opt] = &[
    // Messages are parsed before anything is locked.
    Opt::LmtpPreparse,
    // Transcripts carry times, as those of Cyrus 3.6 do with and without the option.
    Opt::Logtimestamps,
    // The room on each partition is looked up for every choice, and so never out of date.
    Opt::PartitionSelectUsageReinit,
    // Recovery of a skiplist file is a checkpoint.
    Opt::SkiplistAlwaysCheckpoint,
    // There are no temporary files outside the spool.
    Opt::TempPath,
];

impl Opt {
    /// Whether this build does what the option says.
    pub fn is_obeyed(self) -> bool {
        self.spec().area.is_built() && !NOT_OBEYED.contains(&self)
    }

    /// The row of this option.
    pub fn spec(self) -> &'static OptionSpec {
        &OPTIONS[self as usize]
    }

    /// Its name in imapd.conf.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The option called `name`, in any case.
    pub fn named(name: &str) -> Option<Self> {
        static BY_NAME: LazyLock<HashMap<&'static str, Opt>> =
            LazyLock::new(|| OPTIONS.iter().map(|spec| (spec.name, spec.id)).collect());
        BY_NAME.get(name.to_ascii_lowercase().as_str()).copied()
    }
}

/// The release number of options that carry none.
pub const UNRELEASED: (u8, u8, u8) = (255, 255, 255);

/// The release number of options that came after 3.6, which listings of its options leave out.
pub(super) const LATER: (u8, u8, u8) = (3, 8, 0);

/// The release number of options that are this server's own, which listings of Cyrus's options leave out, too.
pub(super) const OWN: (u8, u8, u8) = (0, 1, 0);
