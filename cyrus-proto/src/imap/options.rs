//! What an IMAP service is set to: the options of imapd.conf that sessions obey, with Cyrus 3.6's defaults.

use std::sync::Arc;
use std::time::Duration;

use cyrus_store::Namespace;
use cyrus_store::search::Comparison;

use super::command::CommandLimits;
use crate::eight_bit::EightBitHeaders;
use crate::frame::Limits;
use crate::surroundings::{Alone, Surroundings};

/// The settings of one IMAP service.
#[derive(Clone, Debug)]
pub struct ImapOptions {
    /// `servername`: in the greeting and in session ids.
    pub servername: String,
    /// `serverinfo`: how much the greeting tells.
    pub serverinfo: ServerInfo,
    /// The version in the greeting and in the answer to ID.
    pub version: String,
    /// `imapidresponse`: whether ID is answered with more than NIL.
    pub id_response: bool,
    /// `admins`, after the service's own list: userids that administer the server.
    pub admins: Vec<String>,
    /// `allowplaintext`: passwords without TLS.
    pub allowplaintext: bool,
    /// Strength in bits of a protection that others give all connections, such as a tunnel (`imapd -p`).
    pub external_strength: u32,
    /// `allowanonymouslogin`
    pub allowanonymouslogin: bool,
    /// Whether STARTTLS is offered: `allowstarttls`, and a certificate is there.
    pub starttls: bool,
    /// `tls_required`: no login at all without TLS.
    pub tls_required: bool,
    /// `suppress_capabilities`
    pub suppress_capabilities: Vec<String>,
    /// `literalminus`: LITERAL- instead of LITERAL+.
    pub literalminus: bool,
    /// `timeout`: how long a logged-in client may say nothing; at least 30 minutes (RFC 3501, section 5.4).
    pub timeout: Duration,
    /// `imapidletimeout`: the same during IDLE; `timeout` if unset.
    pub idle_timeout: Option<Duration>,
    /// `imapidlepoll`: how often an idling session looks at its mailbox without being told to; zero switches IDLE off.
    pub idle_poll: Duration,
    /// `failedloginpause`: how late the answer to a failed login comes.
    pub failedloginpause: Duration,
    /// `plaintextloginpause`: how late the answer to a good login without TLS comes.
    pub plaintextloginpause: Duration,
    /// `plaintextloginalert`: shown to those who log in without TLS.
    pub plaintextloginalert: Option<String>,
    /// `maxliteral`: octets of a literal outside APPEND.
    pub maxliteral: u64,
    /// The longest line and command, and the most literals in one; `maxargssize` is that of a command.
    pub limits: Limits,
    /// `maxmessagesize`: octets of an appended message; 0 for no limit but that of the format.
    pub maxmessagesize: u64,
    /// `reject8bit` and `munge8bit`: what becomes of 8-bit headers of appended messages.
    pub eight_bit_headers: EightBitHeaders,
    /// `maxword`, `maxquoted`, and what else a command may hold.
    pub command_limits: CommandLimits,
    /// Malformed commands in a row that end the session (`imap_max_bad_commands`).
    pub max_bad_commands: u32,
    /// Mailboxes that one ESEARCH goes through (`imap_max_searched_mailboxes`).
    pub max_searched_mailboxes: usize,
    /// Searches of one session whose results are kept true (`imap_max_updated_searches`).
    pub max_updated_searches: usize,
    /// `utf8_only`: clients must switch on UTF8=ACCEPT before anything that has to do with text (RFC 6855, section 6).
    pub utf8_only: bool,
    /// `quotawarn`: per cent from which SELECT warns.
    pub quotawarn: u8,
    /// `messagelimit`: messages on which one command works (RFC 9738).
    pub message_limit: u32,
    /// `savelimit`: messages that one command puts into a mailbox, where `messagelimit` does not say (RFC 9738).
    pub save_limit: Option<u32>,
    /// The most mailboxes that one session is notified of (RFC 5465); Cyrus has no option for it.
    pub max_notify_mailboxes: usize,
    /// `quotawarnkb`: SELECT warns only with less than this many KiB free; 0 leaves it to `quotawarn` alone.
    pub quotawarn_kib: u64,
    /// `quotawarnmsg`: the same in messages.
    pub quotawarn_messages: u64,
    /// `allowsetacl`
    pub allowsetacl: bool,
    /// `foolstupidclients`: `LIST "" *` means `LIST "" INBOX*`.
    pub foolstupidclients: bool,
    /// `allowallsubscribe`: subscriptions to names that do not exist.
    pub allowallsubscribe: bool,
    /// `autoexpunge`: whoever leaves a mailbox expunges it.
    pub autoexpunge: bool,
    /// `delete_unsubscribe`: who deletes a mailbox is no longer subscribed to it.
    pub delete_unsubscribe: bool,
    /// `readonly`: nothing can be changed.
    pub readonly: bool,
    /// `chatty`: every command is noted in the log.
    pub chatty: bool,
    /// `commandmintimer`: commands that take longer are noted in the log.
    pub slow_command: Option<Duration>,
    /// `jmap_preview_annot`: the annotation of messages that PREVIEW answers with, where it is set.
    pub preview_annotation: Option<String>,
    /// `submitservers`: userids and groups that may look up URLs authorized for `submit+`.
    pub submitservers: Vec<String>,
    /// `search_whitespace` and `search_skipdiacrit`: how searches compare.
    pub comparison: Comparison,
    /// `search_fuzzy_always`: strings of every search are looked for as FUZZY does.
    pub search_fuzzy_always: bool,
    /// In mailboxes of fewer messages an index of texts is not asked: looking at each is as quick.
    pub search_index_least: u32,
    /// `search_maxtime`: how long a search may take.
    pub search_maxtime: Option<Duration>,
    /// `specialusealways`: LIST and LSUB tell special uses without being asked.
    pub specialusealways: bool,
    /// `annotation_enable_legacy_commands`: GETANNOTATION and SETANNOTATION.
    pub annotation_legacy_commands: bool,
    /// How names look.
    pub namespace: Namespace,
    /// The server around the sessions.
    pub surroundings: Arc<dyn Surroundings>,
}

/// `serverinfo`: how much the greeting tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerInfo {
    /// Name, product and version.
    #[default]
    On,
    /// Nothing.
    Off,
    /// Like `Off`, as Cyrus 3.6 has it.
    Min,
}

impl ImapOptions {
    /// The least `timeout` (RFC 3501, section 5.4).
    pub const MIN_TIMEOUT: Duration = Duration::from_secs(30 * 60);
    /// How long a client may take to log in.
    pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(10 * 60);

    /// Cyrus 3.6's defaults.
    pub fn new(servername: impl Into<String>) -> Self {
        Self {
            servername: servername.into(),
            serverinfo: ServerInfo::On,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            id_response: true,
            admins: Vec::new(),
            allowplaintext: false,
            external_strength: 0,
            allowanonymouslogin: false,
            starttls: false,
            tls_required: false,
            suppress_capabilities: Vec::new(),
            literalminus: false,
            timeout: Duration::from_secs(32 * 60),
            idle_timeout: None,
            idle_poll: Duration::from_secs(60),
            failedloginpause: Duration::from_secs(3),
            plaintextloginpause: Duration::ZERO,
            plaintextloginalert: None,
            maxliteral: 128 * 1024,
            limits: Limits::default(),
            maxmessagesize: 0,
            eight_bit_headers: EightBitHeaders::Munge,
            command_limits: CommandLimits::default(),
            max_bad_commands: 10,
            max_searched_mailboxes: 100_000,
            max_updated_searches: 16,
            utf8_only: false,
            quotawarn: 90,
            message_limit: u32::MAX,
            save_limit: None,
            max_notify_mailboxes: 2_000,
            quotawarn_kib: 0,
            quotawarn_messages: 0,
            allowsetacl: true,
            foolstupidclients: false,
            allowallsubscribe: false,
            autoexpunge: false,
            delete_unsubscribe: false,
            readonly: false,
            chatty: false,
            slow_command: None,
            preview_annotation: None,
            submitservers: Vec::new(),
            comparison: Comparison::default(),
            search_fuzzy_always: false,
            search_index_least: 100,
            search_maxtime: None,
            specialusealways: true,
            annotation_legacy_commands: false,
            namespace: Namespace::default(),
            surroundings: Arc::new(Alone),
        }
    }

    /// The largest message that APPEND takes.
    pub fn append_limit(&self) -> u64 {
        match self.maxmessagesize {
            0 => u64::from(u32::MAX),
            limit => limit.min(u64::from(u32::MAX)),
        }
    }

    pub(crate) fn autologout(&self) -> Duration {
        self.timeout.max(Self::MIN_TIMEOUT)
    }

    pub(crate) fn idle_autologout(&self) -> Duration {
        self.idle_timeout.unwrap_or_else(|| self.autologout())
    }
}
