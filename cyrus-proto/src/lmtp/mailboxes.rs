//! Delivery into a store: from addresses to mailboxes, and from the store's answers to replies.

use std::sync::Arc;

use cyrus_acl::AuthState;
use cyrus_store::{
    DeliverOptions, ErrorClass, Level, MailboxError, MailboxName, Namespace, Occasion, Recipient,
    StagingFile, Store, VirtualDomains,
};

use super::deliverer::{Deliverer, Envelope};
use super::response::Reply;
use crate::frame::Sink;
use crate::surroundings::Surroundings;

/// How addresses mean mailboxes; the settings of imapd.conf, with Cyrus 3.6's defaults.
#[derive(Clone, Debug, Default)]
pub struct DeliveryOptions {
    /// `admins`: users who may submit mail over TCP.
    pub submitters: Vec<String>,
    /// How names look; plus addresses use its hierarchy separator.
    pub namespace: Namespace,
    /// `lmtp_downcase_rcpt`: users and domains of addresses are in lower case.
    pub downcase: bool,
    /// `postuser`: the user part of addresses of shared mailboxes, `post+shared/x`; `+shared/x` always works.
    pub postuser: String,
    /// `lmtp_over_quota_perm_failure`: mail for mailboxes over quota bounces at once.
    pub over_quota_is_permanent: bool,
    /// `lmtp_fuzzy_mailbox_match`: a missing folder's parent takes its mail.
    pub fuzzy: bool,
    /// `lmtp_catchall_mailbox`: the user who gets mail for unknown users.
    pub catchall: Option<String>,
    /// `lmtp_exclude_specialuse`: folders with one of these special uses get no mail by plus addresses; the INBOX does.
    pub excluded_uses: Vec<String>,
    /// Knows which users are shut out of the service: they get no mail through it.
    pub surroundings: Option<Arc<dyn Surroundings>>,
}

/// A [`Deliverer`] into a [`Store`].
pub struct StoreDeliverer {
    store: Store,
    options: DeliveryOptions,
}

impl StoreDeliverer {
    /// Delivers into `store`.
    pub fn new(store: Store, options: DeliveryOptions) -> Self {
        Self { store, options }
    }

    /// The mailboxes that an address may mean, the wanted one first.
    fn candidates(&self, address: &str) -> Vec<MailboxName> {
        let case = |text: &str| match self.options.downcase {
            true => text.to_lowercase(),
            false => text.to_owned(),
        };
        let (local, domain) = match address.rsplit_once('@') {
            Some((local, domain)) => (local, Some(case(domain))),
            None => (address, None),
        };
        let local = unquote(local);
        let (user, folder) = match local.split_once('+') {
            Some((user, folder)) => (user, Some(folder)),
            None => (local.as_str(), None),
        };
        let user = case(user);
        let (user, domain) = (user.as_str(), domain.as_deref());
        let mut found = Vec::new();
        if user.is_empty() || user == self.options.postuser {
            found.extend(folder.and_then(|folder| self.shared(folder)));
            return found;
        }
        let Some(inbox) = self.inbox(user, domain) else {
            return found;
        };
        if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
            let mut components: Vec<&str> =
                folder.split(self.options.namespace.separator.as_char()).collect();
            while !components.is_empty() {
                found.extend(self.below(&inbox, &components));
                if !self.options.fuzzy {
                    break;
                }
                components.pop();
            }
        }
        found.push(inbox);
        found
    }

    /// Leaves out the folders whose special use keeps mail from them.
    fn without_excluded(&self, mut found: Vec<MailboxName>) -> Result<Vec<MailboxName>, MailboxError> {
        let is_excluded = |name: &MailboxName| -> Result<bool, MailboxError> {
            if self.options.excluded_uses.is_empty() || name.owner().is_none() || name.is_user_inbox() {
                return Ok(false);
            }
            let Some(entry) = self.store.lookup(name)? else {
                return Ok(false);
            };
            let uses = self.store.special_use(&entry)?;
            Ok(uses.iter().any(|one| {
                let excluded = &self.options.excluded_uses;
                excluded.iter().any(|other| other.eq_ignore_ascii_case(one))
            }))
        };
        let mut fault = None;
        found.retain(|name| match is_excluded(name) {
            Ok(excluded) => !excluded,
            Err(error) => {
                fault = Some(error);
                true
            }
        });
        fault.map_or(Ok(found), Err)
    }

    /// Makes the INBOX that mail has come for, if the site wants that; says whether it did.
    fn makes_inbox(&self, wanted: &[MailboxName]) -> bool {
        let Some(owner) = wanted.last().and_then(MailboxName::owner) else {
            return false;
        };
        let made = self
            .store
            .autocreate(&owner, Occasion::Delivery, &self.options.namespace);
        made.unwrap_or_else(|error| {
            let log = &self.store.options().log;
            log.record(
                Level::Error,
                format_args!("no INBOX could be made for {owner}: {error}"),
            );
            false
        })
    }

    /// The INBOX of a user, whose domain counts only where there are virtual domains.
    fn inbox(&self, user: &str, domain: Option<&str>) -> Option<MailboxName> {
        match domain.filter(|_| self.options.namespace.virtdomains == VirtualDomains::On) {
            None => MailboxName::inbox_of(user).ok(),
            Some(domain) => {
                let address = format!("{user}@{domain}");
                MailboxName::inbox_of(self.options.namespace.login_userid(&address)).ok()
            }
        }
    }

    fn below(&self, inbox: &MailboxName, components: &[&str]) -> Option<MailboxName> {
        let mut name = inbox.clone();
        for component in components {
            name = name.child(component).ok()?;
        }
        Some(name)
    }

    fn shared(&self, folder: &str) -> Option<MailboxName> {
        self.options.namespace.to_internal(folder, None, true).ok()
    }

    fn poster(&self, envelope: &Envelope) -> Result<AuthState, Reply> {
        match envelope.submitter.as_deref() {
            None | Some("") => Ok(AuthState::anonymous()),
            Some(user) => self.store.auth(user).map_err(|error| {
                let log = &self.store.options().log;
                log.record(Level::Warning, format_args!("lmtp: groups of {user}: {error}"));
                Reply::try_later()
            }),
        }
    }

    /// Mail for users who are shut out waits with the peer.
    fn open_to_mail(&self, found: Destination) -> Result<Destination, Reply> {
        let shut_out = |owner: String| self.options.surroundings.as_ref()?.shut_out(&owner);
        match found.mailbox.owner().and_then(shut_out) {
            Some(_) => Err(Reply::disabled()),
            None => Ok(found),
        }
    }

    fn reply(&self, error: &MailboxError) -> Reply {
        match error {
            MailboxError::NotFound
            | MailboxError::NotAMailbox
            | MailboxError::BadName(_)
            | MailboxError::Deleted => return Reply::user_unknown(),
            MailboxError::PermissionDenied => return Reply::permission_denied(),
            MailboxError::OverQuota { .. } if self.options.over_quota_is_permanent => {
                return Reply::over_quota_for_good();
            }
            MailboxError::OverQuota { .. } => return Reply::over_quota(),
            _ => {}
        }
        let log = &self.store.options().log;
        log.record(Level::Error, format_args!("lmtp: {error}"));
        match error.class() {
            ErrorClass::Damaged => Reply::bad_mailbox(),
            ErrorClass::System => Reply::io_error(),
            ErrorClass::Impossible => Reply::try_later(),
        }
    }
}

/// Takes the quotes off a quoted local part (RFC 5321, section 4.1.2).
fn unquote(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// A recipient that was found.
#[derive(Debug)]
pub struct Destination {
    recipient: Recipient,
    mailbox: MailboxName,
    ignore_quota: bool,
}

impl Sink for StagingFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        std::io::Write::write_all(self, bytes)
    }
}

impl Deliverer for StoreDeliverer {
    type Recipient = Destination;
    type Stage = StagingFile;

    fn may_submit(&self, user: &str) -> bool {
        let submitters = &self.options.submitters;
        submitters.iter().any(|submitter| submitter == user)
            || self.store.auth(user).is_ok_and(|user| user.is_one_of(submitters))
    }

    fn resolve(&self, envelope: &Envelope, address: &str, ignore_quota: bool) -> Result<Destination, Reply> {
        let poster = self.poster(envelope)?;
        let options = DeliverOptions { ignore_quota };
        let attempt = |mailboxes: Vec<MailboxName>| {
            let mut recipient = Recipient::new(self.without_excluded(mailboxes)?);
            recipient.poster = poster.clone();
            let mailbox = self.store.check_delivery(&recipient, options)?;
            Ok(Destination {
                recipient,
                mailbox,
                ignore_quota,
            })
        };
        let wanted = self.candidates(address);
        let mut found = attempt(wanted.clone());
        if matches!(found, Err(MailboxError::NotFound)) && self.makes_inbox(&wanted) {
            found = attempt(wanted);
        }
        match (found, &self.options.catchall) {
            (Err(MailboxError::NotFound), Some(user)) => attempt(self.candidates(user)),
            (found, _) => found,
        }
        .map_err(|error| self.reply(&error))
        .and_then(|found| self.open_to_mail(found))
    }

    fn stage(&self, _envelope: &Envelope, recipients: &[Destination]) -> Result<StagingFile, Reply> {
        let first = recipients.first().ok_or_else(Reply::try_later)?;
        self.store
            .stage(&first.mailbox)
            .map_err(|error| self.reply(&error))
    }

    fn deliver(&self, envelope: &Envelope, message: StagingFile, recipients: Vec<Destination>) -> Vec<Reply> {
        let staged = match message.finish() {
            Ok(staged) => staged,
            Err(error) => {
                let reply = self.reply(&error);
                return vec![reply; recipients.len()];
            }
        };
        let mut replies = vec![Reply::try_later(); recipients.len()];
        for ignore_quota in [false, true] {
            let (places, chosen): (Vec<usize>, Vec<Recipient>) = recipients
                .iter()
                .enumerate()
                .filter(|(_, destination)| destination.ignore_quota == ignore_quota)
                .map(|(place, destination)| (place, destination.recipient.clone()))
                .unzip();
            if chosen.is_empty() {
                continue;
            }
            let results = self
                .store
                .deliver(&staged, DeliverOptions { ignore_quota }, &chosen);
            for (place, result) in places.into_iter().zip(results) {
                let reply = match result {
                    Ok(delivered) => {
                        if delivered.uid.is_some() {
                            let log: &Arc<dyn cyrus_store::Log> = &self.store.options().log;
                            log.record(
                                Level::Info,
                                format_args!(
                                    "Delivered: to mailbox: {} sessionid=<{}>",
                                    delivered.mailbox, envelope.session_id
                                ),
                            );
                        }
                        Reply::delivered()
                    }
                    Err(error) => self.reply(&error),
                };
                if let Some(slot) = replies.get_mut(place) {
                    *slot = reply;
                }
            }
        }
        replies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyrus_store::{Separator, StoreOptions};

    fn names(address: &str, options: DeliveryOptions) -> Vec<String> {
        let store =
            Store::open(StoreOptions::new("/nonexistent").partition("default", "/nonexistent")).unwrap();
        StoreDeliverer::new(store, options)
            .candidates(address)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn options() -> DeliveryOptions {
        DeliveryOptions {
            downcase: true,
            ..DeliveryOptions::default()
        }
    }

    #[test]
    fn s221_plus_addresses_mean_folders_and_fall_back_to_the_inbox() {
        assert_eq!(names("Bovik", options()), ["user.bovik"]);
        assert_eq!(names("bovik@example.com", options()), ["user.bovik"]);
        assert_eq!(names("bovik+work", options()), ["user.bovik.work", "user.bovik"]);
        assert_eq!(
            names("bovik+work/x", options()),
            ["user.bovik.work.x", "user.bovik"]
        );
        assert_eq!(
            names("\"bovik+a b\"@x", options()),
            ["user.bovik.a b", "user.bovik"]
        );
        assert_eq!(names("jo.smith", options()), ["user.jo^smith"]);
        // Names of folders keep their letters.
        assert_eq!(names("Bovik+Work", options()), ["user.bovik.Work", "user.bovik"]);
    }

    #[test]
    fn s221_addresses_without_user_or_with_the_post_user_mean_shared_mailboxes() {
        let mut with_post = options();
        with_post.postuser = "post".to_owned();
        assert_eq!(names("+shared/x", options()), ["shared.x"]);
        assert_eq!(names("post+shared/x", with_post), ["shared.x"]);
        assert!(names("", options()).is_empty());
    }

    #[test]
    fn the_separator_is_that_of_the_namespace() {
        let mut dots = options();
        dots.namespace.separator = Separator::Dot;
        assert_eq!(names("bovik+work.x", dots), ["user.bovik.work.x", "user.bovik"]);
    }

    #[test]
    fn folders_of_an_excluded_use_leave_their_mail_to_the_inbox() {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreOptions::new(dir.path().join("conf")).partition("default", dir.path().join("spool"));
        let store = Store::open(store).unwrap();
        let inbox = MailboxName::inbox_of("bovik").unwrap();
        store.create(&inbox, &AuthState::system()).unwrap();
        let junk = inbox.child("junk").unwrap();
        let options = cyrus_store::CreateOptions {
            special_use: vec!["\\Junk".to_owned()],
            ..Default::default()
        };
        let bovik = store.auth("bovik").unwrap();
        store.create_with(&junk, &options, &bovik).unwrap();
        let envelope = Envelope {
            submitter: Some("bovik".to_owned()),
            ..Envelope::default()
        };
        for (excluded, mailbox) in [("\\Snoozed", &junk), ("\\junk", &inbox)] {
            let options = DeliveryOptions {
                excluded_uses: vec![excluded.to_owned()],
                ..DeliveryOptions::default()
            };
            let deliverer = StoreDeliverer::new(store.clone(), options);
            let found = deliverer.resolve(&envelope, "bovik+junk", false).unwrap();
            assert_eq!(found.mailbox, *mailbox, "{excluded}");
        }
    }

    #[test]
    fn fuzzy_delivery_tries_the_parents() {
        let mut fuzzy = options();
        fuzzy.fuzzy = true;
        assert_eq!(
            names("bovik+a/b", fuzzy),
            ["user.bovik.a.b", "user.bovik.a", "user.bovik"]
        );
    }
}
