//! Delivery: one message into the mailboxes of its recipients, once each, one file a partition.

mod duplicate;

use std::collections::{BTreeMap, HashSet};

use cyrus_acl::{AuthState, Rights};

use crate::commit::{AppendRequest, Incoming, Target};
use crate::error::MailboxError;
use crate::flags::FlagNames;
use crate::format::quota::Usage;
use crate::log::Level;
use crate::mboxlist::MailboxEntry;
use crate::metrics::STORE;
use crate::name::MailboxName;
use crate::quota::{QuotaPolicy, check_room};
use crate::staging::Staged;
use crate::store::{Store, now};
use crate::uid::{Uid, UidValidity};

pub(crate) use duplicate::Marks;

/// One recipient of a message.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The mailboxes that it may go to, the wanted one first: `user.bovik.work`, then `user.bovik`.
    pub mailboxes: Vec<MailboxName>,
    /// Who posts: his right `p` decides, except on an INBOX, where everybody's mail arrives.
    pub poster: AuthState,
    /// Flags for the delivered message.
    pub flags: FlagNames,
    /// Whether a message that the mailbox has already got is delivered again.
    pub allow_duplicate: bool,
}

impl Recipient {
    /// Delivery into the first of these mailboxes that takes it, by nobody in particular.
    pub fn new(mailboxes: impl IntoIterator<Item = MailboxName>) -> Self {
        Self {
            mailboxes: mailboxes.into_iter().collect(),
            poster: AuthState::anonymous(),
            flags: FlagNames::default(),
            allow_duplicate: false,
        }
    }
}

/// How to deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliverOptions {
    /// Deliver whatever the quota says (LMTP's IGNOREQUOTA).
    pub ignore_quota: bool,
}

/// Where a message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// UIDVALIDITY and UID there; `None` if the mailbox had got the message before and nothing was stored.
    pub uid: Option<(UidValidity, Uid)>,
}

impl Store {
    /// Where a message to this recipient would go now, and whether it would be taken: for LMTP's RCPT.
    ///
    /// # Errors
    /// There is no such mailbox, nobody may post there, or it is over quota.
    pub fn check_delivery(
        &self,
        recipient: &Recipient,
        options: DeliverOptions,
    ) -> Result<MailboxName, MailboxError> {
        let entry = self.destination(recipient)?;
        let policy = self.delivery_policy(options);
        if policy != QuotaPolicy::Ignore
            && let Some((root, quota)) = self.nearest_quota(&entry.name)?
        {
            check_room(&root, &quota, Usage([1, 1, 0, 0]), policy)?;
        }
        Ok(entry.name.clone())
    }

    /// Delivers a message to all recipients and tells what became of each, in their order.
    ///
    /// On return every delivered copy is on stable storage. Mailboxes on one partition share one file. All copies, and
    /// those of other deliveries that wait at the same time, are committed together.
    pub fn deliver(
        &self,
        message: &Staged,
        options: DeliverOptions,
        recipients: &[Recipient],
    ) -> Vec<Result<Delivered, MailboxError>> {
        let date = now();
        let policy = self.delivery_policy(options);
        let mut results: BTreeMap<usize, Result<Delivered, MailboxError>> = BTreeMap::new();
        let mut requests = Vec::new();
        let mut waiting = Vec::new();
        let mut taken = HashSet::new();
        for (number, recipient) in recipients.iter().enumerate() {
            match self.delivery_target(recipient) {
                Err(error) => {
                    results.insert(number, Err(error));
                }
                Ok(target) => {
                    let key = self.duplicate_key(message, &target);
                    let is_new = key.as_ref().is_none_or(|key| taken.insert(key.clone()));
                    if !recipient.allow_duplicate
                        && let Some(key) = &key
                        && (!is_new || self.is_duplicate(key, &target))
                    {
                        self.log().record(
                            Level::Info,
                            format_args!("dupelim: eliminated duplicate message to {}", target.name),
                        );
                        let mailbox = target.name;
                        results.insert(number, Ok(Delivered { mailbox, uid: None }));
                        continue;
                    }
                    waiting.push((number, target.name.clone(), key));
                    let incoming = Incoming::new(message.clone(), recipient.flags.clone(), date);
                    requests.push(AppendRequest {
                        target,
                        messages: vec![incoming],
                        policy,
                    });
                }
            }
        }
        let mut marks = Vec::new();
        for ((number, mailbox, key), outcome) in waiting.into_iter().zip(self.append_all(requests)) {
            let delivered = outcome.and_then(|appends| {
                let uid = appends.uids.first().copied();
                let uid = uid.ok_or_else(|| MailboxError::internal("a delivered message has no UID"))?;
                marks.extend(key.map(|key| (key, uid)));
                Ok(Delivered {
                    mailbox,
                    uid: Some((appends.uidvalidity, uid)),
                })
            });
            results.insert(number, delivered);
        }
        self.mark_delivered(marks, date);
        for result in results.values() {
            let counter = match result {
                Ok(Delivered { uid: Some(_), .. }) => &STORE.delivered,
                Ok(Delivered { uid: None, .. }) => &STORE.duplicates,
                Err(_) => &STORE.undelivered,
            };
            counter.add(1);
        }
        results.into_values().collect()
    }

    fn delivery_policy(&self, options: DeliverOptions) -> QuotaPolicy {
        if options.ignore_quota {
            QuotaPolicy::Ignore
        } else if self.options().lmtp_strict_quota {
            QuotaPolicy::Store
        } else {
            QuotaPolicy::Delivery
        }
    }

    /// The first mailbox of a recipient that takes his mail.
    fn destination(&self, recipient: &Recipient) -> Result<std::sync::Arc<MailboxEntry>, MailboxError> {
        let mut refused = MailboxError::NotFound;
        for name in &recipient.mailboxes {
            let Some(entry) = self.lookup(name)? else { continue };
            if let Err(error) = entry.storage() {
                refused = error;
            } else if name.is_user_inbox() || self.rights(&entry, &recipient.poster).contains(Rights::POST) {
                return Ok(entry);
            } else {
                refused = MailboxError::PermissionDenied;
            }
        }
        Err(refused)
    }

    fn delivery_target(&self, recipient: &Recipient) -> Result<Target, MailboxError> {
        let entry = self.destination(recipient)?;
        let (id, partition) = entry.storage()?;
        let paths = self
            .options()
            .mailbox_paths(partition, id, &entry.name, entry.mbtype.legacy_dirs)?;
        let hot = self.hot(paths);
        self.modernize(&entry, &hot)?;
        Ok(Target {
            hot,
            name: entry.name.clone(),
            id: id.clone(),
            owner: entry.name.owner().map(std::sync::Arc::from),
            // Nobody has seen it, flags or not, but the owner of the mailbox.
            seen_by: None,
        })
    }
}
