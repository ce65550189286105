//! `--everything` (`-A`): the whole site, in the order in which one thing is needed for the next.
//!
//! Databases first, then the mailbox list, then header and index files that lie in wrong places, quota roots and the files
//! of users, then the mailboxes, and at last what is counted from them: conversations and usage.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cyrus_acl::AuthState;
use cyrus_store::{ErrorClass, MailboxError, Outcome, QuotaRoot, Repair, SameId};

use super::super::databases::of_server;
use super::super::progress::Progress;
use super::Tool;
use crate::config::Config;
use crate::getopt::CommandLine;

/// What became of files beside mailboxes.
#[derive(Default)]
struct Repairs {
    kept: u32,
    rebuilt: u32,
    lost: u32,
    /// Whether the mailbox list had to be salvaged.
    list: bool,
}

impl Tool<'_> {
    pub(super) fn everything(&mut self, config: &Config, line: &CommandLine) -> Result<(), MailboxError> {
        let dry_run = self.how.dry_run;
        let mut repairs = Repairs::default();
        self.step(&mut repairs, |store, tell| store.repair_databases(dry_run, tell));
        for database in of_server(config) {
            if let Some(engine) = database.engine {
                self.step(&mut repairs, |store, tell| {
                    store.repair_database(&database.path, engine, dry_run, tell)
                });
            }
        }
        let same_id = match line.has('I') {
            true => SameId::Replace,
            false => SameId::Tell,
        };
        if !self.list_is_readable()? {
            return Ok(());
        }
        let salvaged = repairs.list;
        self.step(&mut repairs, |store, tell| {
            store.repair_rows(same_id, salvaged, dry_run, tell)
        });
        self.check_partitions()?;
        let tally = self.discover(line.has('x'), false, &mut |_, _| true)?;
        self.step(&mut repairs, |store, tell| store.return_strays(dry_run, tell));
        self.step(&mut repairs, |store, tell| {
            store.repair_quota_roots(dry_run, tell)
        });
        let users = self.store.users()?;
        for userid in &users {
            self.step(&mut repairs, |store, tell| {
                store.repair_user(userid, dry_run, tell)
            });
        }
        self.all_mailboxes()?;
        for owner in std::mem::take(&mut self.owners) {
            self.step(&mut repairs, |store, _| store.count_conversations(&owner));
        }
        for userid in &users {
            self.step(&mut repairs, |store, tell| {
                store.repair_conversations(userid, dry_run, tell)
            });
        }
        self.count_quotas(&mut repairs)?;
        let messages = &self.messages;
        let _ = writeln!(
            self.out,
            "files beside mailboxes: {} mended, {} made anew, {} with losses\n\
             mailbox list: {} kept, {} rebuilt, {} lost\n\
             mailboxes: {} looked at, {} rebuilt, {} failed\n\
             messages: {} kept, {} added, {} lost",
            repairs.kept,
            repairs.rebuilt,
            repairs.lost,
            tally.kept,
            tally.added,
            tally.lost,
            messages.mailboxes,
            messages.rebuilt,
            messages.failed,
            messages.kept,
            messages.added,
            messages.lost,
        );
        Ok(())
    }

    /// A partition that is not mounted must not be taken for one that lost its mailboxes.
    fn check_partitions(&self) -> Result<(), MailboxError> {
        let mut used = BTreeSet::new();
        self.store.list("", &AuthState::system(), &mut |entry, _| {
            used.extend(entry.partition);
            ControlFlow::Continue(())
        })?;
        let partitions = self.store.options().partitions.iter();
        for (name, roots) in partitions.filter(|(name, _)| used.contains(*name)) {
            let places = [Some(&roots.data), roots.meta.as_ref(), roots.archive.as_ref()];
            for root in places.into_iter().flatten() {
                if !root.is_dir() {
                    return Err(MailboxError::Refused(format!(
                        "{}: no such directory; mount the disk of partition {name}, or make the directory if it is to be \
                         empty, and run reconstruct again",
                        root.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// One step, of which what is done is told. That it fails does not keep the next ones from being tried.
    fn step(
        &mut self,
        repairs: &mut Repairs,
        step: impl FnOnce(&cyrus_store::Store, &mut dyn FnMut(&Repair)) -> Result<(), MailboxError>,
    ) {
        let out = &mut *self.out;
        let list = self.store.mailbox_list_path();
        let done = step(&self.store, &mut |repair| {
            let _ = writeln!(out, "{repair}");
            match repair.outcome {
                Outcome::Kept => repairs.kept += 1,
                Outcome::Rebuilt => repairs.rebuilt += 1,
                Outcome::Lost => repairs.lost += 1,
            }
            repairs.list |= repair.path == list;
        });
        if let Err(error) = done {
            // What is still damaged because nothing may be changed has been told.
            if !(self.how.dry_run && error.class() == ErrorClass::Damaged) {
                self.failed = true;
                eprintln!("{error}");
            }
        }
    }

    fn all_mailboxes(&mut self) -> Result<(), MailboxError> {
        let mut names = Vec::new();
        self.store.list("", &AuthState::system(), &mut |entry, _| {
            if !entry.mbtype.remote {
                names.push(entry.name);
            }
            ControlFlow::Continue(())
        })?;
        let mut progress = Progress::of("mailboxes", names.len() as u64, self.quiet);
        for name in names {
            self.rebuild(&name);
            progress.step();
        }
        Ok(())
    }

    /// Counts the usage of every quota root anew.
    fn count_quotas(&mut self, repairs: &mut Repairs) -> Result<(), MailboxError> {
        let mut roots: Vec<QuotaRoot> = Vec::new();
        self.store.quota_roots("", &mut |root, _| {
            roots.push(root);
            ControlFlow::Continue(())
        })?;
        for root in roots {
            match self.store.fix_quota_root(&root, self.how.dry_run) {
                Ok(faults) => {
                    for fault in faults {
                        repairs.rebuilt += 1;
                        let _ = writeln!(self.out, "{fault}");
                    }
                }
                Err(error) => {
                    self.failed = true;
                    eprintln!("quota root {root}: {error}; run `quota -f`");
                }
            }
            self.store.forget_idle();
        }
        if !self.how.dry_run {
            self.store.copy_limits()?;
        }
        Ok(())
    }
}
