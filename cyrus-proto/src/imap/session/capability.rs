//! The capabilities of each state, in the order of Cyrus.

use crate::imap::options::ImapOptions;

/// What the list depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// Whether the user is logged in.
    pub(crate) logged_in: bool,
    /// Whether he is an administrator.
    pub(crate) admin: bool,
    /// Whether COMPRESS was obeyed.
    pub(crate) compressed: bool,
    /// Whether users have conversations.
    pub(crate) conversations: bool,
    /// Whether TLS is up.
    pub(crate) secure: bool,
    pub(crate) protected: bool,
    /// The SASL mechanisms that can be used now.
    pub(crate) mechanisms: &'a [String],
}

/// What is always understood.
const SHORT: &[&str] = &["IMAP4rev1", "LITERAL+", "ID", "ENABLE"];

/// What is understood after the login.
const REST: &[&str] = &[
    "ACL",
    "ANNOTATE-EXPERIMENT-1",
    "BINARY",
    "CATENATE",
    "CHILDREN",
    "CONDSTORE",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "CREATE-SPECIAL-USE",
    "IMAP4rev2",
    "ESEARCH",
    "ESORT",
    "FILTERS",
    "I18NLEVEL=1",
    "I18NLEVEL=2",
    "INPROGRESS",
    "LIST-EXTENDED",
    "LIST-MYRIGHTS",
    "LIST-STATUS",
    "LOGIN-REFERRALS",
    "MAILBOX-REFERRALS",
    "METADATA",
    "METADATA-SERVER",
    "MOVE",
    "MULTIAPPEND",
    "MULTISEARCH",
    "NAMESPACE",
    "OBJECTID",
    "PARTIAL",
    "PREVIEW",
    "QRESYNC",
    "QUOTA",
    "QUOTASET",
    "REPLACE",
    "RIGHTS=kxten",
    "SAVEDATE",
    "SEARCH=FUZZY",
    "SEARCHRES",
    "SORT",
    "SORT=DISPLAY",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "UIDBATCHES",
    "UIDONLY",
    "UIDPLUS",
    "UNSELECT",
    "URL-PARTIAL",
    "URLAUTH",
    "URLAUTH=BINARY",
    "UTF8=ACCEPT",
    "WITHIN",
    "DIGEST=SHA1",
    "LIST-METADATA",
    "SORT=MODSEQ",
    "SORT=UID",
    "THREAD=REFS",
    "X-CREATEDMODSEQ",
    "XLIST",
    "XMOVE",
];

const QUOTAS: &[&str] = &[
    "X-QUOTA=STORAGE",
    "X-QUOTA=MESSAGE",
    "X-QUOTA=X-ANNOTATION-STORAGE",
    "X-QUOTA=X-NUM-FOLDERS",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "QUOTA=RES-ANNOTATION-STORAGE",
    "QUOTA=RES-MAILBOX",
];

/// The list of the greeting: what a client needs to log in.
pub(crate) fn greeting(options: &ImapOptions, situation: Situation<'_>) -> String {
    let mut list = List::new(options);
    list.add_all(SHORT);
    list.add("LANGUAGE");
    list.add_login(situation);
    list.text
}

/// The whole list, as CAPABILITY and a good login tell it.
pub(crate) fn full(options: &ImapOptions, situation: Situation<'_>) -> String {
    let mut list = List::new(options);
    list.add_all(SHORT);
    list.add_all(REST);
    list.add("LANGUAGE");
    list.add("NOTIFY");
    if options.annotation_legacy_commands {
        list.add("ANNOTATEMORE");
    }
    list.add_login(situation);
    if situation.admin {
        list.add("UNAUTHENTICATE");
    }
    if situation.conversations {
        list.add("XCONVERSATIONS");
    }
    if !situation.compressed {
        list.add("COMPRESS=DEFLATE");
    }
    list.add_all(QUOTAS);
    if !options.idle_poll.is_zero() {
        list.add("IDLE");
    }
    list.add(&format!("APPENDLIMIT={}", options.append_limit()));
    match (options.save_limit, options.message_limit) {
        (Some(limit), _) => list.add(&format!("SAVELIMIT={limit}")),
        (None, u32::MAX) => {}
        (None, limit) => list.add(&format!("MESSAGELIMIT={limit}")),
    }
    list.text
}

struct List<'o> {
    options: &'o ImapOptions,
    text: String,
}

impl<'o> List<'o> {
    fn new(options: &'o ImapOptions) -> Self {
        Self {
            options,
            text: String::new(),
        }
    }

    fn add_all(&mut self, names: &[&str]) {
        for name in names {
            self.add(name);
        }
    }

    fn add(&mut self, name: &str) {
        let name = match name {
            "LITERAL+" if self.options.literalminus => "LITERAL-",
            "UTF8=ACCEPT" if self.options.utf8_only => "UTF8=ONLY",
            name => name,
        };
        let suppressed = &self.options.suppress_capabilities;
        if suppressed.iter().any(|hidden| hidden.eq_ignore_ascii_case(name)) {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(name);
    }

    fn add_login(&mut self, situation: Situation<'_>) {
        let options = self.options;
        if situation.logged_in {
            self.add("LOGINDISABLED");
            return;
        }
        if options.starttls && !situation.secure {
            self.add("STARTTLS");
        }
        let refused = !situation.protected && options.tls_required;
        if refused || !situation.protected && !options.allowplaintext {
            self.add("LOGINDISABLED");
        }
        if !refused && !situation.mechanisms.is_empty() {
            for mechanism in situation.mechanisms {
                self.add(&format!("AUTH={mechanism}"));
            }
            self.add("SASL-IR");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(mechanisms: &[String]) -> Situation<'_> {
        Situation {
            logged_in: false,
            admin: false,
            compressed: false,
            conversations: false,
            secure: false,
            protected: false,
            mechanisms,
        }
    }

    #[test]
    fn the_greeting_names_what_a_login_needs() {
        let mut options = ImapOptions::new("localhost");
        options.allowplaintext = true;
        options.starttls = true;
        let mechanisms = ["PLAIN".to_owned(), "LOGIN".to_owned()];
        assert_eq!(
            greeting(&options, situation(&mechanisms)),
            "IMAP4rev1 LITERAL+ ID ENABLE LANGUAGE STARTTLS AUTH=PLAIN AUTH=LOGIN SASL-IR"
        );
        options.allowplaintext = false;
        assert_eq!(
            greeting(&options, situation(&[])),
            "IMAP4rev1 LITERAL+ ID ENABLE LANGUAGE STARTTLS LOGINDISABLED"
        );
        let tunnelled = Situation {
            protected: true,
            ..situation(&mechanisms)
        };
        assert_eq!(
            greeting(&options, tunnelled),
            "IMAP4rev1 LITERAL+ ID ENABLE LANGUAGE STARTTLS AUTH=PLAIN AUTH=LOGIN SASL-IR"
        );
    }

    #[test]
    fn suppressed_capabilities_are_hidden_and_literalminus_replaces_literalplus() {
        let mut options = ImapOptions::new("localhost");
        options.suppress_capabilities = vec!["acl".into(), "IDLE".into()];
        options.literalminus = true;
        let list = full(&options, situation(&[]));
        assert!(list.starts_with("IMAP4rev1 LITERAL- ID ENABLE "), "{list}");
        assert!(!list.contains("IDLE") && !list.contains(" ACL "));
    }
}
