//! `cyr_acl explain`: why a user has the rights that he has on a mailbox: entries, groups and implicit rights.
//!
//! Cyrus has no such tool. The rules are those of the service that `-s` names, `imap` by default: its `admins`, its `auth_mech`.

use std::ffi::OsString;
use std::io::Write;

use cyrus_acl::{AuthState, Explanation, Identifier, Membership, Reason};
use cyrus_store::{MailboxName, Namespace, Store};
use serde_json::{Value, json};

use super::{BAD_USAGE, DATA_ERROR, TEMPORARY, enter, fatal, open_store};
use crate::getopt;
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:js:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_acl: {bad}");
            return usage();
        }
    };
    let [command, mailbox, user] = line.arguments.as_slice() else {
        return usage();
    };
    if command != "explain" {
        return usage();
    }
    let config = match enter(line.argument('C'), line.argument('s').unwrap_or("imap")) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let namespace = settings::namespace(&config);
    let auth = match person(&store, user, &settings::admins(&config)) {
        Ok(auth) => auth,
        Err(reason) => return fatal(&format!("{user}: {reason}"), DATA_ERROR),
    };
    let name = match named(&namespace, mailbox, &auth) {
        Ok(name) => name,
        Err(reason) => return fatal(&reason, DATA_ERROR),
    };
    let entry = match store.lookup(&name) {
        Ok(Some(entry)) => entry,
        Ok(None) => return fatal(&format!("{mailbox}: there is no such mailbox"), DATA_ERROR),
        Err(error) => return fatal(&error, TEMPORARY),
    };
    let shown = namespace.to_client(&entry.name, None, true);
    let explanation = store.explain_rights(&entry, &auth);
    let written = match line.has('j') {
        true => writeln!(out, "{:#}", as_json(&shown, &auth, &explanation)),
        false => write!(out, "{shown}\n{}{explanation}", groups(&auth)),
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(error) => fatal(&error, TEMPORARY),
    }
}

/// Who is asked about, with his groups and powers as at a login.
fn person(store: &Store, user: &str, admins: &[String]) -> Result<AuthState, String> {
    let auth = match user {
        Identifier::ANONYMOUS => AuthState::anonymous(),
        user => store.auth(user).map_err(|error| error.to_string())?,
    };
    let admin = auth.is_one_of(admins);
    Ok(auth.with_admin(admin))
}

/// The mailbox as administrators name it; `INBOX` and what is below it are the user's.
fn named(namespace: &Namespace, mailbox: &str, auth: &AuthState) -> Result<MailboxName, String> {
    let separator = namespace.separator.as_char();
    let is_own = mailbox
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("inbox"))
        && mailbox
            .get(5..)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(separator));
    let name = match is_own {
        true => namespace.to_internal(mailbox, Some(auth.userid()), false),
        false => namespace.to_internal(mailbox, None, true),
    };
    name.map_err(|error| format!("{mailbox}: {error}"))
}

/// The line about groups.
fn groups(auth: &AuthState) -> String {
    match auth.groups().len() {
        0 => format!("{} is in no group\n", auth.userid()),
        _ => format!(
            "{} is in {}\n",
            auth.userid(),
            auth.groups().collect::<Vec<_>>().join(", ")
        ),
    }
}

fn as_json(mailbox: &str, auth: &AuthState, explanation: &Explanation) -> Value {
    json!({
        "mailbox": mailbox,
        "user": explanation.userid,
        "groups": auth.groups().collect::<Vec<_>>(),
        "rights": explanation.rights.to_string(),
        "reasons": explanation.reasons.iter().map(reason).collect::<Vec<_>>(),
    })
}

fn reason(reason: &Reason) -> Value {
    let because = |membership: &Membership| match membership {
        Membership::Everybody => "everybody",
        Membership::Himself => "user",
        Membership::Group => "group",
    };
    match reason {
        Reason::Granted {
            identifier,
            rights,
            because: how,
        } => json!({
            "kind": "granted", "identifier": identifier.as_str(), "rights": rights.to_string(), "because": because(how)
        }),
        Reason::Denied {
            identifier,
            rights,
            because: how,
        } => json!({
            "kind": "denied", "identifier": identifier.as_str(), "rights": rights.to_string(), "because": because(how)
        }),
        Reason::ImpliedByAdmin(rights) => json!({"kind": "implied by a", "rights": rights.to_string()}),
        Reason::Owner(rights) => json!({"kind": "owner", "rights": rights.to_string()}),
        Reason::Administrator(rights) => json!({"kind": "administrator", "rights": rights.to_string()}),
        Reason::System(rights) => json!({"kind": "system", "rights": rights.to_string()}),
        Reason::Deleted => json!({"kind": "deleted"}),
        Reason::NotApplicable { identifier } => {
            json!({"kind": "not applicable", "identifier": identifier.as_str()})
        }
        other => json!({"kind": format!("{other:?}")}),
    }
}

fn usage() -> u8 {
    eprint!("{TEXT}");
    BAD_USAGE
}

const TEXT: &str = "\
Usage:
    cyr_acl [options] explain mailbox user

Says which rights the user has on the mailbox, and each reason: entries of its list, groups, rights that go without saying.
The mailbox is written as administrators write it; INBOX is the user's own.

Options:
    -C alt_config  use alternate imapd.conf file
    -j             write JSON
    -s service     as the service of this name sees it (default: imap)
";
