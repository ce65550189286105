//! From imapd.conf to the options of the libraries, which read no files of settings themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cyrus_acl::{DeleteRight, Krb5, Mechanism, Policy, Rights, Unix};
use cyrus_proto::imap::command::Limit;
use cyrus_proto::imap::{ImapOptions, ServerInfo};
use cyrus_proto::lmtp::{DeliveryOptions, EightBitHeaders, LmtpOptions};
use cyrus_store::db::Engine;
use cyrus_store::options::{
    ConversationLimits, Databases, DeleteMode, ExpungeMode, MetaFiles, PartitionPaths,
};
use cyrus_store::pts::{Pts, PtsOptions};
use cyrus_store::search::Whitespace;
use cyrus_store::{
    Archiving, Autocreate, ChoiceMode, Definitions, Keyword, Level, Log, MailboxKind, Namespace, Partition,
    PartitionChoice, SearchOptions, Separator, StoreOptions, VirtualDomains,
};

use self::kerberos::EquivalentsFile;
pub use self::tls::{outgoing_tls, tls};
use crate::config::{Config, Opt};
use crate::syslog::StoreLog;
use crate::version::cyrus_version;

mod kerberos;
mod tls;

/// A setting that parses and still cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{}: {option}: {what}", path.display())]
pub struct SettingError {
    path: PathBuf,
    option: &'static str,
    what: String,
}

pub(crate) fn bad(config: &Config, option: Opt, what: impl Into<String>) -> SettingError {
    SettingError {
        path: config.path().to_owned(),
        option: option.name(),
        what: what.into(),
    }
}

/// The store that the configuration describes.
///
/// # Errors
/// A setting names something that this build does not have (a database format, an authorization mechanism), or is
/// malformed in a way that its type does not show.
pub fn store(config: &Config) -> Result<StoreOptions, SettingError> {
    let mut options = StoreOptions::new(config.configdirectory());
    for (name, data) in config.partitions() {
        let name = partition(config, Opt::Defaultpartition, name)?;
        options.partitions.insert(
            name.clone(),
            PartitionPaths {
                data: data.to_owned(),
                meta: config.metapartition(name.as_str()).map(Into::into),
                archive: config.archivepartition(name.as_str()).map(Into::into),
            },
        );
    }
    options.default_partition = match config.text(Opt::Defaultpartition) {
        Some(name) => Some(partition(config, Opt::Defaultpartition, &name)?),
        None => None,
    };
    options.partition_choice = PartitionChoice {
        mode: match config.choice(Opt::PartitionSelectMode) {
            "random" => ChoiceMode::Random,
            "freespace-percent-most" => ChoiceMode::FreespacePercentMost,
            "freespace-percent-weighted" => ChoiceMode::FreespacePercentWeighted,
            "freespace-percent-weighted-delta" => ChoiceMode::FreespacePercentWeightedDelta,
            _ => ChoiceMode::FreespaceMost,
        },
        exclude: config
            .string(Opt::PartitionSelectExclude)
            .split([' ', ',', '\t'])
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        soft_usage_limit: u8::try_from(config.int(Opt::PartitionSelectSoftUsageLimit).clamp(0, 100))
            .unwrap_or_default(),
    };
    options.metapartition_files = MetaFiles {
        header: config.has_bit(Opt::MetapartitionFiles, "header"),
        index: config.has_bit(Opt::MetapartitionFiles, "index"),
        cache: config.has_bit(Opt::MetapartitionFiles, "cache"),
        annotations: config.has_bit(Opt::MetapartitionFiles, "annotations"),
        archive_cache: config.has_bit(Opt::MetapartitionFiles, "archivecache"),
        lock: config.has_bit(Opt::MetapartitionFiles, "lock"),
    };
    options.archiving = archiving(config);
    options.hashimapspool = config.switch(Opt::Hashimapspool);
    options.fulldirhash = config.switch(Opt::Fulldirhash);
    options.mailbox_legacy_dirs = config.switch(Opt::MailboxLegacyDirs);
    options.lock_path = config.file(Opt::MboxnameLockpath);
    options.databases = databases(config)?;
    options.expunge_mode = match config.choice(Opt::ExpungeMode) {
        "immediate" => ExpungeMode::Immediate,
        "semidelayed" => ExpungeMode::SemiDelayed,
        _ => ExpungeMode::Delayed,
    };
    options.delete_mode = match config.choice(Opt::DeleteMode) {
        "immediate" => DeleteMode::Immediate,
        _ => DeleteMode::Delayed,
    };
    options.deleted_prefix = config.string(Opt::Deletedprefix);
    options.conversations = config.switch(Opt::Conversations);
    options.conversation_limits = conversation_limits(config);
    options.quota_use_conversations = config.switch(Opt::QuotaUseConversations);
    options.statuscache = config.switch(Opt::Statuscache);
    options.reverseacls = config.switch(Opt::Reverseacls);
    options.deleteright = deleteright(config)?;
    options.acl_policy = Policy {
        implicit_owner_rights: rights(config, Opt::ImplicitOwnerRights, options.deleteright)?,
        acl_admin_implies_write: config.switch(Opt::AclAdminImpliesWrite),
    };
    options.mechanism = mechanism(config)?;
    options.default_acl = config.string(Opt::Defaultacl);
    options.default_domain = config.text(Opt::Defaultdomain).map(Into::into);
    options.virtdomains = config.choice(Opt::Virtdomains) != "off";
    options.unixhierarchysep = config.switch(Opt::Unixhierarchysep);
    options.singleinstancestore = config.switch(Opt::Singleinstancestore);
    options.duplicatesuppression = config.switch(Opt::Duplicatesuppression);
    options.max_message_size = config.bytesize(Opt::Maxmessagesize).unwrap_or_default();
    options.lmtp_strict_quota = config.switch(Opt::LmtpStrictQuota);
    options.autocreate = autocreate(config);
    options.sieve_dir = config
        .file(Opt::Sievedir)
        .filter(|_| !config.switch(Opt::Sieveusehomedir));
    options.allowallsubscribe = config.switch(Opt::Allowallsubscribe);
    options.allowsetacl = config.switch(Opt::Allowsetacl);
    options.anyoneuseracl = config.switch(Opt::Anyoneuseracl);
    options.specialuse_protect = config.words(Opt::SpecialuseProtect);
    options.specialuse_extra = config.words(Opt::SpecialuseExtra);
    options.specialuse_nochildren = config.words(Opt::SpecialuseNochildren);
    options.annotations = annotations(config)?;
    options.allowusermoves = config.switch(Opt::Allowusermoves);
    options.search = search(config)?;
    options.new_mailbox_options = u32::try_from(config.int(Opt::MailboxDefaultOptions)).unwrap_or(0);
    let keywords = config.words(Opt::MailboxInitialFlags);
    options.new_mailbox_keywords = keywords.iter().filter_map(|name| Keyword::new(name)).collect();
    options.max_messages = max_messages(config);
    options.lock_debug_time = config
        .text(Opt::LockDebugtime)
        .and_then(|seconds| seconds.trim().parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if config.switch(Opt::SyncLog) {
        options.sync_channels = sync_channels(config);
    }
    options.log = Arc::new(StoreLog);
    Ok(options)
}

/// How many messages mailboxes hold, by their kind; 0 is no limit.
fn max_messages(config: &Config) -> BTreeMap<MailboxKind, u32> {
    let limits = [
        (MailboxKind::Email, Opt::MailboxMaxmessagesEmail),
        (MailboxKind::Calendar, Opt::MailboxMaxmessagesCalendar),
        (MailboxKind::AddressBook, Opt::MailboxMaxmessagesAddressbook),
    ];
    let limits = limits.into_iter().filter_map(|(kind, option)| {
        let most = u32::try_from(config.int(option)).ok().filter(|&most| most > 0)?;
        Some((kind, most))
    });
    limits.collect()
}

/// Which indexes of texts there are. Cyrus's values other than `none` all mean those of this project.
fn search(config: &Config) -> Result<SearchOptions, SettingError> {
    let tier = config.string(Opt::Defaultsearchtier);
    let mut search = SearchOptions {
        engine: config.choice(Opt::SearchEngine) != "none",
        whitespace: search_whitespace(config),
        keep_diacritics: !config.switch(Opt::SearchSkipdiacrit),
        headers: config.switch(Opt::SearchIndexHeaders),
        html: !config.switch(Opt::SearchSkiphtml),
        ..SearchOptions::default()
    };
    if let Some(size) = config.bytesize(Opt::SearchMaxsize).filter(|&size| size > 0) {
        search.max_size = usize::try_from(size).unwrap_or(usize::MAX);
    }
    if let Ok(batch @ 1..) = usize::try_from(config.int(Opt::SearchBatchsize)) {
        search.batch = batch;
    }
    for (name, _) in config.partitions() {
        if let Some(root) = config.searchpartition(&tier, name) {
            search
                .roots
                .insert(partition(config, Opt::Defaultsearchtier, name)?, root.into());
        }
    }
    Ok(search)
}

fn search_whitespace(config: &Config) -> Whitespace {
    match config.choice(Opt::SearchWhitespace) {
        "skip" => Whitespace::Skip,
        "keep" => Whitespace::Keep,
        _ => Whitespace::Merge,
    }
}

/// The channels into whose logs changes are written: `""` is the one without a name.
pub fn sync_channels(config: &Config) -> Vec<String> {
    let words = config.words(Opt::SyncLogChannels);
    match words.is_empty() {
        true => vec![String::new()],
        false => words
            .into_iter()
            .map(|word| if word == "\"\"" { String::new() } else { word })
            .collect(),
    }
}

/// Which messages go to the archive partition.
fn archiving(config: &Config) -> Archiving {
    let policy = Archiving::default();
    Archiving {
        enabled: config.switch(Opt::ArchiveEnabled),
        after: config.seconds(Opt::ArchiveAfter).map_or(policy.after, |seconds| {
            u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
        }),
        max_size: config.bytesize(Opt::ArchiveMaxsize).unwrap_or(policy.max_size),
        keep_flagged: config.switch(Opt::ArchiveKeepflagged),
    }
}

/// What is made for users who have no INBOX.
fn autocreate(config: &Config) -> Autocreate {
    // Names between bars, and blanks around them.
    let names = |option| -> Vec<String> {
        let text = config.string(option);
        let names = text.split('|').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let limit = |number: i64| u64::try_from(number).ok().filter(|&limit| limit > 0);
    let storage = config.bytesize(Opt::AutocreateQuota);
    Autocreate {
        at_login: storage.is_some(),
        at_delivery: storage.is_some() && config.switch(Opt::AutocreatePost),
        users: config.words(Opt::AutocreateUsers),
        storage_kib: storage.map(|octets| octets / 1024).filter(|&limit| limit > 0),
        messages: limit(config.int(Opt::AutocreateQuotaMessages)),
        folders: names(Opt::AutocreateInboxFolders),
        subscribed: names(Opt::AutocreateSubscribeFolders),
        shared: names(Opt::AutocreateSubscribeSharedfolders),
        all_shared: config.switch(Opt::AutocreateSubscribeSharedfoldersAll),
        special_uses: config
            .folder_uses()
            .map(|(special_use, folder)| (folder.to_owned(), format!("\\{special_use}")))
            .collect(),
        acl: config.autocreate_acl(),
    }
}

/// Which annotations there may be.
fn annotations(config: &Config) -> Result<Definitions, SettingError> {
    let mut definitions = match config.file(Opt::AnnotationDefinitions) {
        None => Definitions::default(),
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let what = format!("{}: {error}", path.display());
                bad(config, Opt::AnnotationDefinitions, what)
            })?;
            Definitions::with_file(&text, &mut |complaint| {
                StoreLog.record(Level::Warning, format_args!("{}: {complaint}", path.display()));
            })
        }
    };
    definitions.allow_undefined = config.switch(Opt::AnnotationAllowUndefined);
    Ok(definitions)
}

fn partition(config: &Config, option: Opt, name: &str) -> Result<Partition, SettingError> {
    Partition::new(name).ok_or_else(|| {
        bad(
            config,
            option,
            format!("'{name}' is no partition name: letters and digits only"),
        )
    })
}

/// The engine of a database.
fn engine(config: &Config, option: Opt) -> Result<Engine, SettingError> {
    let name = config.choice(option);
    name.parse().map_err(|_| {
        bad(
            config,
            option,
            format!(
                "this build has no '{name}'; convert the file with cvt_cyrusdb to twoskip, skiplist or flat"
            ),
        )
    })
}

fn databases(config: &Config) -> Result<Databases, SettingError> {
    let engine = |option| engine(config, option);
    Ok(Databases {
        mboxlist: engine(Opt::MboxlistDb)?,
        mboxlist_path: config.file(Opt::MboxlistDbPath),
        annotation: engine(Opt::AnnotationDb)?,
        annotation_path: config.file(Opt::AnnotationDbPath),
        duplicate: engine(Opt::DuplicateDb)?,
        duplicate_path: config.file(Opt::DuplicateDbPath),
        statuscache: engine(Opt::StatuscacheDb)?,
        statuscache_path: config.file(Opt::StatuscacheDbPath),
        quota: engine(Opt::QuotaDb)?,
        quota_path: config.file(Opt::QuotaDbPath),
        seen: engine(Opt::SeenstateDb)?,
        mboxkey: engine(Opt::MboxkeyDb)?,
        userdeny: engine(Opt::UserdenyDb)?,
        userdeny_path: config.file(Opt::UserdenyDbPath),
        subscription: engine(Opt::SubscriptionDb)?,
        conversations: match config.switch(Opt::Conversations) {
            true => engine(Opt::ConversationsDb)?,
            false => Engine::Skiplist,
        },
    })
}

fn conversation_limits(config: &Config) -> ConversationLimits {
    let most = |option| usize::try_from(config.int(option)).unwrap_or_default();
    ConversationLimits {
        counted_flags: config.string(Opt::ConversationsCountedFlags),
        max_thread: u32::try_from(config.int(Opt::ConversationsMaxThread)).unwrap_or(u32::MAX),
        max_guid_records: most(Opt::ConversationsMaxGuidrecords),
        max_guid_exists: most(Opt::ConversationsMaxGuidexists),
        max_guid_in_folder: most(Opt::ConversationsMaxGuidinfolder),
    }
}

fn deleteright(config: &Config) -> Result<DeleteRight, SettingError> {
    let text = config.string(Opt::Deleteright);
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_alphabetic() => Ok(DeleteRight::new(letter)),
        _ => Err(bad(
            config,
            Opt::Deleteright,
            format!("'{text}' is not one letter"),
        )),
    }
}

fn rights(config: &Config, option: Opt, deleteright: DeleteRight) -> Result<Rights, SettingError> {
    Rights::parse(&config.string(option), deleteright).map_err(|error| bad(config, option, error.to_string()))
}

fn mechanism(config: &Config) -> Result<Arc<dyn Mechanism>, SettingError> {
    match config.choice(Opt::AuthMech) {
        "unix" => Ok(Arc::new(
            Unix::new()
                .group_enable(config.switch(Opt::UnixGroupEnable))
                .username_tolower(config.switch(Opt::UsernameTolower)),
        )),
        "krb5" => {
            let map = EquivalentsFile::new(PathBuf::from(config.string(Opt::KrbEquiv)));
            let krb5 = Krb5::new(kerberos::local_realm());
            Ok(Arc::new(krb5.with_equivalents(move || map.now())))
        }
        "pts" => Ok(Arc::new(Pts::new(pts(config)?, Arc::new(StoreLog)))),
        other => Err(bad(
            config,
            Opt::AuthMech,
            format!("this build has no '{other}', only unix, krb5 and pts"),
        )),
    }
}

/// Where ptloader and its database are.
fn pts(config: &Config) -> Result<PtsOptions, SettingError> {
    let mut options = PtsOptions::new(&config.configdirectory());
    options.engine = engine(config, Opt::PtscacheDb)?;
    options.lifetime = config.duration(Opt::PtscacheTimeout).unwrap_or_default();
    if let Some(path) = config.file(Opt::PtscacheDbPath) {
        options.database = path;
    }
    if let Some(path) = config.file(Opt::PtloaderSock) {
        options.socket = path;
    }
    Ok(options)
}

/// How names look to clients.
pub fn namespace(config: &Config) -> Namespace {
    Namespace {
        separator: match config.switch(Opt::Unixhierarchysep) {
            true => Separator::Slash,
            false => Separator::Dot,
        },
        altnamespace: config.switch(Opt::Altnamespace),
        userprefix: config.string(Opt::Userprefix),
        sharedprefix: config.string(Opt::Sharedprefix),
        altprefix: config.string(Opt::Altprefix),
        virtdomains: match config.choice(Opt::Virtdomains) {
            "off" => VirtualDomains::Off,
            _ => VirtualDomains::On,
        },
        defaultdomain: config.text(Opt::Defaultdomain).map(Into::into),
        ignorereference: config.switch(Opt::Ignorereference),
        hide_shared: config.switch(Opt::DisableSharedNamespace),
        hide_other_users: config.switch(Opt::DisableUserNamespace),
    }
}

/// The name of this server: `servername`, or the machine's.
pub fn servername(config: &Config) -> String {
    config
        .text(Opt::Servername)
        .map(Into::into)
        .or_else(|| nix::unistd::gethostname().ok()?.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Those who administer: userids of `admins`, as this service has it.
pub fn admins(config: &Config) -> Vec<String> {
    config.words(Opt::Admins)
}

/// The settings of an IMAP service; `tls` says whether it can offer STARTTLS.
pub fn imap(config: &Config, tls: bool) -> ImapOptions {
    let mut options = ImapOptions::new(servername(config));
    options.serverinfo = match config.choice(Opt::Serverinfo) {
        "off" => ServerInfo::Off,
        "min" => ServerInfo::Min,
        _ => ServerInfo::On,
    };
    options.version = cyrus_version();
    options.id_response = config.switch(Opt::Imapidresponse);
    options.admins = admins(config);
    options.allowplaintext = config.switch(Opt::Allowplaintext);
    options.allowanonymouslogin = config.switch(Opt::Allowanonymouslogin);
    options.starttls = tls;
    options.tls_required = config.switch(Opt::TlsRequired);
    options.submitservers = config.words(Opt::Submitservers);
    options.preview_annotation = preview_annotation(config);
    options.suppress_capabilities = config.words(Opt::SuppressCapabilities);
    options.literalminus = config.switch(Opt::Literalminus);
    options.timeout = config.duration(Opt::Timeout).unwrap_or(options.timeout);
    options.idle_timeout = config.duration(Opt::Imapidletimeout);
    options.idle_poll = config.duration(Opt::Imapidlepoll).unwrap_or_default();
    options.failedloginpause = config.duration(Opt::Failedloginpause).unwrap_or_default();
    options.plaintextloginpause = config.duration(Opt::Plaintextloginpause).unwrap_or_default();
    options.plaintextloginalert = config.text(Opt::Plaintextloginalert).map(Into::into);
    options.maxliteral = config.bytesize(Opt::Maxliteral).unwrap_or(options.maxliteral);
    options.maxmessagesize = config.bytesize(Opt::Maxmessagesize).unwrap_or_default();
    if let Some(limit) = config.bytesize(Opt::Maxargssize).filter(|&limit| limit > 0) {
        options.limits.command = usize::try_from(limit).unwrap_or(usize::MAX);
    }
    command_limits(config, &mut options);
    options.utf8_only = config.switch(Opt::Utf8Only);
    options.eight_bit_headers = eight_bit_headers(config);
    options.quotawarn = u8::try_from(config.int(Opt::Quotawarn).clamp(0, 100)).unwrap_or(90);
    let limit = |option| u32::try_from(config.int(option)).ok().filter(|&limit| limit > 0);
    options.message_limit = limit(Opt::Messagelimit).unwrap_or(options.message_limit);
    options.save_limit = limit(Opt::Savelimit).filter(|_| options.message_limit == u32::MAX);
    let room = |option| u64::try_from(config.int(option)).unwrap_or_default();
    options.quotawarn_kib = room(Opt::Quotawarnkb);
    options.quotawarn_messages = room(Opt::Quotawarnmsg);
    options.autoexpunge = config.switch(Opt::Autoexpunge);
    options.delete_unsubscribe = config.switch(Opt::DeleteUnsubscribe);
    options.readonly = config.switch(Opt::Readonly);
    options.chatty = config.switch(Opt::Chatty);
    options.slow_command = seconds(config, Opt::Commandmintimer);
    options.allowsetacl = config.switch(Opt::Allowsetacl);
    options.foolstupidclients = config.switch(Opt::Foolstupidclients);
    options.comparison.whitespace = search_whitespace(config);
    options.comparison.keep_diacritics = !config.switch(Opt::SearchSkipdiacrit);
    options.search_fuzzy_always = config.switch(Opt::SearchFuzzyAlways);
    options.search_maxtime = seconds(config, Opt::SearchMaxtime).filter(|limit| !limit.is_zero());
    options.specialusealways = config.switch(Opt::Specialusealways);
    options.annotation_legacy_commands = config.switch(Opt::AnnotationEnableLegacyCommands);
    options.allowallsubscribe = config.switch(Opt::Allowallsubscribe);
    options.namespace = namespace(config);
    options
}

/// What one command may hold, and one session have at work; nothing below 1 is a limit.
fn command_limits(config: &Config, options: &mut ImapOptions) {
    const LIMITS: [(Limit, Opt); 15] = [
        (Limit::SequenceRanges, Opt::ImapMaxSequenceRanges),
        (Limit::SearchKeys, Opt::ImapMaxSearchKeys),
        (Limit::SearchDepth, Opt::ImapMaxSearchDepth),
        (Limit::SortCriteria, Opt::ImapMaxSortCriteria),
        (Limit::FetchSections, Opt::ImapMaxFetchSections),
        (Limit::HeaderFields, Opt::ImapMaxHeaderFields),
        (Limit::PartDepth, Opt::ImapMaxPartDepth),
        (Limit::ListPatterns, Opt::ImapMaxListPatterns),
        (Limit::Mailboxes, Opt::ImapMaxMailboxes),
        (Limit::AnnotationEntries, Opt::ImapMaxAnnotationEntries),
        (Limit::AppendMessages, Opt::ImapMaxAppendMessages),
        (Limit::AppendParts, Opt::ImapMaxAppendParts),
        (Limit::Flags, Opt::ImapMaxFlags),
        (Limit::Urls, Opt::ImapMaxUrls),
        (Limit::Names, Opt::ImapMaxNames),
    ];
    let most = |option| usize::try_from(config.int(option)).ok().filter(|&most| most > 0);
    for (limit, option) in LIMITS {
        if let Some(most) = most(option) {
            options.command_limits.set(limit, most);
        }
    }
    for (limit, option) in [(Limit::Word, Opt::Maxword), (Limit::Quoted, Opt::Maxquoted)] {
        let octets = config.bytesize(option).filter(|&octets| octets > 0);
        if let Some(octets) = octets {
            let octets = usize::try_from(octets).unwrap_or(usize::MAX);
            options.command_limits.set(limit, octets);
        }
    }
    let set = |value: &mut usize, option| *value = most(option).unwrap_or(*value);
    set(&mut options.limits.line, Opt::ImapMaxLine);
    set(&mut options.limits.literals, Opt::ImapMaxLiterals);
    set(&mut options.max_notify_mailboxes, Opt::ImapMaxNotifyMailboxes);
    set(&mut options.max_searched_mailboxes, Opt::ImapMaxSearchedMailboxes);
    set(&mut options.max_updated_searches, Opt::ImapMaxUpdatedSearches);
    let bad = u32::try_from(config.int(Opt::ImapMaxBadCommands)).ok();
    options.max_bad_commands = bad.filter(|&most| most > 0).unwrap_or(options.max_bad_commands);
}

/// A STRING that is a number of seconds, with fractions.
fn seconds(config: &Config, option: Opt) -> Option<Duration> {
    let seconds: f64 = config.text(option)?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// `jmap_preview_annot`, without the `/shared` that it may begin with.
fn preview_annotation(config: &Config) -> Option<String> {
    let entry: String = config.text(Opt::JmapPreviewAnnot).map(Into::into)?;
    Some(entry.strip_prefix("/shared").map_or(entry.clone(), str::to_owned))
}

fn eight_bit_headers(config: &Config) -> EightBitHeaders {
    match (config.switch(Opt::Reject8bit), config.switch(Opt::Munge8bit)) {
        (true, _) => EightBitHeaders::Reject,
        (false, true) => EightBitHeaders::Munge,
        (false, false) => EightBitHeaders::Keep,
    }
}

/// The settings of an LMTP service. Who need not authenticate is for the caller to say.
pub fn lmtp(config: &Config, tls: bool) -> LmtpOptions {
    let mut options = LmtpOptions::new(&servername(config));
    options.version = (config.choice(Opt::Serverinfo) == "on").then(cyrus_version);
    options.max_message_size = config.bytesize(Opt::Maxmessagesize).unwrap_or_default();
    options.eight_bit_headers = eight_bit_headers(config);
    options.strict_addresses = config.switch(Opt::LmtpStrictRfc2821);
    options.soft_noauth = config.switch(Opt::SoftNoauth);
    options.starttls = tls;
    options.allow_plaintext = config.switch(Opt::Allowplaintext);
    options.timeout = config
        .duration(Opt::LmtptxnTimeout)
        .unwrap_or(Duration::from_secs(300));
    options
}

/// How addresses mean mailboxes.
pub fn delivery(config: &Config) -> DeliveryOptions {
    DeliveryOptions {
        submitters: admins(config),
        namespace: namespace(config),
        downcase: config.switch(Opt::LmtpDowncaseRcpt),
        postuser: config.string(Opt::Postuser),
        over_quota_is_permanent: config.switch(Opt::LmtpOverQuotaPermFailure),
        fuzzy: config.switch(Opt::LmtpFuzzyMailboxMatch),
        catchall: config.text(Opt::LmtpCatchallMailbox).map(Into::into),
        excluded_uses: config.words(Opt::LmtpExcludeSpecialuse),
        surroundings: None,
    }
}
