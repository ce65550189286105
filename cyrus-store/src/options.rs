//! What the administrator decides about a store: directories, partitions, databases, policies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cyrus_acl::{DeleteRight, Mechanism, Policy, Unix};

use crate::annotate::Definitions;
use crate::archiving::Archiving;
use crate::autocreate::Autocreate;
use crate::db::Engine;
use crate::flags::Keyword;
use crate::format::mboxentry::MailboxKind;
use crate::hints::Announcer;
use crate::ident::Partition;
use crate::log::{Log, NoLog};
use crate::partitions::PartitionChoice;
use crate::search::Whitespace;
use crate::sys::{Disk, RealDisk};

/// The settings of a store, one field an option of `imapd.conf`; [`StoreOptions::new`] gives the defaults of
/// Cyrus 3.6.
#[derive(Clone)]
pub struct StoreOptions {
    /// `configdirectory`
    pub config_dir: PathBuf,
    /// `partition-NAME`: where messages are.
    pub partitions: BTreeMap<Partition, PartitionPaths>,
    /// `metapartition_files`: which files live on the metadata partition, where there is one.
    pub metapartition_files: MetaFiles,
    /// `defaultpartition`
    pub default_partition: Option<Partition>,
    /// `partition_select_*`: which partition is taken where there is no default.
    pub partition_choice: PartitionChoice,
    /// `archive_enabled` and the like: which messages go to the archive partition.
    pub archiving: Archiving,
    /// `hashimapspool`
    pub hashimapspool: bool,
    /// `fulldirhash`
    pub fulldirhash: bool,
    /// `mailbox_legacy_dirs`: directories of new mailboxes follow their names.
    pub mailbox_legacy_dirs: bool,
    /// `mboxname_lockpath`; by default `lock` in the configuration directory.
    pub lock_path: Option<PathBuf>,
    /// The databases.
    pub databases: Databases,
    /// `expunge_mode`
    pub expunge_mode: ExpungeMode,
    /// `delete_mode`
    pub delete_mode: DeleteMode,
    /// `deletedprefix`
    pub deleted_prefix: String,
    /// `conversations`
    pub conversations: bool,
    /// `conversations_max_thread` and the like.
    pub conversation_limits: ConversationLimits,
    /// `quota_use_conversations`: in quota roots of users, each message counts once, however many copies of it there are.
    pub quota_use_conversations: bool,
    /// `statuscache`
    pub statuscache: bool,
    /// `reverseacls`
    pub reverseacls: bool,
    /// `implicit_owner_rights` and `acl_admin_implies_write`
    pub acl_policy: Policy,
    /// `deleteright`
    pub deleteright: DeleteRight,
    /// `auth_mech`
    pub mechanism: Arc<dyn Mechanism>,
    /// `defaultacl`, as `identifier rights` pairs.
    pub default_acl: String,
    /// `defaultdomain`
    pub default_domain: Option<String>,
    /// `virtdomains`
    pub virtdomains: bool,
    /// `unixhierarchysep`: names may hold dots.
    pub unixhierarchysep: bool,
    /// `singleinstancestore`
    pub singleinstancestore: bool,
    /// `duplicatesuppression`
    pub duplicatesuppression: bool,
    /// `maxmessagesize`, in octets; 0 is no limit.
    pub max_message_size: u64,
    /// `lmtp_strict_quota`: delivery does not exceed a limit by one message.
    pub lmtp_strict_quota: bool,
    /// `autocreate_*`: what is made for users who have no INBOX.
    pub autocreate: Autocreate,
    /// `sievedir`: where users' scripts are, if anywhere.
    pub sieve_dir: Option<PathBuf>,
    /// `allowallsubscribe`
    pub allowallsubscribe: bool,
    /// `allowsetacl`: users, and not only administrators, may change the lists of mailboxes.
    pub allowsetacl: bool,
    /// `anyoneuseracl`: users may give rights to `anyone`.
    pub anyoneuseracl: bool,
    /// `allowusermoves`: administrators may rename users.
    pub allowusermoves: bool,
    /// `specialuse_protect`: mailboxes with these special uses cannot be deleted.
    pub specialuse_protect: Vec<String>,
    /// `specialuse_extra`: special uses beside those of RFC 6154.
    pub specialuse_extra: Vec<String>,
    /// `specialuse_nochildren`: special uses of mailboxes that cannot have mailboxes below them.
    pub specialuse_nochildren: Vec<String>,
    /// `annotation_definitions` and `annotation_allow_undefined`: which annotations there may be.
    pub annotations: Definitions,
    /// `sync_log_channels`, if `sync_log` is on: who is told in files what changed; "" is the channel without a name.
    pub sync_channels: Vec<String>,
    /// `search_engine` and the like: indexes of the texts of messages.
    pub search: SearchOptions,
    /// `maxword`-like bound on keywords that clients may create in a mailbox; 100 in Cyrus.
    pub max_keywords: usize,
    /// Skiplist files that were not recovered since the server's last start are, when they are opened, as Cyrus does. A
    /// program that must not change anything leaves them as they are.
    pub recover_old_databases: bool,
    /// `mailbox_default_options`: bits that are set in the index of a new mailbox.
    pub new_mailbox_options: u32,
    /// `mailbox_initial_flags`: keywords that a new mailbox has from the start.
    pub new_mailbox_keywords: Vec<Keyword>,
    /// `mailbox_maxmessages_*`: how many messages a mailbox of a kind holds at most.
    pub max_messages: BTreeMap<MailboxKind, u32>,
    /// `lock_debugtime`: a lock that is waited for longer than this is noted.
    pub lock_debug_time: Option<Duration>,
    /// How long to wait for a mailbox that somebody else holds; `None` is for ever, as Cyrus does.
    pub lock_timeout: Option<Duration>,
    /// The files: those of the machine, or simulated ones.
    pub disk: Arc<dyn Disk>,
    /// Takes what an administrator should know.
    pub log: Arc<dyn Log>,
    /// Carries news of commits to other programs.
    pub announcer: Option<Arc<dyn Announcer>>,
}

/// What conversations count, and how large they get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationLimits {
    /// `conversations_counted_flags`, separated by spaces: for databases that are made from now on.
    pub counted_flags: String,
    /// `conversations_max_thread`: a conversation of so many messages goes on in another.
    pub max_thread: u32,
    /// `conversations_max_guidrecords`: copies of one message, expunged ones among them.
    pub max_guid_records: usize,
    /// `conversations_max_guidexists`: copies that exist.
    pub max_guid_exists: usize,
    /// `conversations_max_guidinfolder`: copies that exist in one mailbox.
    pub max_guid_in_folder: usize,
}

impl Default for ConversationLimits {
    fn default() -> Self {
        Self {
            counted_flags: String::new(),
            max_thread: 100,
            max_guid_records: 5000,
            max_guid_exists: 100,
            max_guid_in_folder: 10,
        }
    }
}

/// Which indexes of texts there are, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// `search_engine` is not `none`: searches use indexes, and `squatter` writes them.
    pub engine: bool,
    /// `TIERsearchpartition-NAME` of the `defaultsearchtier`: where the indexes of a partition's mailboxes are; those of
    /// others are in `search` in the configuration directory.
    pub roots: BTreeMap<Partition, PathBuf>,
    /// `search_whitespace`
    pub whitespace: Whitespace,
    /// `search_skipdiacrit` switched off
    pub keep_diacritics: bool,
    /// `search_index_headers`: header fields beside addresses and subject are indexed, too.
    pub headers: bool,
    /// `search_skiphtml` switched off: the words of HTML are indexed.
    pub html: bool,
    /// `search_maxsize`, in octets: how much of a text is taken for words.
    pub max_size: usize,
    /// `search_batchsize`: how many messages are read under one lock.
    pub batch: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            engine: false,
            roots: BTreeMap::new(),
            whitespace: Whitespace::default(),
            keep_diacritics: false,
            headers: true,
            html: true,
            max_size: 4 << 20,
            batch: 20,
        }
    }
}

/// The directories of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPaths {
    /// `partition-NAME`
    pub data: PathBuf,
    /// `metapartition-NAME`
    pub meta: Option<PathBuf>,
    /// `archivepartition-NAME`
    pub archive: Option<PathBuf>,
}

/// Which files of a mailbox live on the metadata partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaFiles {
    /// `cyrus.header`
    pub header: bool,
    /// `cyrus.index`
    pub index: bool,
    /// `cyrus.cache`
    pub cache: bool,
    /// `cyrus.annotations`
    pub annotations: bool,
    /// `cyrus.cache` of archived messages
    pub archive_cache: bool,
    /// lock files
    pub lock: bool,
}

impl MetaFiles {
    /// Reads the words of `metapartition_files`; unknown ones (squat, dav and expunge are about files that are not
    /// used here) are ignored.
    pub fn parse(words: &str) -> Self {
        let mut files = Self::default();
        for word in words.split_whitespace() {
            match word {
                "header" => files.header = true,
                "index" => files.index = true,
                "cache" => files.cache = true,
                "annotations" => files.annotations = true,
                "archivecache" => files.archive_cache = true,
                "lock" => files.lock = true,
                _ => {}
            }
        }
        files
    }
}

/// Formats and places of the databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Databases {
    /// `mboxlist_db`
    pub mboxlist: Engine,
    /// `mboxlist_db_path`
    pub mboxlist_path: Option<PathBuf>,
    /// `annotation_db`
    pub annotation: Engine,
    /// `annotation_db_path`
    pub annotation_path: Option<PathBuf>,
    /// `duplicate_db`
    pub duplicate: Engine,
    /// `duplicate_db_path`
    pub duplicate_path: Option<PathBuf>,
    /// `statuscache_db`
    pub statuscache: Engine,
    /// `statuscache_db_path`
    pub statuscache_path: Option<PathBuf>,
    /// `quota_db`
    pub quota: Engine,
    /// `quota_db_path`
    pub quota_path: Option<PathBuf>,
    /// `seenstate_db`
    pub seen: Engine,
    /// `subscription_db`
    pub subscription: Engine,
    /// `conversations_db`
    pub conversations: Engine,
    /// `mboxkey_db`
    pub mboxkey: Engine,
    /// `userdeny_db`
    pub userdeny: Engine,
    /// `userdeny_db_path`
    pub userdeny_path: Option<PathBuf>,
}

impl Default for Databases {
    fn default() -> Self {
        Self {
            mboxlist: Engine::Twoskip,
            mboxlist_path: None,
            annotation: Engine::Twoskip,
            annotation_path: None,
            duplicate: Engine::Twoskip,
            duplicate_path: None,
            statuscache: Engine::Twoskip,
            statuscache_path: None,
            quota: Engine::QuotaLegacy,
            quota_path: None,
            seen: Engine::Twoskip,
            subscription: Engine::Flat,
            conversations: Engine::Skiplist,
            mboxkey: Engine::Twoskip,
            userdeny: Engine::Flat,
            userdeny_path: None,
        }
    }
}

/// `expunge_mode`: what becomes of an expunged message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpungeMode {
    /// File and record go as soon as the mailbox is closed.
    Immediate,
    /// The file goes when the mailbox is closed, the record stays until `cyr_expire`.
    SemiDelayed,
    /// Both stay until `cyr_expire`.
    #[default]
    Delayed,
}

/// `delete_mode`: what becomes of a deleted mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeleteMode {
    /// It goes at once.
    Immediate,
    /// It gets a name below `DELETED` until `cyr_expire`.
    #[default]
    Delayed,
}

impl StoreOptions {
    /// The defaults of Cyrus 3.6 for a store with this configuration directory; it has no partition yet.
    pub fn new(config_dir: impl Into<PathBuf>) -> Self {
        Self {
            config_dir: config_dir.into(),
            partitions: BTreeMap::new(),
            metapartition_files: MetaFiles::default(),
            default_partition: None,
            partition_choice: PartitionChoice::default(),
            archiving: Archiving::default(),
            hashimapspool: false,
            fulldirhash: false,
            mailbox_legacy_dirs: false,
            lock_path: None,
            databases: Databases::default(),
            expunge_mode: ExpungeMode::default(),
            delete_mode: DeleteMode::default(),
            deleted_prefix: "DELETED".to_owned(),
            conversations: false,
            conversation_limits: ConversationLimits::default(),
            quota_use_conversations: false,
            statuscache: false,
            reverseacls: false,
            acl_policy: Policy::default(),
            deleteright: DeleteRight::default(),
            mechanism: Arc::new(Unix::new()),
            default_acl: "anyone lrs".to_owned(),
            default_domain: None,
            virtdomains: false,
            unixhierarchysep: true,
            singleinstancestore: true,
            duplicatesuppression: true,
            max_message_size: 0,
            lmtp_strict_quota: false,
            autocreate: Autocreate::default(),
            sieve_dir: None,
            allowallsubscribe: false,
            allowsetacl: true,
            anyoneuseracl: true,
            allowusermoves: false,
            specialuse_protect: [
                "\\Archive",
                "\\Drafts",
                "\\Important",
                "\\Junk",
                "\\Sent",
                "\\Trash",
            ]
            .map(str::to_owned)
            .to_vec(),
            specialuse_extra: Vec::new(),
            specialuse_nochildren: Vec::new(),
            annotations: Definitions::default(),
            sync_channels: Vec::new(),
            search: SearchOptions::default(),
            max_keywords: crate::format::header::MAX_CLIENT_KEYWORDS,
            recover_old_databases: true,
            new_mailbox_options: 0,
            new_mailbox_keywords: Vec::new(),
            max_messages: BTreeMap::new(),
            lock_debug_time: None,
            lock_timeout: None,
            disk: Arc::new(RealDisk),
            log: Arc::new(NoLog),
            announcer: None,
        }
    }

    /// Adds a partition; the first one added is the default until [`StoreOptions::default_partition`] says otherwise.
    ///
    /// # Panics
    /// `name` is no name for a partition.
    #[must_use]
    pub fn partition(mut self, name: &str, data: impl Into<PathBuf>) -> Self {
        let name = Partition::new(name).expect("the caller wrote a partition name into his program");
        self.default_partition.get_or_insert_with(|| name.clone());
        self.partitions.insert(
            name,
            PartitionPaths {
                data: data.into(),
                meta: None,
                archive: None,
            },
        );
        self
    }

    /// Puts the store on this disk.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The path of a database: as configured, or `default` in the configuration directory.
    pub(crate) fn database_path(&self, configured: Option<&PathBuf>, default: &str) -> PathBuf {
        configured
            .cloned()
            .unwrap_or_else(|| self.config_dir.join(default))
    }

    pub(crate) fn lock_dir(&self) -> PathBuf {
        self.lock_path
            .clone()
            .unwrap_or_else(|| self.config_dir.join("lock"))
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roots: Vec<(&str, &Path)> = self
            .partitions
            .iter()
            .map(|(name, paths)| (name.as_str(), paths.data.as_path()))
            .collect();
        f.debug_struct("StoreOptions")
            .field("config_dir", &self.config_dir)
            .field("partitions", &roots)
            .finish_non_exhaustive()
    }
}
