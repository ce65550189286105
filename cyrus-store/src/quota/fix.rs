//! `quota -f`: usage counted anew, and mailboxes brought under the quota root that their names say.

use std::fmt;

use super::QuotaRoot;
use crate::error::MailboxError;
use crate::format::quota::{Quota, Resource, Usage};
use crate::mboxlist::{Step, whole_usage};
use crate::name::MailboxName;
use crate::store::Store;

/// Something wrong about quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaFault {
    /// A mailbox is counted at another root than the nearest.
    Root {
        /// The mailbox.
        mailbox: MailboxName,
        /// The root that its header file names.
        was: Option<String>,
        /// The nearest.
        now: Option<String>,
    },
    /// A root's usage is not what its mailboxes hold; octets, messages, octets or mailboxes.
    Usage {
        /// The root.
        root: QuotaRoot,
        /// Of what.
        resource: Resource,
        /// As it is written.
        was: u64,
        /// As it is.
        now: u64,
    },
}

impl fmt::Display for QuotaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root { mailbox, was, now } => {
                let [was, now] = [was, now].map(|root| root.as_deref().unwrap_or("(none)"));
                write!(f, "{mailbox}: quota root {was} --> {now}")
            }
            Self::Usage {
                root,
                resource,
                was,
                now,
            } => write!(f, "{root}: {} usage was {was}, now {now}", resource.imap_name()),
        }
    }
}

impl Store {
    /// Counts anew what a quota root should count, and corrects what is wrong, unless it is a `dry_run`.
    ///
    /// Mailboxes are looked at one after the other; if the usage changes meanwhile, they are looked at again, so that the
    /// result is exact while others deliver and delete. All who own a mailbox below the root wait while it is counted.
    ///
    /// # Errors
    /// The root or a mailbox is damaged, or the usage changes without end.
    pub fn fix_quota_root(&self, root: &QuotaRoot, dry_run: bool) -> Result<Vec<QuotaFault>, MailboxError> {
        let mut faults = Vec::new();
        for _ in 0..ATTEMPTS {
            let Some(before) = self.read_quota(root.as_str())? else {
                return Ok(faults);
            };
            let (usage, wrong) = self.count_root(root, dry_run)?;
            faults.extend(wrong);
            let after = self.read_quota(root.as_str())?;
            if after.as_ref().map(|quota| quota.used) != Some(before.used) {
                continue;
            }
            let wrong = differences(root, &before, usage);
            if !wrong.is_empty() && !dry_run {
                let mut change = usage;
                for (change, used) in change.0.iter_mut().zip(before.used) {
                    *change -= i64::try_from(used).unwrap_or(i64::MAX);
                }
                self.charge_quota(root.as_str(), change)?;
            }
            faults.extend(wrong);
            return Ok(faults);
        }
        Err(MailboxError::Refused(format!(
            "quota root {root} changes while it is counted; try again"
        )))
    }

    /// What the mailboxes of a root hold; those that name another root are corrected.
    fn count_root(&self, root: &QuotaRoot, dry_run: bool) -> Result<(Usage, Vec<QuotaFault>), MailboxError> {
        let mut names = Vec::new();
        self.walk_covered(root, &mut |entry| {
            names.push(entry.name);
            Step::Next
        })?;
        let mut own = Vec::new();
        for name in names {
            if self
                .nearest_quota(&name)?
                .is_some_and(|(nearest, _)| nearest == root.as_str())
            {
                own.push(name);
            }
        }
        let _namespaces = self.lock_namespaces(&own)?;
        let mut total = Usage([0; 4]);
        let mut wrong = Vec::new();
        for name in own {
            // Gone or renamed meanwhile.
            let Some(entry) = self.lookup(&name)?.filter(|entry| entry.mbtype.is_usable()) else {
                continue;
            };
            let mut write = match self.hold(&entry) {
                Err(MailboxError::Deleted) => continue,
                held => held?,
            };
            for (total, more) in total.0.iter_mut().zip(whole_usage(&write).0) {
                *total = total.saturating_add(more);
            }
            let counted = write.names().header.quota_root.clone();
            if counted.as_deref() == Some(root.as_str()) {
                continue;
            }
            wrong.push(QuotaFault::Root {
                mailbox: name.clone(),
                was: counted,
                now: Some(root.as_str().to_owned()),
            });
            if !dry_run {
                let mut header = write.names().header.clone();
                header.quota_root = Some(root.as_str().to_owned());
                write.set_names(header);
                write.commit(&name, entry.storage()?.0)?;
            }
        }
        if let Some(mut conversations) = self.conversations_of_root(root.as_str())? {
            let quota = conversations.quota()?;
            let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            (total.0[0], total.0[1]) = (signed(quota.octets), signed(quota.emails));
        }
        Ok((total, wrong))
    }
}

fn differences(root: &QuotaRoot, quota: &Quota, usage: Usage) -> Vec<QuotaFault> {
    Resource::ALL
        .into_iter()
        .filter_map(|resource| {
            let (was, now) = (quota.used(resource), *usage.0.get(resource as usize)?);
            let now = u64::try_from(now).unwrap_or_default();
            (was != now).then(|| QuotaFault::Usage {
                root: root.clone(),
                resource,
                was,
                now,
            })
        })
        .collect()
}

/// How often a root is counted whose usage changes meanwhile.
const ATTEMPTS: u32 = 20;
