//! The words that options made of words may hold, and the bits of those that hold several.

pub(super) const INDEXED: &[&str] = &["skiplist", "twoskip", "zeroskip"];
pub(super) const INDEXED_SQL: &[&str] = &["skiplist", "sql", "twoskip", "zeroskip"];
pub(super) const ANY_FILE: &[&str] = &["flat", "skiplist", "twoskip", "zeroskip"];
pub(super) const ANY_DB: &[&str] = &["flat", "skiplist", "sql", "twoskip", "zeroskip"];
pub(super) const SCOPE: &[&str] = &["sub", "one", "base"];
pub(super) const SELECT_MODE: &[&str] = &[
    "random",
    "freespace-most",
    "freespace-percent-most",
    "freespace-percent-weighted",
    "freespace-percent-weighted-delta",
];
pub(super) const DIFFSERV: &[&str] = &[
    "cs0", "cs1", "cs2", "cs3", "cs4", "cs5", "cs6", "cs7", "af11", "af12", "af13", "af21", "af22", "af23",
    "af31", "af32", "af33", "af41", "af42", "af43", "ef",
];

pub(super) const CALENDAR_COMPONENT_SET_BITS: &[(&str, u64)] = &[
    ("VEVENT", 0x1),
    ("VTODO", 0x2),
    ("VJOURNAL", 0x4),
    ("VFREEBUSY", 0x8),
    ("VAVAILABILITY", 0x10),
    ("VPOLL", 0x20),
];

pub(super) const EVENT_EXTRA_PARAMS_BITS: &[(&str, u64)] = &[
    ("bodyStructure", 0x1),
    ("clientAddress", 0x2),
    ("diskUsed", 0x4),
    ("flagNames", 0x8),
    ("messageContent", 0x10),
    ("messageSize", 0x20),
    ("messages", 0x40),
    ("modseq", 0x80),
    ("service", 0x100),
    ("timestamp", 0x200),
    ("uidnext", 0x400),
    ("vnd.cmu.midset", 0x800),
    ("vnd.cmu.unseenMessages", 0x1000),
    ("vnd.cmu.envelope", 0x2000),
    ("vnd.cmu.sessionId", 0x4000),
    ("vnd.cmu.mailboxACL", 0x8000),
    ("vnd.cmu.mbtype", 0x10000),
    ("vnd.cmu.davFilename", 0x20000),
    ("vnd.cmu.davUid", 0x40000),
    ("vnd.fastmail.clientId", 0x80000),
    ("vnd.fastmail.sessionId", 0x100000),
    ("vnd.fastmail.convExists", 0x200000),
    ("vnd.fastmail.convUnseen", 0x400000),
    ("vnd.fastmail.cid", 0x800000),
    ("vnd.fastmail.counters", 0x1000000),
    ("vnd.fastmail.jmapEmail", 0x2000000),
    ("vnd.fastmail.jmapStates", 0x4000000),
    ("vnd.cmu.emailid", 0x8000000),
    ("vnd.cmu.threadid", 0x10000000),
];

pub(super) const EVENT_GROUPS_BITS: &[(&str, u64)] = &[
    ("message", 0x1),
    ("quota", 0x2),
    ("flags", 0x4),
    ("access", 0x8),
    ("mailbox", 0x10),
    ("subscription", 0x20),
    ("calendar", 0x40),
    ("applepushservice", 0x80),
];

pub(super) const HTTPMODULES_BITS: &[(&str, u64)] = &[
    ("admin", 0x1),
    ("caldav", 0x2),
    ("carddav", 0x4),
    ("cgi", 0x8),
    ("domainkey", 0x10),
    ("freebusy", 0x20),
    ("ischedule", 0x40),
    ("jmap", 0x80),
    ("prometheus", 0x100),
    ("rss", 0x200),
    ("tzdist", 0x400),
    ("webdav", 0x800),
];

pub(super) const METAPARTITION_FILES_BITS: &[(&str, u64)] = &[
    ("header", 0x1),
    ("index", 0x2),
    ("cache", 0x4),
    ("expunge", 0x8),
    ("squat", 0x10),
    ("annotations", 0x20),
    ("lock", 0x40),
    ("dav", 0x80),
    ("archivecache", 0x100),
];

pub(super) const NEWSADDHEADERS_BITS: &[(&str, u64)] = &[("to", 0x1), ("replyto", 0x2)];

pub(super) const SIEVE_EXTENSIONS_BITS: &[(&str, u64)] = &[
    ("fileinto", 0x1),
    ("reject", 0x2),
    ("vacation", 0x4),
    ("vacation-seconds", 0x8),
    ("notify", 0x10),
    ("include", 0x20),
    ("envelope", 0x40),
    ("environment", 0x80),
    ("body", 0x100),
    ("relational", 0x200),
    ("regex", 0x400),
    ("subaddress", 0x800),
    ("copy", 0x1000),
    ("date", 0x2000),
    ("index", 0x4000),
    ("imap4flags", 0x8000),
    ("imapflags", 0x8000),
    ("mailbox", 0x10000),
    ("mboxmetadata", 0x20000),
    ("servermetadata", 0x40000),
    ("variables", 0x80000),
    ("editheader", 0x100000),
    ("extlists", 0x200000),
    ("duplicate", 0x400000),
    ("ihave", 0x800000),
    ("fcc", 0x1000000),
    ("special-use", 0x2000000),
    ("redirect-dsn", 0x4000000),
    ("redirect-deliverby", 0x8000000),
    ("mailboxid", 0x10000000),
    ("vnd.cyrus.log", 0x20000000),
    ("x-cyrus-log", 0x20000000),
    ("vnd.cyrus.jmapquery", 0x40000000),
    ("x-cyrus-jmapquery", 0x40000000),
    ("vnd.cyrus.imip", 0x80000000),
    ("snooze", 0x100000000),
    ("vnd.cyrus.snooze", 0x100000000),
    ("x-cyrus-snooze", 0x100000000),
];
