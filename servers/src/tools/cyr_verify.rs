//! `cyr_verify`: checks a store that is in use, changes nothing, and says which command puts right what it finds.

use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;

use cyrus_acl::AuthState;
use cyrus_store::{Cure, ErrorClass, MailboxError, MailboxName, Namespace, Store, Verified, Verify, Wrong};
use serde_json::json;

use super::progress::Progress;
use super::{BAD_USAGE, DATA_ERROR, TEMPORARY, enter, fatal, open_store};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
///
/// The exit code is 0 if nothing is wrong, 65 if something is, and 75 if something could not be looked at.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:Jqr:su") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_verify: {bad}");
            return usage();
        }
    };
    let rate = match line.argument('r').map(str::parse::<f64>) {
        None => None,
        Some(Ok(rate)) if rate > 0.0 && rate.is_finite() => Some((rate * MIB) as u64),
        Some(_) => {
            eprintln!("cyr_verify: -r: not a number of MiB a second");
            return usage();
        }
    };
    let config = match enter(line.argument('C'), "cyr_verify") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |options| options.recover_old_databases = false) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let mut tool = Tool {
        namespace: settings::namespace(&config),
        store,
        how: Verify {
            content: !line.has('s'),
            conversations: !line.has('s'),
            rate,
        },
        json: line.has('J'),
        quiet: line.has('q'),
        wrong: 0,
        failed: false,
        out,
    };
    if let Err(error) = tool.verify(&line) {
        return fatal(&error, TEMPORARY);
    }
    let _ = tool.out.flush();
    match (tool.failed, tool.wrong) {
        (true, _) => TEMPORARY,
        (false, 0) => 0,
        _ => DATA_ERROR,
    }
}

struct Tool<'o> {
    store: Store,
    namespace: Namespace,
    how: Verify,
    json: bool,
    quiet: bool,
    wrong: u64,
    failed: bool,
    out: &'o mut dyn Write,
}

impl Tool<'_> {
    fn verify(&mut self, line: &CommandLine) -> Result<(), MailboxError> {
        let whole = line.arguments.is_empty();
        if whole {
            self.part("databases", |store, _, each| store.verify_databases(each));
            self.part("quota roots", |store, _, each| store.verify_quotas(each));
            // Without a list there is nothing more to look at, and that has been told.
            for userid in self.store.users().unwrap_or_default() {
                self.part(&userid, |store, how, each| store.verify_user(&userid, how, each));
                self.store.forget_idle();
            }
        }
        let names = self.names(line)?;
        let mut progress = Progress::of("mailboxes", names.len() as u64, self.quiet);
        let mut all = Verified::default();
        for name in &names {
            self.part(name.as_str(), |store, how, each| {
                match store.verify_mailbox(name, how, each) {
                    Ok(verified) => {
                        all.messages += verified.messages;
                        all.octets += verified.octets;
                        Ok(())
                    }
                    // Deleted while the others were looked at.
                    Err(MailboxError::NotFound) => Ok(()),
                    Err(error) => Err(error),
                }
            });
            self.store.forget_idle();
            progress.step();
        }
        self.summary(names.len(), all);
        Ok(())
    }

    /// The mailboxes that the arguments name, and those below them; without arguments, all.
    fn names(&self, line: &CommandLine) -> Result<Vec<MailboxName>, MailboxError> {
        let mut tops = Vec::new();
        for argument in &line.arguments {
            let top = match line.has('u') {
                true => self.namespace.inbox(argument),
                false => self.namespace.to_internal(argument, None, true),
            };
            tops.push(top.map_err(MailboxError::BadName)?);
        }
        let mut names = Vec::new();
        let listed = self.store.list("", &AuthState::system(), &mut |entry, _| {
            let is_wanted = tops.is_empty()
                || tops
                    .iter()
                    .any(|top| entry.name == *top || top.is_ancestor_of(&entry.name));
            if is_wanted && !entry.mbtype.remote {
                names.push(entry.name);
            }
            ControlFlow::Continue(())
        });
        match listed {
            Err(MailboxError::Db(_)) if self.wrong > 0 => {}
            listed => listed?,
        }
        for (argument, top) in line.arguments.iter().zip(&tops) {
            if !names.iter().any(|name| name == top || top.is_ancestor_of(name)) {
                eprintln!("{argument}: no such mailbox");
            }
        }
        Ok(names)
    }

    fn part(
        &mut self,
        what: &str,
        part: impl FnOnce(&Store, &Verify, &mut dyn FnMut(Wrong)) -> Result<(), MailboxError>,
    ) {
        let (out, namespace, json) = (&mut *self.out, &self.namespace, self.json);
        let wrong = &mut self.wrong;
        let done = part(&self.store, &self.how, &mut |found| {
            *wrong += 1;
            let _ = match json {
                true => writeln!(out, "{}", as_json(&found, namespace)),
                false => writeln!(out, "{}", as_text(&found, namespace)),
            };
        });
        if let Err(error) = done {
            match error.class() {
                ErrorClass::Damaged => self.wrong += 1,
                ErrorClass::Impossible | ErrorClass::System => self.failed = true,
            }
            eprintln!("{what}: {error}");
        }
    }

    fn summary(&mut self, mailboxes: usize, all: Verified) {
        let (messages, octets, wrong) = (all.messages, all.octets, self.wrong);
        let _ = match self.json {
            true => writeln!(
                self.out,
                "{}",
                json!({"mailboxes": mailboxes, "messages": messages, "octets": octets, "problems": wrong})
            ),
            false if self.quiet && wrong == 0 => Ok(()),
            false => writeln!(
                self.out,
                "{mailboxes} mailboxes, {messages} messages, {octets} octets read: {wrong} problems"
            ),
        };
    }
}

/// The command that puts something right.
fn command(found: &Wrong, namespace: &Namespace) -> String {
    let mailbox = || match &found.mailbox {
        Some(name) => format!("'{}'", namespace.to_client(name, None, true)),
        None => String::new(),
    };
    match &found.cure {
        Cure::Reconstruct => format!("reconstruct {}", mailbox()),
        Cure::ReconstructAll => format!("reconstruct -G {}", mailbox()),
        Cure::Quota => "quota -f".to_owned(),
        Cure::Conversations(userid) => format!("ctl_conversationsdb -R '{userid}'"),
        Cure::Everything => "reconstruct --everything".to_owned(),
    }
}

fn as_text(found: &Wrong, namespace: &Namespace) -> String {
    let at = found.at.map(|at| format!(" at byte {at}")).unwrap_or_default();
    format!(
        "{}: {}{at}; run `{}`",
        found.path.display(),
        found.what,
        command(found, namespace)
    )
}

fn as_json(found: &Wrong, namespace: &Namespace) -> serde_json::Value {
    let mailbox = found
        .mailbox
        .as_ref()
        .map(|name| namespace.to_client(name, None, true));
    json!({
        "mailbox": mailbox,
        "path": found.path.display().to_string(),
        "at": found.at,
        "problem": found.what,
        "command": command(found, namespace),
    })
}

fn usage() -> u8 {
    eprint!("{USAGE}");
    BAD_USAGE
}

const MIB: f64 = 1_048_576.0;

const USAGE: &str = "Usage: cyr_verify [OPTIONS] [mailbox...]
Checks databases, quotas, files of users and mailboxes, or the mailboxes named and those below them, and changes nothing.
The server may be at work meanwhile.

-C <config-file>   use <config-file> instead of config from imapd.conf
-s                 structure only: do not read messages, nor count conversations
-r <MiB>           read no more than so many MiB of messages a second
-J                 one JSON object a problem, and one at the end
-q                 no progress, and no summary if all is well
-u                 give usernames instead of mailbox names

Exit code: 0 nothing is wrong, 65 something is, 75 something could not be looked at.
";
