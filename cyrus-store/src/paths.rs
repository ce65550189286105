//! Where things are: mailbox directories by unique id or by name, hash directories, per-user files, locks.

use std::path::{Path, PathBuf};

use crate::error::MailboxError;
use crate::ident::{MailboxId, Partition};
use crate::name::MailboxName;
use crate::name::layout::{Hashing, namespace_lock_name, uuid_dir};
use crate::options::{PartitionPaths, StoreOptions};

/// The files and directories of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxPaths {
    /// The directory of the message files.
    pub data: PathBuf,
    /// The directory of archived message files.
    pub archive: PathBuf,
    /// `cyrus.header`
    pub header: PathBuf,
    /// `cyrus.index`
    pub index: PathBuf,
    /// `cyrus.cache`
    pub cache: PathBuf,
    /// `cyrus.cache` of archived messages; may be the same file.
    pub archive_cache: PathBuf,
    /// `cyrus.annotations`
    pub annotations: PathBuf,
    /// The lock file of the mailbox.
    pub lock: PathBuf,
    /// The staging directory of the partition.
    pub stage: PathBuf,
}

impl MailboxPaths {
    /// The file of a message.
    pub fn message(&self, uid: u32, archived: bool) -> PathBuf {
        let dir = if archived { &self.archive } else { &self.data };
        dir.join(format!("{uid}."))
    }

    /// The cache of archived messages or of the others.
    pub(crate) fn cache_of(&self, archived: bool) -> &Path {
        if archived {
            &self.archive_cache
        } else {
            &self.cache
        }
    }

    /// Whether archived messages share the cache of the others.
    pub(crate) fn caches_are_one(&self) -> bool {
        self.archive_cache == self.cache
    }
}

impl StoreOptions {
    /// The files of a mailbox.
    ///
    /// # Errors
    /// The partition is not configured.
    pub fn mailbox_paths(
        &self,
        partition: &Partition,
        id: &MailboxId,
        name: &MailboxName,
        legacy_dirs: bool,
    ) -> Result<MailboxPaths, MailboxError> {
        let roots = self.partition_paths(partition)?;
        let sub = if legacy_dirs {
            self.hashing().legacy_dir(name)
        } else {
            id_path(id)
        };
        let data = roots.data.join(&sub);
        let meta = roots
            .meta
            .as_ref()
            .map_or_else(|| data.clone(), |meta| meta.join(&sub));
        let archive = roots
            .archive
            .as_ref()
            .map_or_else(|| data.clone(), |archive| archive.join(&sub));
        let files = self.metapartition_files;
        let pick = |on_meta: bool, other: &Path, name: &str| {
            if on_meta {
                meta.join(name)
            } else {
                other.join(name)
            }
        };
        let lock = if legacy_dirs {
            self.hashing().legacy_lock_file(name)
        } else {
            self.hashing().lock_file(id.as_str())
        };
        Ok(MailboxPaths {
            header: pick(files.header, &data, "cyrus.header"),
            index: pick(files.index, &data, "cyrus.index"),
            cache: pick(files.cache, &data, "cyrus.cache"),
            archive_cache: pick(files.archive_cache, &archive, "cyrus.cache"),
            annotations: pick(files.annotations, &data, "cyrus.annotations"),
            lock: self.lock_dir().join(lock),
            stage: roots.data.join("stage."),
            data,
            archive,
        })
    }

    /// The mailbox that has this directory, relative to a root of its partition, in the layout by name; whether there
    /// is such a mailbox is not looked up.
    pub fn name_of_legacy_dir(&self, sub: &Path) -> Option<MailboxName> {
        self.hashing().legacy_name(sub)
    }

    /// The directories of a partition.
    ///
    /// # Errors
    /// It is not configured.
    pub fn partition_paths(&self, partition: &Partition) -> Result<&PartitionPaths, MailboxError> {
        self.partitions
            .get(partition)
            .ok_or_else(|| MailboxError::UnknownPartition(partition.clone()))
    }

    /// The lock file of the namespace of a user, or of the mailboxes without owner.
    pub fn namespace_lock_path(&self, owner: Option<&str>) -> PathBuf {
        self.lock_dir()
            .join(self.hashing().lock_file(&namespace_lock_name(owner)))
    }

    /// The lock file that guards which quota roots there are.
    pub fn quota_change_lock_path(&self) -> PathBuf {
        self.lock_dir().join(self.hashing().lock_file("$QUOTACHANGE"))
    }

    /// A user's file of this kind (`seen`, `sub`, ...): by the unique id of his INBOX if that has directories by id, else
    /// by his name.
    pub fn user_file(&self, userid: &str, inbox: Option<&MailboxId>, kind: &str) -> PathBuf {
        if let Some(id) = inbox {
            return self
                .config_dir
                .join("user")
                .join(id_path(id))
                .join(format!("{kind}.db"));
        }
        let mut path = self
            .config_dir
            .join(self.hashing().legacy_user_file(userid))
            .into_os_string();
        path.push(format!(".{kind}"));
        path.into()
    }

    /// The directory of a user's scripts below `sievedir`, if there is one: by the unique id of his INBOX if that has
    /// directories by id, else by his name.
    pub fn sieve_path(&self, userid: &str, inbox: Option<&MailboxId>) -> Option<PathBuf> {
        let top = self.sieve_dir.as_ref()?;
        Some(match inbox {
            Some(id) => top.join(id_path(id)),
            None => top.join(self.hashing().legacy_sieve_dir(userid)),
        })
    }

    /// The file of a quota root, by its internal name, in the quotalegacy layout.
    pub fn quota_file(&self, root: &str) -> PathBuf {
        let (domain, local) = match root.split_once('!') {
            Some((domain, local)) => (Some(domain), local),
            None => (None, root),
        };
        let letter = |name: &str| self.hashing().letter(name).to_string();
        let mut path = self
            .databases
            .quota_path
            .clone()
            .unwrap_or_else(|| self.config_dir.clone());
        if let Some(domain) = domain {
            path.push("domain");
            path.push(letter(domain));
            path.push(domain);
        }
        path.push("quota");
        if local.is_empty() {
            // The root of a whole domain.
            path.push("root");
            return path;
        }
        let mut components = local.split('.');
        let first = components.next().unwrap_or_default();
        path.push(letter(&components.next().unwrap_or(first).replace('^', ".")));
        path.push(local);
        path
    }

    pub(crate) fn hashing(&self) -> Hashing {
        Hashing {
            hashimapspool: self.hashimapspool,
            fulldirhash: self.fulldirhash,
        }
    }
}

/// The part of a path that a unique id makes.
pub(crate) fn id_path(id: &MailboxId) -> PathBuf {
    uuid_dir(id.as_str()).expect("a MailboxId has at least two characters, all of them safe in a path")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(hashimapspool: bool, fulldirhash: bool) -> StoreOptions {
        StoreOptions {
            hashimapspool,
            fulldirhash,
            ..StoreOptions::new("/c").partition("default", "/p")
        }
    }

    fn paths(options: &StoreOptions, name: &str, legacy: bool) -> MailboxPaths {
        let name = MailboxName::parse(name).unwrap();
        let id = MailboxId::new("oyjgzluzh0cx6z09618p5l4k").unwrap();
        options
            .mailbox_paths(&Partition::new("default").unwrap(), &id, &name, legacy)
            .unwrap()
    }

    #[test]
    fn directories_follow_the_unique_id() {
        let paths = paths(&options(true, true), "user.alice", false);
        assert_eq!(paths.data, Path::new("/p/uuid/o/y/oyjgzluzh0cx6z09618p5l4k"));
        assert_eq!(
            paths.message(12, false),
            Path::new("/p/uuid/o/y/oyjgzluzh0cx6z09618p5l4k/12.")
        );
        assert_eq!(paths.lock, Path::new("/c/lock/D/oyjgzluzh0cx6z09618p5l4k.lock"));
    }

    #[test]
    fn legacy_directories_follow_the_name() {
        let plain = options(false, false);
        assert_eq!(
            paths(&plain, "user.jo^smith.a b", true).data,
            Path::new("/p/user/jo^smith/a b")
        );
        assert_eq!(
            paths(&plain, "user.alice", true).lock,
            Path::new("/c/lock/user/alice.lock")
        );
        let full = options(true, true);
        let data = |name: &str| paths(&full, name, true).data;
        assert_eq!(data("user.alice.Projects"), Path::new("/p/L/user/alice/Projects"));
        assert_eq!(data("user.jo^smith"), Path::new("/p/A/user/jo^smith"));
        assert_eq!(data("shared.team"), Path::new("/p/O/shared/team"));
        assert_eq!(data("shared"), Path::new("/p/T/shared"));
        assert_eq!(
            data("DELETED.user.alice.Gone2.6B05AB53"),
            Path::new("/p/C/DELETED/user/alice/Gone2/6B05AB53")
        );
        assert_eq!(
            data("other.test!user.frank"),
            Path::new("/p/domain/M/other.test/N/user/frank")
        );
        assert_eq!(
            paths(&full, "user.alice.Projects", true).lock,
            Path::new("/c/lock/L/user/alice/Projects.lock")
        );
    }

    #[test]
    fn namespace_locks_escape_dots() {
        assert_eq!(
            options(false, false).namespace_lock_path(Some("jo.smith")),
            Path::new("/c/lock/*U*jo^smith.lock")
        );
        assert_eq!(
            options(false, false).namespace_lock_path(None),
            Path::new("/c/lock/*U*.lock")
        );
        let full = options(true, true);
        assert_eq!(
            full.namespace_lock_path(Some("alice")),
            Path::new("/c/lock/U/*U*alice.lock")
        );
        assert_eq!(
            full.namespace_lock_path(Some("frank@other.test")),
            Path::new("/c/lock/J/*U*frank@other^test.lock")
        );
        assert_eq!(full.namespace_lock_path(None), Path::new("/c/lock/D/*U*.lock"));
    }

    #[test]
    fn user_files_are_hashed_by_name_or_found_by_id() {
        let plain = options(false, false);
        assert_eq!(
            plain.user_file("jo.smith", None, "seen"),
            Path::new("/c/user/j/jo.smith.seen")
        );
        let id = MailboxId::new("abcd").unwrap();
        assert_eq!(
            plain.user_file("alice", Some(&id), "sub"),
            Path::new("/c/user/uuid/a/b/abcd/sub.db")
        );
        assert_eq!(
            options(true, true).user_file("frank@other.test", None, "sub"),
            Path::new("/c/domain/M/other.test/user/N/frank.sub")
        );
    }

    #[test]
    fn quota_files_are_always_hashed() {
        assert_eq!(
            options(false, false).quota_file("user.alice"),
            Path::new("/c/quota/a/user.alice")
        );
        assert_eq!(
            options(false, false).quota_file("shared"),
            Path::new("/c/quota/s/shared")
        );
        assert_eq!(
            options(true, true).quota_file("other.test!"),
            Path::new("/c/domain/M/other.test/quota/root")
        );
    }
}
