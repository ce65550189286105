use super::spec::{ALWAYS_SO, LATER, OWN};
use super::*;

fn load(text: &str, service: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("imapd.conf");
    std::fs::write(&path, format!("configdirectory: /var/imap\n{text}")).unwrap();
    Config::load(&path, service)
}

fn error_of(text: &str) -> String {
    load(text, "imap").unwrap_err().to_string()
}

#[test]
fn the_table_is_in_the_order_of_its_ids_and_its_defaults_parse() {
    let of_cyrus = OPTIONS
        .iter()
        .filter(|spec| ![LATER, OWN].contains(&spec.changed));
    assert_eq!(of_cyrus.count(), 526);
    for (at, spec) in OPTIONS.iter().enumerate() {
        assert_eq!(spec.id as usize, at);
        assert_eq!(Opt::named(spec.name), Some(spec.id));
        match (spec.kind, Value::default_of(spec.kind)) {
            (Kind::Time(text, _), Value::Seconds(seconds)) => {
                assert_eq!(text.is_some(), seconds.is_some(), "{}", spec.name)
            }
            (Kind::Word(Some(word), words), _) => assert!(words.contains(&word), "{}", spec.name),
            (Kind::Choice(at, words), _) => assert!(usize::from(at) < words.len(), "{}", spec.name),
            _ => {}
        }
    }
}

#[test]
fn defaults_are_those_of_cyrus_3_6() {
    let config = load("", "imap").unwrap();
    assert!(config.switch(Opt::Altnamespace));
    assert!(config.switch(Opt::Unixhierarchysep));
    assert_eq!(config.choice(Opt::ExpungeMode), "delayed");
    assert_eq!(config.choice(Opt::QuotaDb), "quotalegacy");
    assert_eq!(config.duration(Opt::Timeout), Some(Duration::from_secs(32 * 60)));
    assert_eq!(config.duration(Opt::Popexpiretime), None);
    assert_eq!(config.bytesize(Opt::SieveMaxscriptsize), Some(32 * 1024));
    assert_eq!(config.bytesize(Opt::AutocreateQuota), None);
    assert_eq!(config.string(Opt::Umask), "077");
    assert_eq!(config.text(Opt::Servername), None);
    assert_eq!(config.string(Opt::Lmtpsocket), "/var/imap/socket/lmtp");
    assert_eq!(config.proc_directory(), Path::new("/var/imap/proc"));
    assert!(config.reports().is_empty());
}

#[test]
fn a_service_has_its_own_settings_and_they_win_in_either_order() {
    for text in [
        "imap_timeout: 2m\ntimeout: 1m\n",
        "timeout: 1m\nimap_timeout: 2m\n",
    ] {
        assert_eq!(load(text, "imap").unwrap().seconds(Opt::Timeout), Some(120));
        assert_eq!(load(text, "imaps").unwrap().seconds(Opt::Timeout), Some(60));
    }
    let config = load(
        "lmtp_admins: mta\nadmins: root\nsasl_mech_list: PLAIN\nlmtp_sasl_mech_list: LOGIN\n",
        "lmtp",
    )
    .unwrap();
    assert_eq!(config.words(Opt::Admins), ["mta"]);
    assert_eq!(
        config.sasl_options().collect::<Vec<_>>(),
        [("mech_list", "LOGIN")]
    );
    assert!(config.reports().is_empty());
}

#[test]
fn partitions_are_found_by_name() {
    let config = load(
        "defaultpartition: Main\npartition-main: /spool\nmetapartition-main: /meta\n",
        "imap",
    )
    .unwrap();
    assert_eq!(config.string(Opt::Defaultpartition), "main");
    assert_eq!(config.partition("main"), Some(Path::new("/spool")));
    assert_eq!(config.metapartition("main"), Some(Path::new("/meta")));
    assert_eq!(config.partitions().count(), 1);
    config.require_partitions().unwrap();
    let config = load("defaultpartition: other\npartition-main: /spool\n", "imap").unwrap();
    assert!(
        config
            .require_partitions()
            .unwrap_err()
            .to_string()
            .contains("partition-other is not set")
    );
}

#[test]
fn a_wrong_type_is_an_error_with_file_line_and_hint() {
    for (text, message) in [
        (
            "allowplaintext: maybe\n",
            "imapd.conf:2: allowplaintext: 'maybe' is not a switch",
        ),
        ("timeout: 3q\n", "imapd.conf:2: timeout: '3q' is not a duration"),
        (
            "maxheaderlines: many\n",
            "imapd.conf:2: maxheaderlines: 'many' is not a whole number",
        ),
        ("expunge_mode: imediate\n", "did you mean 'immediate'?"),
        (
            "mboxlist_db: berkeley\n",
            "'berkeley' is none of: flat, skiplist, sql, twoskip, zeroskip",
        ),
        ("metapartition_files: header inde\n", "did you mean 'index'?"),
        ("imap_timeout: 3q\n", "imapd.conf:2: imap_timeout: '3q'"),
        (
            "admins: a\nadmins: b\n",
            "imapd.conf:3: admins is already set in ",
        ),
        (
            "defaultpartition: de-fault\n",
            "imapd.conf:2: defaultpartition: 'de-fault'",
        ),
    ] {
        let error = error_of(text);
        assert!(error.contains(message), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("imapd.conf");
    std::fs::write(&path, "admins: x\n").unwrap();
    assert!(matches!(
        Config::load(&path, "imap"),
        Err(ConfigError::NoConfigDirectory { .. })
    ));
}

#[test]
fn enumerations_with_on_and_off_take_every_spelling_of_a_switch() {
    assert_eq!(
        load("virtdomains: yes\n", "imap")
            .unwrap()
            .choice(Opt::Virtdomains),
        "on"
    );
    assert_eq!(
        load("serverinfo: 0\n", "imap").unwrap().choice(Opt::Serverinfo),
        "off"
    );
    assert!(error_of("delete_mode: yes\n").contains("'on' is none of: immediate, delayed"));
}

#[test]
fn unknown_names_are_reported_with_a_suggestion() {
    let config = load(
        "allow_plaintext: yes\nimap_timeuot: 1m\npop3_poptimeout: 20m\nfoo: 1\n",
        "imap",
    )
    .unwrap();
    let reports: Vec<_> = config.reports().iter().map(ToString::to_string).collect();
    assert_eq!(reports.len(), 3, "{reports:?}");
    assert!(
        reports[0].ends_with(
            "imapd.conf:2: unknown option allow_plaintext is ignored; did you mean allowplaintext?"
        )
    );
    assert!(reports[1].ends_with("imapd.conf:5: unknown option foo is ignored"));
    assert!(reports[2].ends_with("did you mean imap_timeout?"));
}

#[test]
fn a_deprecated_option_hands_its_value_to_its_successor() {
    let config = load(
        "tls_cert_file: /cert\ntls_key_file: /old\ntls_server_key: /new\n",
        "imap",
    )
    .unwrap();
    assert_eq!(config.string(Opt::TlsServerCert), "/cert");
    assert_eq!(config.string(Opt::TlsServerKey), "/new");
    let reports: Vec<_> = config.reports().iter().map(ToString::to_string).collect();
    assert!(
        reports[0].ends_with("tls_cert_file is deprecated since version 2.5.0; set tls_server_cert instead")
    );
    assert!(reports[1].ends_with("tls_key_file is ignored: its successor tls_server_key is set as well"));
}

#[test]
fn options_of_capabilities_that_are_missing_are_reported_once_when_set() {
    let config = load("conversations: yes\nsieve_maxscripts: 5\nsync_host: x\n", "imap").unwrap();
    let not_built: Vec<_> = config
        .reports()
        .iter()
        .filter_map(|report| match report {
            Report::NotBuilt { option, .. } => Some(option.name()),
            _ => None,
        })
        .collect();
    let expected: Vec<_> = [Opt::Conversations, Opt::SyncHost]
        .into_iter()
        .filter(|option| !option.spec().area.is_built())
        .map(Opt::name)
        .collect();
    assert_eq!(not_built, expected);
}

#[test]
fn the_words_of_a_bitfield_are_bits_and_old_words_count_as_the_new_ones() {
    let config = load(
        "metapartition_files: index header\nsieve_extensions: fileinto imapflags\n",
        "imap",
    )
    .unwrap();
    assert!(config.has_bit(Opt::MetapartitionFiles, "header"));
    assert!(!config.has_bit(Opt::MetapartitionFiles, "cache"));
    assert!(config.has_bit(Opt::SieveExtensions, "imap4flags"));
    assert!(
        config
            .reports()
            .iter()
            .any(|report| report.to_string().contains("write 'imap4flags' instead"))
    );
}

#[test]
fn a_value_may_begin_with_the_state_directory() {
    let config = load(
        "idlesocket: {configdirectory}/idle\nproc_path: {configdirectory}/run\n",
        "imap",
    )
    .unwrap();
    assert_eq!(config.string(Opt::Idlesocket), "/var/imap/idle");
    assert_eq!(config.proc_directory(), Path::new("/var/imap/run"));
}

/// The text of every source file of this crate but the table of options.
fn sources() -> String {
    fn collect(folder: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if !path.ends_with("config/options.rs") && !path.ends_with("config/spec.rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    collect(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut text,
    );
    text
}

#[test]
fn every_option_is_obeyed_or_reported() {
    let sources = sources();
    for spec in OPTIONS
        .iter()
        .filter(|spec| spec.area.is_built() && spec.deprecated.is_none())
    {
        let mention = format!("Opt::{:?}", spec.id);
        let is_read = sources.match_indices(&mention).any(|(at, _)| {
            let after = sources[at + mention.len()..].chars().next();
            !after.is_some_and(|c| c.is_ascii_alphanumeric())
        });
        let is_obeyed = is_read || ALWAYS_SO.contains(&spec.id);
        assert_eq!(is_obeyed, spec.id.is_obeyed(), "{}", spec.name);
    }
}
