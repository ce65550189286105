//! `quota`: limits and usage of quota roots, and with `-f` their correction.

use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use cyrus_store::{MailboxError, Namespace, Quota, QuotaFault, QuotaRoot, Resource, Store};
use serde_json::json;

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt::{self, CommandLine};
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:d:fqJnu") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("quota: {bad}");
            return usage();
        }
    };
    let config = match enter(line.argument('C'), "quota") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let tool = Tool {
        namespace: settings::namespace(&config),
        store,
    };
    match tool.run(&line, out) {
        Ok(true) => 0,
        Ok(false) => TEMPORARY,
        Err(error) => fatal(&error, TEMPORARY),
    }
}

struct Tool {
    store: Store,
    namespace: Namespace,
}

impl Tool {
    /// Whether everything could be looked at.
    fn run(&self, line: &CommandLine, out: &mut dyn Write) -> Result<bool, MailboxError> {
        let prefixes = self.prefixes(line)?;
        let mut whole = true;
        if line.has('f') {
            let roots = self.roots(&prefixes)?;
            let mut progress = Progress::new(roots.len());
            for (root, _) in &roots {
                progress.next();
                match self.store.fix_quota_root(root, line.has('n')) {
                    Ok(faults) => faults.iter().for_each(|fault| {
                        let _ = writeln!(out, "{}", self.describe(fault));
                    }),
                    Err(error) => {
                        whole = false;
                        eprintln!("{}: {error}", self.shown(root));
                    }
                }
                self.store.forget_idle();
            }
            if line.has('q') {
                return Ok(whole);
            }
        }
        let roots = self.roots(&prefixes)?;
        if line.has('J') {
            self.print_json(&roots, out);
        } else {
            self.print(&roots, out);
        }
        Ok(whole)
    }

    /// The beginnings of the internal names of the wanted roots.
    fn prefixes(&self, line: &CommandLine) -> Result<Vec<String>, MailboxError> {
        let mut prefixes = Vec::new();
        for argument in &line.arguments {
            let name = match line.has('u') {
                true => self.namespace.inbox(argument),
                false => self.namespace.to_internal(argument, None, true),
            };
            prefixes.push(name.map_err(MailboxError::BadName)?.to_string());
        }
        if let Some(domain) = line.argument('d') {
            let domain = format!("{domain}!");
            prefixes.retain(|prefix| prefix.starts_with(&domain));
            if line.arguments.is_empty() {
                prefixes.push(domain);
            }
        } else if line.arguments.is_empty() {
            prefixes.push(String::new());
        }
        Ok(prefixes)
    }

    fn roots(&self, prefixes: &[String]) -> Result<Vec<(QuotaRoot, Quota)>, MailboxError> {
        let mut roots = Vec::new();
        for prefix in prefixes {
            self.store.quota_roots(prefix, &mut |root, quota| {
                roots.push((root, quota));
                ControlFlow::Continue(())
            })?;
        }
        roots.sort_by(|(one, _), (other, _)| one.cmp(other));
        roots.dedup_by(|(one, _), (other, _)| one == other);
        Ok(roots)
    }

    /// A root as administrators write it.
    fn shown(&self, root: &QuotaRoot) -> String {
        match root.mailbox() {
            Some(name) => self.namespace.to_client(&name, None, true),
            None => root.to_string(),
        }
    }

    fn describe(&self, fault: &QuotaFault) -> String {
        let name = |root: &Option<String>| root.clone().unwrap_or_else(|| "(none)".to_owned());
        match fault {
            QuotaFault::Root { mailbox, was, now } => {
                format!("{mailbox}: quota root {} --> {}", name(was), name(now))
            }
            QuotaFault::Usage {
                root,
                resource,
                was,
                now,
            } => format!("{root}: {} usage was {was}, now {now}", resource.imap_name()),
        }
    }

    fn print(&self, roots: &[(QuotaRoot, Quota)], out: &mut dyn Write) {
        let _ = writeln!(out, "   Quota   % Used     Used             Resource Root");
        for (root, quota) in roots {
            for resource in Resource::ALL {
                let unit = resource.unit();
                let used = quota.used(resource) / unit;
                let limit = match quota.limit(resource) {
                    Some(limit) => {
                        let percent = used.saturating_mul(100).checked_div(limit);
                        format!(" {limit:7} {:8}", percent.unwrap_or(0))
                    }
                    None => " ".repeat(17),
                };
                let _ = writeln!(
                    out,
                    "{limit} {used:8} {:>20} {}",
                    resource.imap_name(),
                    self.shown(root)
                );
            }
        }
    }

    /// JSON in the order of Cyrus, which an object of `serde_json` would not keep.
    fn print_json(&self, roots: &[(QuotaRoot, Quota)], out: &mut dyn Write) {
        let roots: Vec<String> = roots
            .iter()
            .map(|(root, quota)| {
                let resources = Resource::ALL.map(|resource| {
                    let mut text = format!("      \"used\": {}", quota.used(resource));
                    if let Some(limit) = quota.limit(resource) {
                        let limit = limit.saturating_mul(resource.unit());
                        text.push_str(&format!(",\n      \"limit\": {limit}"));
                    }
                    format!("    \"{}\": {{\n{text}\n    }}", resource.imap_name())
                });
                format!(
                    "  {}: {{\n{}\n  }}",
                    json!(self.shown(root)),
                    resources.join(",\n")
                )
            })
            .collect();
        let _ = match roots.is_empty() {
            true => writeln!(out, "{{}}"),
            false => writeln!(out, "{{\n{}\n}}", roots.join(",\n")),
        };
    }
}

/// How far it is, told on stderr once a second where it takes longer.
struct Progress {
    done: usize,
    of: usize,
    begun: Instant,
    told: Instant,
}

impl Progress {
    fn new(of: usize) -> Self {
        let now = Instant::now();
        Self {
            done: 0,
            of,
            begun: now,
            told: now,
        }
    }

    /// Another one begins.
    fn next(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.told) >= Duration::from_secs(1) {
            self.told = now;
            eprintln!("{}", self.text(now.duration_since(self.begun)));
        }
        self.done += 1;
    }

    fn text(&self, taken: Duration) -> String {
        let rate = self.done as f64 / taken.as_secs_f64().max(0.001);
        let left = self.of.saturating_sub(self.done) as f64 / rate.max(0.001);
        format!(
            "quota: {} of {} quota roots, {rate:.1} a second, {left:.0} seconds left",
            self.done, self.of
        )
    }
}

fn usage() -> u8 {
    eprintln!("usage: quota [-C <alt_config>] [-d <domain>] [-f] [-q] [-J] [-n] [-u] [mailbox-spec]...");
    BAD_USAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_a_rate_and_an_end() {
        let progress = Progress {
            done: 20,
            ..Progress::new(100)
        };
        let text = progress.text(Duration::from_secs(2));
        assert_eq!(
            text,
            "quota: 20 of 100 quota roots, 10.0 a second, 8 seconds left"
        );
    }
}
