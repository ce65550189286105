//! Access control lists of mailboxes: reading them, and changing them as GETACL and SETACL do.

use cyrus_acl::{Acl, AclError, AuthState, Grantable, Identifier, ModifyMode, OwnerRule, Rights, grantable};

use super::MailboxEntry;
use super::rows::RowChange;
use crate::error::MailboxError;
use crate::name::MailboxName;
use crate::store::{Store, now};
use crate::uid::ModSeq;

impl Store {
    /// The list of a mailbox.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`] without the right `a`.
    pub fn acl(&self, name: &MailboxName, auth: &AuthState) -> Result<Acl, MailboxError> {
        Ok(self.administered(name, auth)?.acl.clone())
    }

    /// Sets, adds or removes rights of an identifier; no rights at all remove its entry.
    ///
    /// The owner of a mailbox always keeps the implicit rights. On return the change is on stable storage.
    ///
    /// # Errors
    /// [`MailboxError::InvalidRights`], [`MailboxError::InvalidIdentifier`]; [`MailboxError::PermissionDenied`] without
    /// the right `a`, or if the site does not let users do this.
    pub fn set_acl(
        &self,
        name: &MailboxName,
        identifier: &str,
        mode: ModifyMode,
        rights: &str,
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        let rights = Rights::parse(rights, self.options().deleteright)
            .map_err(|error| MailboxError::InvalidRights(error.letter.to_string()))?;
        let _namespaces = self.lock_namespaces([name])?;
        let entry = self.administered(name, auth)?;
        entry.storage()?;
        let identifier = self.identifier(identifier, rights.is_empty())?;
        let options = self.options();
        let users_may = options.allowsetacl
            && (options.anyoneuseracl || identifier.is_negative() || !identifier.is_anyone());
        if !auth.is_admin() && !users_may {
            return Err(MailboxError::PermissionDenied);
        }
        let mut acl = entry.acl.clone();
        match self.owner_of(name) {
            Some(owner) => {
                let rule = OwnerRule {
                    owner: &owner,
                    implicit: options.acl_policy.implicit_owner_rights,
                    by_owner: auth.userid() == owner && !auth.is_admin(),
                    by_admin: auth.is_admin(),
                };
                acl.modify_owned(identifier, mode, rights, &rule)
                    .map_err(|error| match error {
                        AclError::OwnAdmin => MailboxError::PermissionDenied,
                        _ => MailboxError::InvalidIdentifier,
                    })?;
            }
            None => acl.modify(identifier, mode, rights),
        }
        if acl == entry.acl {
            return Ok(());
        }
        self.write_acl(&entry, acl)
    }

    /// Removes the entry of an identifier; one's own, as owner, cannot be removed.
    ///
    /// # Errors
    /// As [`Store::set_acl`].
    pub fn delete_acl(
        &self,
        name: &MailboxName,
        identifier: &str,
        auth: &AuthState,
    ) -> Result<(), MailboxError> {
        self.set_acl(name, identifier, ModifyMode::Set, "", auth)
    }

    /// What an identifier always has on a mailbox, and what could be granted to it.
    ///
    /// # Errors
    /// [`MailboxError::PermissionDenied`] without the right `a`.
    pub fn list_rights(
        &self,
        name: &MailboxName,
        identifier: &str,
        auth: &AuthState,
    ) -> Result<Grantable, MailboxError> {
        self.administered(name, auth)?;
        let owner = self.owner_of(name);
        let options = self.options();
        Ok(grantable(
            identifier,
            owner.as_deref(),
            &*options.mechanism,
            &options.acl_policy,
        ))
    }

    /// What the user may do with a mailbox.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`] unless he has one of the rights that let him know of it: `l r i k x a`.
    pub fn my_rights(&self, name: &MailboxName, auth: &AuthState) -> Result<Rights, MailboxError> {
        let (_, rights) = self.visible(name, auth)?;
        if rights.intersects(TELLING) {
            Ok(rights)
        } else {
            Err(MailboxError::NotFound)
        }
    }

    /// A mailbox that the user may administer.
    fn administered(
        &self,
        name: &MailboxName,
        auth: &AuthState,
    ) -> Result<std::sync::Arc<MailboxEntry>, MailboxError> {
        let (entry, rights) = self.visible(name, auth)?;
        if rights.contains(Rights::ADMIN) {
            Ok(entry)
        } else if rights.contains(Rights::LOOKUP) {
            Err(MailboxError::PermissionDenied)
        } else {
            Err(MailboxError::NotFound)
        }
    }

    /// The identifier that a client wrote. To remove its entry it need not be one that exists.
    fn identifier(&self, text: &str, is_removed: bool) -> Result<Identifier, MailboxError> {
        match Identifier::canonical(text, &*self.options().mechanism) {
            Ok(identifier) => Ok(identifier),
            Err(_) if is_removed => Identifier::stored(text).map_err(|_| MailboxError::InvalidIdentifier),
            Err(_) => Err(MailboxError::InvalidIdentifier),
        }
    }

    /// Writes a list: in both rows, and as a copy in the header of the mailbox.
    ///
    /// The rows count; after a crash between them and the header, the copy is old, which only `reconstruct` would see.
    fn write_acl(&self, entry: &MailboxEntry, acl: Acl) -> Result<(), MailboxError> {
        let mut write = self.hold(entry)?;
        let changed = MailboxEntry {
            acl,
            folder_modseq: ModSeq(write.next_modseq()),
            mtime: i64::from(now()),
            ..entry.clone()
        };
        let mut header = write.names().header.clone();
        header.acl = self.acl_pairs(&changed.acl);
        // Written by a version that left these out.
        header.name = changed.name.as_str().to_owned();
        header.mbtype = changed.mbtype.to_string();
        write.set_names(header);
        self.commit_rows(&[RowChange::Update(&changed)])?;
        let id = changed.id.clone().ok_or(MailboxError::NotFound)?;
        write.commit(&changed.name, &id)
    }
}

/// The rights with which MYRIGHTS is answered.
const TELLING: Rights = Rights::LOOKUP
    .union(Rights::READ)
    .union(Rights::INSERT)
    .union(Rights::CREATE)
    .union(Rights::DELETE_MAILBOX)
    .union(Rights::ADMIN);
