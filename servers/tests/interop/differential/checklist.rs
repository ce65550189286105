//! What the scripts must have: every command of real Cyrus in every form, and every response code and reply that it gives.

use std::collections::BTreeSet;

use cyrus_proto::imap::command::Verb;

use super::script::Way;

/// What the scripts had of it.
#[derive(Default)]
pub(super) struct Covered {
    /// Names of commands, with how they ended: `FETCH OK`.
    ends: BTreeSet<String>,
    /// Places of [`FORMS`] that a command took which real Cyrus did.
    forms: BTreeSet<usize>,
    codes: BTreeSet<String>,
    /// LMTP's reply codes, with the enhanced ones: `550 5.1.1`.
    replies: BTreeSet<String>,
    lmtp_verbs: BTreeSet<String>,
}

impl Covered {
    /// Notes a command and what real Cyrus answered.
    pub(super) fn note(&mut self, way: Way, said: &str, answer: &[String]) {
        match way {
            Way::Imap => self.note_imap(said, answer),
            Way::LmtpSocket | Way::LmtpPort => self.note_lmtp(said, answer),
        }
    }

    fn note_imap(&mut self, said: &str, answer: &[String]) {
        for line in answer {
            let inside = line.split_once(" [").filter(|(start, _)| start.len() < 16);
            if let Some((_, inside)) = inside {
                let code = inside.split(|c: char| !c.is_ascii_uppercase() && c != '-').next();
                self.codes.extend(code.map(str::to_owned));
            }
        }
        let Some((tag, command)) = said.split_once(' ') else {
            return;
        };
        let command = command.to_ascii_uppercase();
        let mut words = command.split(' ');
        let mut name = words.next().unwrap_or_default().to_owned();
        if name == "UID" {
            name = format!("UID {}", words.next().unwrap_or_default());
        }
        let last = answer.last().map_or("", String::as_str);
        let end = last.strip_prefix(tag).map_or(last, str::trim_start);
        let end = end.split(' ').next().unwrap_or_default();
        self.ends.insert(format!("{name} {end}"));
        if end == "OK" || end == "+" {
            let fits = FORMS.iter().enumerate().filter(|(_, form)| fits(form, &command));
            self.forms.extend(fits.map(|(at, _)| at));
        }
    }

    fn note_lmtp(&mut self, said: &str, answer: &[String]) {
        let verb = said.split(' ').next().unwrap_or_default();
        self.lmtp_verbs.insert(verb.to_ascii_uppercase());
        for line in answer {
            let Some((code, text)) = line.split_at_checked(3).filter(|(_, text)| text.starts_with(' '))
            else {
                continue;
            };
            let enhanced = text.trim_start().split(' ').next().unwrap_or_default();
            self.replies
                .insert(match enhanced.starts_with(|c: char| c.is_ascii_digit()) {
                    true => format!("{code} {enhanced}"),
                    false => code.to_owned(),
                });
        }
    }

    /// What no script had.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (verb, needs_failure) in verbs() {
            for end in ["OK", "BAD"].iter().take(if needs_failure { 2 } else { 1 }) {
                let ended = self.ends.contains(&format!("{verb} {end}"));
                let waits = *end == "OK" && self.ends.contains(&format!("{verb} +"));
                if !ended && !waits {
                    missing.push(format!("the command {verb}, answered with {end}"));
                }
            }
        }
        let forms = FORMS.iter().enumerate();
        let unseen = forms.filter(|(at, _)| !self.forms.contains(at));
        missing.extend(unseen.map(|(_, form)| format!("the form {form}, answered with OK")));
        let unseen = CODES.iter().filter(|code| !self.codes.contains(**code));
        missing.extend(unseen.map(|code| format!("the response code {code}")));
        let unseen = REPLIES.iter().filter(|reply| !self.replies.contains(**reply));
        missing.extend(unseen.map(|reply| format!("the LMTP reply {reply}")));
        let unseen = LMTP_VERBS.iter().filter(|verb| !self.lmtp_verbs.contains(**verb));
        missing.extend(unseen.map(|verb| format!("the LMTP command {verb}")));
        missing
    }
}

/// The names of the commands that both servers have; whether there are arguments that a client can get wrong.
fn verbs() -> impl Iterator<Item = (String, bool)> {
    let plain = Verb::all().map(|verb| verb.name().to_ascii_uppercase());
    let plain = plain.filter(|name| name != "UID" && !NOT_IN_REAL.contains(&name.as_str()));
    let by_uid = [
        "COPY", "EXPUNGE", "FETCH", "MOVE", "SEARCH", "SORT", "STORE", "THREAD",
    ];
    let by_uid = by_uid.into_iter().map(|name| format!("UID {name}"));
    plain.chain(by_uid).map(|name| {
        let any_arguments = NO_WRONG_ARGUMENTS.contains(&name.as_str());
        (name, !any_arguments)
    })
}

/// Whether an upper-case command is of a form, in which `*` is for anything.
fn fits(form: &str, command: &str) -> bool {
    let mut parts = form.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = command.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    true
}

/// Commands that Cyrus 3.6 does not have.
const NOT_IN_REAL: &[&str] = &[
    "CANCELUPDATE",
    "COMPARATOR",
    "ESEARCH",
    "LANGUAGE",
    "NOTIFY",
    "REPLACE",
    "UIDBATCHES",
];

/// Commands that are never answered with BAD in the state in which they are right.
const NO_WRONG_ARGUMENTS: &[&str] = &["LOGOUT", "NAMESPACE", "UNAUTHENTICATE"];

/// The forms of commands, each of which some script has, and real Cyrus does; but those of Cyrus's own that need
/// conversations, and RENAME of an INBOX with messages, at which it ends.
#[rustfmt::skip]
const FORMS: &[&str] = &[
    // Logging in, and what needs no mailbox.
    "LOGIN * *", "LOGIN \"*\" \"*\"", "LOGIN {*} {*}", "AUTHENTICATE PLAIN", "AUTHENTICATE LOGIN",
    "ID NIL", "ID (*\"*\" \"*\"*)", "ENABLE CONDSTORE", "ENABLE QRESYNC", "ENABLE CONDSTORE QRESYNC", "ENABLE NOPE",
    // Mailboxes.
    "SELECT *", "SELECT * (CONDSTORE)", "SELECT * (QRESYNC (*))", "SELECT * (QRESYNC (* * *:*))",
    "SELECT * (QRESYNC (* * *:* (* *)))", "SELECT * (ANNOTATE)", "EXAMINE *", "EXAMINE * (CONDSTORE)",
    "CREATE *", "CREATE * DEFAULT", "CREATE * (USE (*))", "CREATE * (PARTITION DEFAULT)", "CREATE \"*\"", "CREATE {*}",
    "DELETE *", "RENAME * *", "RENAME USER/* USER/*", "SUBSCRIBE *", "UNSUBSCRIBE *",
    "STATUS * (MESSAGES)", "STATUS * (RECENT)", "STATUS * (UIDNEXT)", "STATUS * (UIDVALIDITY)", "STATUS * (UNSEEN)",
    "STATUS * (HIGHESTMODSEQ)", "STATUS * (SIZE)", "STATUS * (MAILBOXID)", "STATUS * (CREATEDMODSEQ)",
    "STATUS * (* * *)",
    "LIST \"\" \"\"", "LIST \"\" %", "LIST \"\" *", "LIST * (* *)", "LIST (SUBSCRIBED) *", "LIST (REMOTE) *",
    "LIST (SPECIAL-USE) *", "LIST (SUBSCRIBED RECURSIVEMATCH) *", "LIST () *", "LIST * RETURN (SUBSCRIBED*)",
    "LIST * RETURN (*CHILDREN)", "LIST * RETURN (SPECIAL-USE)", "LIST * RETURN (STATUS (*))", "LIST * RETURN (MYRIGHTS)",
    "LIST * RETURN (METADATA (*))", "LIST * RETURN ()", "LSUB \"\" *", "XLIST *", "RLIST *", "RLSUB *",
    // Rights, quotas, annotations.
    "GETACL *", "SETACL * * LR*", "SETACL * * +*", "SETACL * * -*", "SETACL * -* *", "SETACL * ANYONE *", "SETACL * \"\"",
    "DELETEACL * *", "DELETEACL * -*", "LISTRIGHTS * *", "MYRIGHTS *",
    "GETQUOTA *", "GETQUOTAROOT *", "SETQUOTA * (STORAGE *)", "SETQUOTA * (MESSAGE *)", "SETQUOTA * (STORAGE * MESSAGE *)",
    "SETQUOTA * (*X-NUM-FOLDERS *X-ANNOTATION-STORAGE *)", "SETQUOTA * ()",
    "GETMETADATA * /PRIVATE/*", "GETMETADATA * /SHARED/*", "GETMETADATA * (* *)", "GETMETADATA (DEPTH 0) *",
    "GETMETADATA (DEPTH 1) *", "GETMETADATA (DEPTH INFINITY) *", "GETMETADATA (MAXSIZE *) *", "GETMETADATA \"\" *",
    "SETMETADATA * (/PRIVATE/* \"*\")", "SETMETADATA * (/SHARED/* \"*\")", "SETMETADATA * NIL)", "SETMETADATA \"\" *",
    "SETMETADATA * (* \"*\" * \"*\")", "SETMETADATA * {*})",
    "GETANNOTATION * * *", "SETANNOTATION * * (*)",
    // URLs.
    "RESETKEY", "RESETKEY *", "URLFETCH *", "URLFETCH (* BODY)",
    // Messages.
    "APPEND * {*}", "APPEND * {*+}", "APPEND * ~{*}", "APPEND * (*) {*}", "APPEND * \"*\" {*}", "APPEND * (*) \"*\" {*}",
    "APPEND * {*} {*}", "APPEND * CATENATE (TEXT {*})", "APPEND * CATENATE (URL * TEXT *)", "APPEND * ANNOTATION (*) {*}",
    "FETCH * ALL", "FETCH * FAST", "FETCH * FULL", "FETCH * FLAGS", "FETCH * INTERNALDATE", "FETCH * RFC822.SIZE",
    "FETCH * ENVELOPE", "FETCH * BODY", "FETCH * BODYSTRUCTURE", "FETCH * UID", "FETCH * RFC822", "FETCH * RFC822.HEADER",
    "FETCH * RFC822.TEXT", "FETCH * RFC822.PEEK", "FETCH * RFC822.TEXT.PEEK", "FETCH * RFC822.HEADER.LINES (*)",
    "FETCH * RFC822.HEADER.LINES.NOT (*)", "FETCH * RFC822.SHA1", "FETCH * RFC822.FILESIZE", "FETCH * DIGEST.SHA1",
    "FETCH * MODSEQ", "FETCH * EMAILID", "FETCH * THREADID", "FETCH * SAVEDATE", "FETCH * PREVIEW", "FETCH * (PREVIEW (LAZY))",
    "FETCH * FOLDER", "FETCH * UIDVALIDITY", "FETCH * LASTUPDATED", "FETCH * CREATEDMODSEQ", 
    "FETCH * ANNOTATION (*)", "FETCH * (FLAGS UID)", "FETCH * (CHANGEDSINCE *)",
    "UID FETCH * (CHANGEDSINCE * VANISHED)",
    "FETCH * BODY[]", "FETCH * BODY.PEEK[]", "FETCH * BODY*[HEADER]", "FETCH * BODY*[TEXT]", "FETCH * BODY*[1]",
    "FETCH * BODY*[1.MIME]", "FETCH * BODY*[2.HEADER]", "FETCH * BODY*[2.TEXT]", "FETCH * BODY*[2.1]", "FETCH * BODY*[2.1.MIME]",
    "FETCH * BODY*[HEADER.FIELDS (*)]", "FETCH * BODY*[HEADER.FIELDS.NOT (*)]", "FETCH * BODY*[2.HEADER.FIELDS (*)]",
    "FETCH * BODY*[2.HEADER.FIELDS.NOT (*)]", "FETCH * BODY*[]<*.*>", "FETCH * BODY*[HEADER]<*.*>", "FETCH * BODY*[TEXT]<*.*>",
    "FETCH * BODY*[1]<*.*>", "FETCH * BODY*[HEADER.FIELDS (*)]<*.*>", "FETCH * BODY*[1.MIME]<*.*>",
    "FETCH * (BINARY[*] *", "FETCH * BINARY.PEEK[*]", "FETCH * BINARY.PEEK[*]<*.*>", "FETCH * BINARY.SIZE[*]",
    "STORE * FLAGS (*)", "STORE * FLAGS \\*", "STORE * FLAGS ()", "STORE * +FLAGS (*)", "STORE * -FLAGS (*)", "STORE * FLAGS.SILENT (*)",
    "STORE * +FLAGS.SILENT (*)", "STORE * -FLAGS.SILENT (*)", "STORE * (UNCHANGEDSINCE *) *", "STORE * ANNOTATION (*)",
    "UID STORE * (UNCHANGEDSINCE *) *", "UID STORE * FLAGS (*)",
    "COPY * *", "UID COPY * *", "MOVE * *", "UID MOVE * *", "EXPUNGE", "UID EXPUNGE *",
    // Searches.
    "SEARCH ALL", "SEARCH ANSWERED", "SEARCH BCC *", "SEARCH BEFORE *", "SEARCH BODY *", "SEARCH CC *", "SEARCH DELETED",
    "SEARCH DRAFT", "SEARCH FLAGGED", "SEARCH FROM *", "SEARCH HEADER * *", "SEARCH KEYWORD *", "SEARCH LARGER *", "SEARCH NEW",
    "SEARCH NOT *", "SEARCH OLD", "SEARCH ON *", "SEARCH OR * *", "SEARCH RECENT", "SEARCH SEEN", "SEARCH SENTBEFORE *",
    "SEARCH SENTON *", "SEARCH SENTSINCE *", "SEARCH SINCE *", "SEARCH SMALLER *", "SEARCH SUBJECT *", "SEARCH TEXT *", "SEARCH TO *",
    "SEARCH UID *", "SEARCH UNANSWERED", "SEARCH UNDELETED", "SEARCH UNDRAFT", "SEARCH UNFLAGGED", "SEARCH UNKEYWORD *",
    "SEARCH UNSEEN", "SEARCH 1*", "SEARCH (*)*", "SEARCH CHARSET UTF-8 *", "SEARCH CHARSET ISO-8859-1 *", "SEARCH OLDER *",
    "SEARCH YOUNGER *", "SEARCH MODSEQ *", "SEARCH MODSEQ \"*\" * *", "SEARCH ANNOTATION * * *", "SEARCH EMAILID *",
    "SEARCH THREADID *", "SEARCH SAVEDBEFORE *", "SEARCH SAVEDON *", "SEARCH SAVEDSINCE *", "SEARCH FUZZY *",
    "SEARCH RETURN () *", "SEARCH RETURN (MIN) *", "SEARCH RETURN (MAX) *", "SEARCH RETURN (COUNT) *", "SEARCH RETURN (ALL) *",
    "UID SEARCH RETURN (* *) *",
    "SORT (ARRIVAL) *", "SORT (CC) *", "SORT (DATE) *", "SORT (FROM) *", "SORT (SIZE) *", "SORT (SUBJECT) *", "SORT (TO) *",
    "SORT (REVERSE *) *", "SORT (DISPLAYFROM) *", "SORT (DISPLAYTO) *", "SORT (MODSEQ) *", "SORT (UID) *", "SORT (* *) US-ASCII *",
    "SORT (ANNOTATION * *) *", "SORT (HASFLAG *) *", "SORT RETURN (*) *", "UID SORT *",
    "THREAD ORDEREDSUBJECT *", "THREAD REFERENCES *", "THREAD REFS *", "UID THREAD *",
];

/// The response codes of real Cyrus, but REFERRAL (only in a cluster), TOOBIG's relatives of newer ones, and those of the
/// commands for replication.
const CODES: &[&str] = &[
    "ALERT",
    "ANNOTATIONS",
    "APPENDUID",
    "BADURL",
    "CAPABILITY",
    "CLOSED",
    "COPYUID",
    "HIGHESTMODSEQ",
    "MAILBOXID",
    "METADATA",
    "MODIFIED",
    "PERMANENTFLAGS",
    "READ-ONLY",
    "READ-WRITE",
    "TOOBIG",
    "TRYCREATE",
    "UIDNEXT",
    "UIDVALIDITY",
    "UNSEEN",
    "URLMECH",
    "USEATTR",
];

const LMTP_VERBS: &[&str] = &[
    "LHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "QUIT", "AUTH", "STARTTLS",
];

/// The replies of lmtpd, but those of a disk that fails, and of a server that is shut down.
const REPLIES: &[&str] = &[
    "220",
    "221 2.0.0",
    "235",
    "250",
    "250 2.0.0",
    "250 2.1.0",
    "250 2.1.5",
    "252 2.3.3",
    "354",
    "430",
    "452 4.2.2",
    "500 5.5.2",
    "501 5.5.2",
    "501 5.5.4",
    "503 5.5.0",
    "503 5.5.1",
    "504",
    "530",
    "550 5.1.1",
    "550 5.7.1",
    "552 5.2.2",
    "552 5.2.3",
    "554 5.6.0",
];

#[test]
fn a_form_fits_what_it_is_for() {
    assert!(fits("FETCH * BODY*[1]", "FETCH 1 BODY.PEEK[1]"));
    assert!(!fits("FETCH * BODY*[1]", "FETCH 1 BODY.PEEK[2]"));
    assert!(fits("EXPUNGE", "EXPUNGE"));
    assert!(!fits("EXPUNGE", "EXPUNGE NOW"));
}
