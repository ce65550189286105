//! Special uses of mailboxes (RFC 6154): an annotation of the owner's, with rules of its own.

use std::collections::HashMap;

use cyrus_acl::AuthState;

use super::definitions::SPECIAL_USE;
use crate::db::{Create, DbError};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, OWNER_TOKEN, key};
use crate::ident::MailboxId;
use crate::log::Level;
use crate::mboxlist::{MailboxEntry, SPECIAL_USE_CONFLICT, Step};
use crate::name::MailboxName;
use crate::store::Store;

impl Store {
    /// Sets the special uses of a mailbox, for its owner.
    pub(crate) fn set_special_use(&self, name: &MailboxName, uses: &[String]) -> Result<(), MailboxError> {
        let entry = self.lookup(name)?.ok_or(MailboxError::NotFound)?;
        let value = uses.join(" ");
        self.annotate_mailbox(&entry, &[(SPECIAL_USE, OWNER_TOKEN, Some(value.as_bytes()))])
    }

    /// Gives a new mailbox the special uses that no other one of its owner's has, known or not.
    pub(crate) fn give_special_uses(&self, name: &MailboxName, uses: &[String]) -> Result<(), MailboxError> {
        let mut given: Vec<String> = Vec::new();
        for wanted in uses {
            let known = self.known_special_uses(std::iter::once(wanted.as_str()));
            let named = known.unwrap_or_else(|_| vec![wanted.clone()]);
            match self.check_unused(name, &named) {
                Ok(()) => given.extend(named),
                Err(MailboxError::Refused(_)) => self.log().record(
                    Level::Notice,
                    format_args!(
                        "autocreate: not setting specialuse {wanted} for {name}, another mailbox has it"
                    ),
                ),
                Err(error) => return Err(error),
            }
        }
        match given.is_empty() {
            true => Ok(()),
            false => self.set_special_use(name, &given),
        }
    }

    /// The special uses of a mailbox, as its owner has them.
    ///
    /// # Errors
    /// `annotations.db` cannot be read.
    pub fn special_use(&self, entry: &MailboxEntry) -> Result<Vec<String>, MailboxError> {
        let Some(id) = &entry.id else {
            return Ok(Vec::new());
        };
        let value = self
            .stored_annotation(&key(id.as_str(), SPECIAL_USE, OWNER_TOKEN))?
            .unwrap_or_default();
        Ok(words(&value))
    }

    /// The special uses of several mailboxes, as their owners have them; those without are left out.
    ///
    /// # Errors
    /// As [`Store::special_use`].
    pub fn special_uses<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i MailboxId>,
    ) -> Result<HashMap<MailboxId, Vec<String>>, MailboxError> {
        let path = self.annotations_path();
        let mut db = match self
            .databases()
            .open(&path, self.options().databases.annotation, Create::No)
        {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(HashMap::new()),
            Err(error) => return Err(error.into()),
        };
        let mut found = HashMap::new();
        for id in ids {
            let Some(row) = db.get(&key(id.as_str(), SPECIAL_USE, OWNER_TOKEN))? else {
                continue;
            };
            let value = AnnotationValue::parse(&row).map_err(|fault| MailboxError::damaged(&path, fault))?;
            let uses = words(&value.value);
            if !value.deleted && !uses.is_empty() {
                found.insert(id.clone(), uses);
            }
        }
        Ok(found)
    }

    /// The special uses that a new mailbox of this name is to have, spelt as they are known.
    ///
    /// # Errors
    /// [`MailboxError::Refused`]: the mailbox would not be right below the INBOX of the user himself, or of the one whom an administrator makes it for, there are no such
    /// uses, or another mailbox of his has one.
    pub(crate) fn check_special_use(
        &self,
        name: &MailboxName,
        uses: &[String],
        auth: &AuthState,
    ) -> Result<Vec<String>, MailboxError> {
        if uses.is_empty() {
            return Ok(Vec::new());
        }
        let own = name.owner().as_deref() == Some(auth.userid()) || auth.is_admin();
        if !own || !is_right_below_inbox(name) {
            return Err(conflict());
        }
        let uses = self.known_special_uses(uses.iter().map(String::as_str))?;
        self.check_unused(name, &uses)?;
        Ok(uses)
    }

    /// The value of special uses that a user gives a mailbox that there is: each use in its known spelling.
    ///
    /// # Errors
    /// [`MailboxError::Refused`]: there are no such uses, or, if the mailbox is his own, another one has one of them.
    /// [`MailboxError::HasInferiors`]: it has children that the use forbids.
    pub(super) fn checked_special_use(
        &self,
        mailbox: &MailboxEntry,
        value: &[u8],
        auth: &AuthState,
    ) -> Result<Vec<u8>, MailboxError> {
        let text = String::from_utf8_lossy(value);
        let uses = self.known_special_uses(text.split_whitespace())?;
        if mailbox.name.owner().as_deref() == Some(auth.userid()) || auth.is_system() {
            self.check_unused(&mailbox.name, &uses)?;
            if is_among(&self.options().specialuse_nochildren, &uses) {
                let mut has_children = false;
                self.walk_tree(&mailbox.name, &mut |entry| {
                    has_children |= entry.name != mailbox.name;
                    if has_children { Step::Stop } else { Step::Next }
                })?;
                if has_children {
                    return Err(MailboxError::HasInferiors);
                }
            }
        }
        Ok(uses.join(" ").into_bytes())
    }

    /// Each of the uses as it is known, once.
    fn known_special_uses<'u>(
        &self,
        uses: impl Iterator<Item = &'u str>,
    ) -> Result<Vec<String>, MailboxError> {
        let extra = &self.options().specialuse_extra;
        let mut found: Vec<String> = Vec::new();
        for wanted in uses {
            let mut all = SPECIAL_USES.into_iter().chain(extra.iter().map(String::as_str));
            let is_wanted = |known: &&str| {
                let bare = known.strip_prefix('\\').unwrap_or(known);
                known.eq_ignore_ascii_case(wanted) || bare.eq_ignore_ascii_case(wanted)
            };
            let Some(known) = all.find(is_wanted) else {
                return Err(MailboxError::Refused(UNKNOWN_SPECIAL_USE.to_owned()));
            };
            if !found.iter().any(|used| used == known) {
                found.push(known.to_owned());
            }
        }
        Ok(found)
    }

    /// Whether no other mailbox below the INBOX of the user has one of these uses.
    fn check_unused(&self, name: &MailboxName, uses: &[String]) -> Result<(), MailboxError> {
        let Some(inbox) = name.inbox().filter(|_| !uses.is_empty()) else {
            return Ok(());
        };
        let mut ids = Vec::new();
        self.walk_tree(&inbox, &mut |entry| {
            if entry.name != *name
                && entry.name != inbox
                && let Some(id) = entry.id
            {
                ids.push(id);
            }
            Step::Next
        })?;
        let taken = self.special_uses(&ids)?;
        match taken.values().any(|others| is_among(others, uses)) {
            true => Err(conflict()),
            false => Ok(()),
        }
    }

    /// Whether a mailbox must not be deleted because of its special use.
    pub(crate) fn is_protected(&self, entry: &MailboxEntry) -> Result<bool, MailboxError> {
        Ok(is_among(
            &self.options().specialuse_protect,
            &self.special_use(entry)?,
        ))
    }

    /// Whether a mailbox must not have children because of its special use.
    pub(crate) fn forbids_children(&self, entry: &MailboxEntry) -> Result<bool, MailboxError> {
        let forbidding = &self.options().specialuse_nochildren;
        Ok(!forbidding.is_empty() && is_among(forbidding, &self.special_use(entry)?))
    }

    /// Whether a mailbox under another name could have the special uses that it has.
    pub(crate) fn keeps_special_use(
        &self,
        entry: &MailboxEntry,
        to: &MailboxName,
    ) -> Result<bool, MailboxError> {
        let stays = is_right_below_inbox(to) && to.inbox() == entry.name.inbox();
        Ok(stays || !self.is_protected(entry)?)
    }
}

/// Whether one of the uses is in a list.
fn is_among(list: &[String], uses: &[String]) -> bool {
    uses.iter()
        .any(|used| list.iter().any(|name| name.eq_ignore_ascii_case(used)))
}

fn conflict() -> MailboxError {
    MailboxError::Refused(SPECIAL_USE_CONFLICT.to_owned())
}

fn words(value: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(value)
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Where mailboxes with special uses are made.
fn is_right_below_inbox(name: &MailboxName) -> bool {
    name.owner().is_some() && name.components().count() == 3
}

/// The special uses that there are without `specialuse_extra`.
const SPECIAL_USES: [&str; 7] = [
    "\\Archive",
    "\\Drafts",
    "\\Important",
    "\\Junk",
    "\\Sent",
    "\\Snoozed",
    "\\Trash",
];

const UNKNOWN_SPECIAL_USE: &str = "Invalid annotation entry";
