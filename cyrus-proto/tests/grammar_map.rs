//! `docs/GRAMMAR.md` tells the truth: every function it names is there, and every rule of RFC 9051 has one.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rules of RFC 9051, section 9, in its order.
const RFC_9051: &str = "SP CTL CRLF ALPHA DIGIT DQUOTE OCTET address addr-adl addr-host addr-mailbox addr-name append append-uid \
    astring ASTRING-CHAR atom ATOM-CHAR atom-specials authenticate auth-type base64 base64-char base64-terminal body \
    body-extension body-ext-1part body-ext-mpart body-fields body-fld-desc body-fld-dsp body-fld-enc body-fld-id \
    body-fld-lang body-fld-loc body-fld-lines body-fld-md5 body-fld-octets body-fld-param body-type-1part body-type-basic \
    body-type-mpart body-type-msg body-type-text capability capability-data CHAR CHAR8 charset childinfo-extended-item \
    child-mbox-flag command command-any command-auth command-nonauth command-select continue-req copy create date date-day \
    date-day-fixed date-month date-text date-year date-time delete digit-nz eitem-standard-tag eitem-vendor-tag enable \
    enable-data envelope env-bcc env-cc env-date env-from env-in-reply-to env-message-id env-reply-to env-sender \
    env-subject env-to esearch-response examine fetch fetch-att flag flag-extension flag-fetch flag-keyword flag-list \
    flag-perm greeting header-fld-name header-list idle initial-resp list list-mailbox list-char list-return-opt \
    list-return-opts list-select-base-opt list-select-base-opt-quoted list-select-independent-opt list-select-mod-opt \
    list-select-opt list-select-opts list-wildcards literal literal8 login mailbox mailbox-data mailbox-list \
    mbox-list-extended mbox-list-extended-item mbox-list-extended-item-tag mbox-or-pat mbx-list-flags mbx-list-oflag \
    mbx-list-sflag media-basic media-message media-subtype media-text message-data move msg-att msg-att-dynamic \
    msg-att-static name-component namespace namespace-command namespace-descr namespace-response-extensions \
    namespace-response-extension namespace-response nil nstring number number64 nz-number nz-number64 \
    obsolete-flag-recent obsolete-recent-response obsolete-search-response oldname-extended-item option-extension \
    option-standard-tag option-val-comp option-value option-vendor-tag partial-range partial password patterns quoted \
    QUOTED-CHAR quoted-specials rename response response-data response-done response-fatal response-tagged \
    resp-code-apnd resp-code-copy resp-cond-auth resp-cond-bye resp-cond-state resp-specials resp-text resp-text-code \
    return-option search search-correlator search-key search-modifier-name search-mod-params search-program \
    search-ret-data-ext search-return-data search-return-opts search-return-opt search-ret-opt-ext search-return-value \
    section section-binary section-msgtext section-part section-spec section-text select seq-number seq-range \
    sequence-set seq-last-command status status-att status-att-val status-att-list status-option store store-att-flags \
    string subscribe tag tag-string tagged-ext-label tagged-label-fchar tagged-label-char tagged-ext-comp \
    tagged-ext-simple tagged-ext-val text TEXT-CHAR time uid uid-expunge uid-set uid-range uniqueid unsubscribe userid \
    UTF8-CHAR UTF8-2 UTF8-3 UTF8-4 vendor-token zone";

/// One row: the rules as they are written, the function, the file.
struct Row {
    rules: String,
    function: String,
    file: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of all tables, and how many of them stand before the extensions.
fn rows() -> (Vec<Row>, usize) {
    let text = fs::read_to_string(root().join("docs/GRAMMAR.md")).expect("docs/GRAMMAR.md");
    let mut rows = Vec::new();
    let mut base = 0;
    for line in text.lines() {
        if line.starts_with("## Extensions: commands") {
            base = rows.len();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", rules, function, file, ""] = cells[..]
            && let Some(function) = function
                .strip_prefix('`')
                .and_then(|function| function.strip_suffix('`'))
        {
            rows.push(Row {
                rules: rules.to_owned(),
                function: function.to_owned(),
                file: file.to_owned(),
            });
        }
    }
    (rows, base)
}

#[test]
fn every_function_of_the_table_is_in_its_file() {
    let (rows, base) = rows();
    assert!(base > 50 && rows.len() > base + 50, "tables were not found");
    for row in rows {
        let near = root().join("cyrus-proto/src/imap").join(&row.file);
        let path = if near.is_file() {
            near
        } else {
            root().join(&row.file)
        };
        let code = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", row.file));
        let is_there = [format!("fn {}(", row.function), format!("fn {}<", row.function)]
            .iter()
            .any(|head| code.contains(head));
        assert!(is_there, "no fn {} in {}", row.function, row.file);
    }
}

#[test]
fn every_rule_of_rfc_9051_has_a_line() {
    let (rows, base) = rows();
    let listed: Vec<&str> = rows[..base]
        .iter()
        .flat_map(|row| row.rules.split(", "))
        .collect();
    let rules: HashSet<&str> = RFC_9051.split_whitespace().collect();
    let missing: Vec<&&str> = rules.iter().filter(|rule| !listed.contains(rule)).collect();
    assert!(missing.is_empty(), "without a line: {missing:?}");
    let unknown: Vec<&&str> = listed.iter().filter(|rule| !rules.contains(*rule)).collect();
    assert!(unknown.is_empty(), "no rules of RFC 9051: {unknown:?}");
    let unique: HashSet<&str> = listed.iter().copied().collect();
    assert_eq!(unique.len(), listed.len(), "a rule has two lines");
}
