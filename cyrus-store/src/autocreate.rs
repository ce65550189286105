//! Users who get their INBOX by themselves: at their first login, or with their first mail.

use std::ops::ControlFlow;

use cyrus_acl::{AuthState, Identifier, ModifyMode};

use crate::error::MailboxError;
use crate::format::quota::Resource;
use crate::log::Level;
use crate::name::MailboxName;
use crate::namespace::{Namespace, Separator};
use crate::quota::QuotaRoot;
use crate::store::Store;

/// What is made for users who have no INBOX: the options `autocreate_*` of imapd.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Autocreate {
    /// `autocreate_quota` is zero or more: an INBOX is made at the first login.
    pub at_login: bool,
    /// `autocreate_post`: an INBOX is made with the first mail.
    pub at_delivery: bool,
    /// `autocreate_users`: identifiers of those for whom it is.
    pub users: Vec<String>,
    /// `autocreate_quota`, in KiB; none is no limit.
    pub storage_kib: Option<u64>,
    /// `autocreate_quota_messages`
    pub messages: Option<u64>,
    /// `autocreate_inbox_folders`: mailboxes below the INBOX, in their internal spelling: `Lists.rust`.
    pub folders: Vec<String>,
    /// `autocreate_subscribe_folders`: those of them that the user is subscribed to.
    pub subscribed: Vec<String>,
    /// `autocreate_subscribe_sharedfolders`: shared mailboxes that the user is subscribed to, if he may look them up; in
    /// their internal spelling.
    pub shared: Vec<String>,
    /// `autocreate_subscribe_sharedfolders_all`: all of those.
    pub all_shared: bool,
    /// `xlist-USE: FOLDER`, the other way round: folders with their special uses, which need not be known ones.
    pub special_uses: Vec<(String, String)>,
    /// `autocreate_acl`: folder, identifier and rights.
    pub acl: Vec<(String, String, String)>,
}

/// When an INBOX is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The user has logged in.
    Login,
    /// Mail for him has come.
    Delivery,
}

impl Store {
    /// Makes the INBOX of a user who has none, and what belongs to it, if the site wants that on this occasion; says
    /// whether it did. `namespace` says how the site spells names.
    ///
    /// What cannot be made besides the INBOX is logged and left out.
    ///
    /// # Errors
    /// The INBOX cannot be made, or it cannot be found out whether it should be.
    pub fn autocreate(
        &self,
        userid: &str,
        occasion: Occasion,
        namespace: &Namespace,
    ) -> Result<bool, MailboxError> {
        let wishes = &self.options().autocreate;
        let wanted = match occasion {
            Occasion::Login => wishes.at_login,
            Occasion::Delivery => wishes.at_delivery,
        };
        let dotted = namespace.separator == Separator::Dot && userid.contains('.');
        if !wanted || userid == Identifier::ANONYMOUS || dotted {
            return Ok(false);
        }
        let inbox = namespace.inbox(userid)?;
        if self.lookup(&inbox)?.is_some() {
            return Ok(false);
        }
        let user = self
            .auth(userid)
            .map_err(|error| MailboxError::Refused(error.to_string()))?;
        if !user.is_one_of(&wishes.users) {
            self.log().record(
                Level::Notice,
                format_args!(
                    "autocreateinbox: User {userid} does not belong to the autocreate_users. No mailbox is created"
                ),
            );
            return Ok(false);
        }
        match self.create(&inbox, &AuthState::system()) {
            Ok(_) => {}
            // Another session of his was quicker.
            Err(MailboxError::Exists) => return Ok(false),
            Err(error) => {
                self.log().record(
                    Level::Error,
                    format_args!("autocreateinbox: User {userid}, INBOX failed. {error}"),
                );
                return Err(error);
            }
        }
        self.limit_new_user(userid, &inbox);
        self.subscribe_new_user(&user, &inbox);
        self.log().record(
            Level::Notice,
            format_args!("autocreateinbox: User {userid}, INBOX was successfully created"),
        );
        for folder in &wishes.folders {
            self.make_folder(&user, &inbox, folder);
        }
        self.subscribe_to_shared(&user, namespace);
        Ok(true)
    }

    fn limit_new_user(&self, userid: &str, inbox: &MailboxName) {
        let wishes = &self.options().autocreate;
        // Without limits as well: the root counts what he has.
        let limits = [
            (Resource::Storage, wishes.storage_kib),
            (Resource::Message, wishes.messages),
        ];
        if let Err(error) = self.set_quota(&QuotaRoot::at(inbox), &limits, &AuthState::system()) {
            self.report(&format!("autocreateinbox: User {userid}, QUOTA failed"), &error);
        }
    }

    /// Makes one of the configured folders of a new user.
    fn make_folder(&self, user: &AuthState, inbox: &MailboxName, folder: &str) {
        let wishes = &self.options().autocreate;
        let userid = user.userid();
        let made = MailboxName::parse(&format!("{inbox}.{folder}"))
            .map_err(MailboxError::from)
            .and_then(|name| self.create(&name, user).map(|_| name));
        let name = match made {
            Ok(name) => name,
            Err(error) => {
                let what = format!("autocreateinbox: User {userid}, subfolder {folder} creation failed");
                return self.report(&what, &error);
            }
        };
        self.log().record(
            Level::Notice,
            format_args!("autocreateinbox: User {userid}, subfolder {name} creation succeeded."),
        );
        let uses = wishes.special_uses.iter().filter(|(of, _)| of == folder);
        let uses: Vec<String> = uses.map(|(_, special_use)| special_use.clone()).collect();
        if let Err(error) = self.give_special_uses(&name, &uses) {
            let uses = uses.join(" ");
            self.report(
                &format!("autocreate: failed to set specialuse {uses} for {name}"),
                &error,
            );
        }
        for (_, identifier, rights) in wishes.acl.iter().filter(|(of, ..)| of == folder) {
            let set = self.set_acl(&name, identifier, ModifyMode::Set, rights, &AuthState::system());
            if let Err(error) = set {
                let what = format!("autocreate_acl {name}: unable to setacl for {identifier} to {rights}");
                self.report(&what, &error);
            }
        }
        if wishes.subscribed.iter().any(|subscribed| subscribed == folder) {
            self.subscribe_new_user(user, &name);
        }
    }

    fn subscribe_new_user(&self, user: &AuthState, name: &MailboxName) {
        let userid = user.userid();
        match self.subscribe(name, user) {
            Ok(()) => self.log().record(
                Level::Notice,
                format_args!("autocreateinbox: User {userid}, subscription to {name} succeeded"),
            ),
            Err(error) => self.report(
                &format!("autocreateinbox: User {userid}, subscription to {name} failed"),
                &error,
            ),
        }
    }

    /// Subscribes a new user to the shared mailboxes that he may look up.
    fn subscribe_to_shared(&self, user: &AuthState, namespace: &Namespace) {
        let wishes = &self.options().autocreate;
        let mut names = Vec::new();
        if wishes.all_shared {
            let found = self.list("", user, &mut |entry, _| {
                if entry.name.owner().is_none() && namespace.in_reach(&entry.name, Some(user.userid()), false)
                {
                    names.push(entry.name);
                }
                ControlFlow::Continue(())
            });
            if let Err(error) = found {
                self.report(&format!("autosubscribe: User {}", user.userid()), &error);
            }
        } else {
            let named = wishes
                .shared
                .iter()
                .filter_map(|name| MailboxName::parse(name).ok());
            names.extend(named.filter(|name| name.owner().is_none()));
        }
        for name in names {
            let userid = user.userid();
            match self.subscribe(&name, user) {
                Ok(()) => self.log().record(
                    Level::Notice,
                    format_args!("autosubscribe: User {userid} to folder {name}, subscription succeeded"),
                ),
                Err(error) => self.report(
                    &format!("autosubscribe: User {userid} to folder {name}, subscription failed"),
                    &error,
                ),
            }
        }
    }
}
