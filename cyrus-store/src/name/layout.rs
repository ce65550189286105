//! Where a name puts things: directories of mailboxes in both layouts, per-user files, and names of lock files.

use std::path::{Path, PathBuf};

use super::MailboxName;

/// The settings that spread directories over letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashing {
    /// imapd.conf's `hashimapspool`: whether mailboxes and lock files lie in directories of one letter.
    pub hashimapspool: bool,
    /// imapd.conf's `fulldirhash`: whether the letter is computed from the whole name and not its first byte.
    pub fulldirhash: bool,
}

impl Hashing {
    /// The letter for a name, which is spelled with dots (`jo.smith`).
    ///
    /// Without `fulldirhash` it is the first byte in lower case, or `q` where that is no letter; with it, `A` to `W`,
    /// from everything before the first dot.
    pub fn letter(self, name: &str) -> char {
        if !self.fulldirhash {
            let first = name
                .bytes()
                .next()
                .map_or('q', |byte| char::from(byte.to_ascii_lowercase()));
            return if first.is_ascii_lowercase() { first } else { 'q' };
        }
        let sum = name
            .bytes()
            .take_while(|&byte| byte != b'.')
            .fold(0u32, |sum, byte| ((sum << 3) ^ (sum >> 5)) ^ u32::from(byte));
        LETTERS.get((sum % 23) as usize).copied().map_or('A', char::from)
    }

    /// The sub-path of a mailbox below a partition's root, in the legacy layout; also that of its lock file, without
    /// `.lock`.
    ///
    /// `user.jo^smith.x` is `user/jo^smith/x`, or `j/user/jo^smith/x`; a domain is `domain/other.test/...`, or
    /// `domain/o/other.test/...`. The letter is that of the second component, or of the only one.
    pub fn legacy_dir(self, name: &MailboxName) -> PathBuf {
        let mut path = PathBuf::new();
        if let Some(domain) = name.domain() {
            path.push("domain");
            self.push_letter(&mut path, domain);
            path.push(domain);
        }
        let mut components = name.components();
        if let Some(hashed) = components.clone().nth(1).or_else(|| components.clone().next()) {
            self.push_letter(&mut path, &hashed.replace('^', "."));
        }
        path.extend(&mut components);
        path
    }

    /// The name of the mailbox that has this sub-path of a partition in the legacy layout: [`Hashing::legacy_dir`]
    /// backwards. `None` if no mailbox has it.
    pub fn legacy_name(self, sub: &Path) -> Option<MailboxName> {
        let parts: Option<Vec<&str>> = sub.iter().map(|part| part.to_str()).collect();
        let mut rest = parts?.into_iter();
        let letters = usize::from(self.hashimapspool);
        let in_domain = rest.as_slice().first() == Some(&"domain");
        let domain = if in_domain { rest.nth(1 + letters) } else { None };
        let components: Vec<&str> = rest.skip(letters).collect();
        let name = MailboxName::from_parts(domain, &components).ok()?;
        (self.legacy_dir(&name) == sub).then_some(name)
    }

    /// The sub-path of a per-user file below `configdirectory` in the legacy layout, without `.seen` and the like.
    ///
    /// This path has a letter whatever `hashimapspool` says: `user/j/jo.smith`.
    pub fn legacy_user_file(self, userid: &str) -> PathBuf {
        let (local, domain) = match userid.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (userid, None),
        };
        let mut path = PathBuf::new();
        if let Some(domain) = domain {
            path.push("domain");
            path.push(self.letter(domain).to_string());
            path.push(domain);
        }
        path.push("user");
        path.push(self.letter(local).to_string());
        path.push(local);
        path
    }

    /// The sub-path of a user's scripts below `sievedir` in the legacy layout: `j/jo.smith`, or
    /// `domain/o/other.test/j/jo.smith`.
    pub fn legacy_sieve_dir(self, userid: &str) -> PathBuf {
        let (local, domain) = match userid.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (userid, None),
        };
        let mut path = PathBuf::new();
        if let Some(domain) = domain {
            path.push("domain");
            path.push(self.letter(domain).to_string());
            path.push(domain);
        }
        path.push(self.letter(local).to_string());
        path.push(local);
        path
    }

    /// The sub-path of a lock file below the lock root, for a lock name of one component, such as
    /// [`namespace_lock_name`], a uniqueid or `$QUOTACHANGE`.
    pub fn lock_file(self, lock_name: &str) -> PathBuf {
        let mut path = PathBuf::new();
        self.push_letter(&mut path, &lock_name.replace('^', "."));
        path.push(format!("{lock_name}.lock"));
        path
    }

    /// The sub-path of the lock file of a mailbox in the legacy layout.
    pub fn legacy_lock_file(self, name: &MailboxName) -> PathBuf {
        let mut path = self.legacy_dir(name).into_os_string();
        path.push(".lock");
        path.into()
    }

    fn push_letter(self, path: &mut PathBuf, name: &str) {
        if self.hashimapspool {
            path.push(self.letter(name).to_string());
        }
    }
}

/// The name of the lock on all that a user owns, `*U*jo^smith`; for `None`, on the list of shared mailboxes, `*U*`.
pub fn namespace_lock_name(owner: Option<&str>) -> String {
    format!("*U*{}", owner.unwrap_or_default().replace('.', "^"))
}

/// The sub-path of a mailbox in the layout by uniqueid: `uuid/a/b/abcd...`.
///
/// `None` if the id is shorter than two bytes or is not made of ASCII letters, digits, `-` and `_`.
pub fn uuid_dir(uniqueid: &str) -> Option<PathBuf> {
    if !uniqueid
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return None;
    }
    Some(
        ["uuid", uniqueid.get(..1)?, uniqueid.get(1..2)?, uniqueid]
            .iter()
            .collect(),
    )
}

/// The sub-path of a user's files below `configdirectory` in the layout by uniqueid of his INBOX.
pub fn uuid_user_dir(inbox_uniqueid: &str) -> Option<PathBuf> {
    Some(PathBuf::from("user").join(uuid_dir(inbox_uniqueid)?))
}

/// The letters of `fulldirhash`.
const LETTERS: &[u8; 23] = b"ABCDEFGHIJKLMNOPQRSTUVW";

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Hashing = Hashing {
        hashimapspool: false,
        fulldirhash: false,
    };
    const FIRST: Hashing = Hashing {
        hashimapspool: true,
        fulldirhash: false,
    };
    const FULL: Hashing = Hashing {
        hashimapspool: true,
        fulldirhash: true,
    };

    /// Where Cyrus 3.6.1 put the mailboxes with `mailbox_legacy_dirs: yes`, without hashing, with it, and with
    /// `fulldirhash`.
    #[test]
    fn legacy_directories_lead_back_to_names() {
        for hashimapspool in [false, true] {
            let hashing = Hashing {
                hashimapspool,
                fulldirhash: true,
            };
            for name in [
                "user.jo^smith.x",
                "shared",
                "other.test!user.frank",
                "DELETED.user.a.6B05AE3B",
            ] {
                let name = MailboxName::parse(name).unwrap();
                assert_eq!(hashing.legacy_name(&hashing.legacy_dir(&name)), Some(name));
            }
            for path in ["", "domain", "domain/M", "x.y/z", "Z/user/alice/"] {
                assert_eq!(
                    hashing.legacy_name(Path::new(path)).filter(|_| hashimapspool),
                    None,
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn legacy_directories_are_where_cyrus_makes_them() {
        for (name, plain, first, full) in [
            ("user.bovik", "user/bovik", "b/user/bovik", "W/user/bovik"),
            (
                "user.bovik.work",
                "user/bovik/work",
                "b/user/bovik/work",
                "W/user/bovik/work",
            ),
            (
                "user.jo^smith",
                "user/jo^smith",
                "j/user/jo^smith",
                "A/user/jo^smith",
            ),
            ("user.Zed", "user/Zed", "z/user/Zed", "L/user/Zed"),
            ("user.9lives", "user/9lives", "q/user/9lives", "M/user/9lives"),
            ("shared", "shared", "s/shared", "T/shared"),
            ("shared.team", "shared/team", "t/shared/team", "O/shared/team"),
            ("9x", "9x", "q/9x", "T/9x"),
            ("-x", "-x", "q/-x", "U/-x"),
            ("Q", "Q", "q/Q", "M/Q"),
            ("Upper", "Upper", "u/Upper", "C/Upper"),
            ("Upper.Case", "Upper/Case", "c/Upper/Case", "V/Upper/Case"),
            ("a^b", "a^b", "a/a^b", "F/a^b"),
            ("a^b.c^d", "a^b/c^d", "c/a^b/c^d", "H/a^b/c^d"),
            (
                "DELETED.user.bovik.work.9.6B05D5FE",
                "DELETED/user/bovik/work/9/6B05D5FE",
                "u/DELETED/user/bovik/work/9/6B05D5FE",
                "C/DELETED/user/bovik/work/9/6B05D5FE",
            ),
            (
                "other.test!user.bovik",
                "domain/other.test/user/bovik",
                "domain/o/other.test/b/user/bovik",
                "domain/M/other.test/W/user/bovik",
            ),
            (
                "other.test!shared",
                "domain/other.test/shared",
                "domain/o/other.test/s/shared",
                "domain/M/other.test/T/shared",
            ),
            (
                "9dom.test!user.bovik",
                "domain/9dom.test/user/bovik",
                "domain/q/9dom.test/b/user/bovik",
                "domain/G/9dom.test/W/user/bovik",
            ),
            (
                "Zother.test!user.b^c",
                "domain/Zother.test/user/b^c",
                "domain/z/Zother.test/b/user/b^c",
                "domain/V/Zother.test/G/user/b^c",
            ),
        ] {
            let name = MailboxName::parse(name).unwrap();
            for (hashing, dir) in [(PLAIN, plain), (FIRST, first), (FULL, full)] {
                assert_eq!(
                    hashing.legacy_dir(&name).to_str(),
                    Some(dir),
                    "{name} {hashing:?}"
                );
                assert_eq!(
                    hashing.legacy_lock_file(&name).to_str(),
                    Some(&*format!("{dir}.lock"))
                );
            }
        }
    }

    /// The namespace locks that Cyrus 3.6.1 left behind in the same runs.
    #[test]
    fn namespace_locks_are_where_cyrus_makes_them() {
        for (userid, name, letter) in [
            (None, "*U*", 'D'),
            (Some("bovik"), "*U*bovik", 'O'),
            (Some("Zed"), "*U*Zed", 'A'),
            (Some("9lives"), "*U*9lives", 'L'),
            (Some("jo.smith"), "*U*jo^smith", 'K'),
            (Some("alice"), "*U*alice", 'U'),
            (Some("bovik@other.test"), "*U*bovik@other^test", 'M'),
            (Some("bovik@9dom.test"), "*U*bovik@9dom^test", 'D'),
            (Some("frank@other.test"), "*U*frank@other^test", 'J'),
            (Some("b.c@Zother.test"), "*U*b^c@Zother^test", 'M'),
        ] {
            let lock = namespace_lock_name(userid);
            assert_eq!(lock, name);
            assert_eq!(PLAIN.lock_file(&lock).to_str(), Some(&*format!("{name}.lock")));
            assert_eq!(FIRST.lock_file(&lock).to_str(), Some(&*format!("q/{name}.lock")));
            assert_eq!(
                FULL.lock_file(&lock).to_str(),
                Some(&*format!("{letter}/{name}.lock"))
            );
        }
    }

    #[test]
    fn per_user_files_are_always_hashed() {
        assert_eq!(
            PLAIN.legacy_user_file("jo.smith").to_str(),
            Some("user/j/jo.smith")
        );
        assert_eq!(FULL.legacy_user_file("alice").to_str(), Some("user/L/alice"));
        let frank = PLAIN.legacy_user_file("frank@other.test");
        assert_eq!(frank.to_str(), Some("domain/o/other.test/user/f/frank"));
    }

    #[test]
    fn the_layout_by_uniqueid_uses_its_first_two_bytes() {
        let id = "oyjgzluzh0cx6z09618p5l4k";
        assert_eq!(
            uuid_dir(id).unwrap().to_str(),
            Some("uuid/o/y/oyjgzluzh0cx6z09618p5l4k")
        );
        assert_eq!(
            uuid_user_dir(id).unwrap().to_str(),
            Some("user/uuid/o/y/oyjgzluzh0cx6z09618p5l4k")
        );
        for bad in ["", "a", "../etc", "a/b", "..", "\u{e9}\u{e9}"] {
            assert_eq!(uuid_dir(bad), None, "{bad}");
        }
    }
}
