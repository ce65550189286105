//! The `unix` mechanism: userids, and the groups of the system's group database.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, User, getgrouplist};

use super::{AuthError, Mechanism};
use crate::identifier::{GROUP_PREFIX, IdentifierError, check_userid};

/// The default mechanism (`auth_mech: unix`): `userid`, and `group:NAME` for a group of the system.
///
/// Users need no account of the system. A user without one is in the groups that list him as a member by name.
pub struct Unix {
    source: Box<dyn GroupSource>,
    groups_enabled: bool,
    lowercase: bool,
    cache: Mutex<HashMap<String, Known>>,
    lifetime: Duration,
}

/// The groups of a user, and when they were asked for.
struct Known {
    since: Instant,
    groups: Arc<[String]>,
}

impl Unix {
    /// How long an answer of the group database is believed, unless [`Unix::with_lifetime`] says otherwise.
    ///
    /// One look-up opens some seventy files on a common system, so it must not happen for each delivered message.
    pub const LIFETIME: Duration = Duration::from_secs(30);
    /// Answers kept at most; beyond that old ones are dropped first.
    const MAX_KNOWN: usize = 4096;

    /// The mechanism with Cyrus's defaults: the system's groups count, and userids are lower-cased.
    pub fn new() -> Self {
        Self::with_source(SystemGroups)
    }

    /// The mechanism over another group database.
    pub fn with_source(source: impl GroupSource + 'static) -> Self {
        Self {
            source: Box::new(source),
            groups_enabled: true,
            lowercase: true,
            cache: Mutex::new(HashMap::new()),
            lifetime: Self::LIFETIME,
        }
    }

    /// imapd.conf's `unix_group_enable`: whether groups hold anybody. `group:NAME` stays an identifier either way.
    #[must_use]
    pub fn group_enable(mut self, enable: bool) -> Self {
        self.groups_enabled = enable;
        self
    }

    /// imapd.conf's `username_tolower`: whether userids are lower-cased. Without it `ANYONE` is just a userid.
    #[must_use]
    pub fn username_tolower(mut self, lowercase: bool) -> Self {
        self.lowercase = lowercase;
        self
    }

    /// How long an answer of the group database is believed; zero asks every time.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    fn known(&self, userid: &str, now: Instant) -> Option<Arc<[String]>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cache.get(userid)?;
        (now.saturating_duration_since(known.since) < self.lifetime).then(|| Arc::clone(&known.groups))
    }

    fn remember(&self, userid: &str, groups: &Arc<[String]>, now: Instant) {
        if self.lifetime.is_zero() {
            return;
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= Self::MAX_KNOWN {
            cache.retain(|_, known| now.saturating_duration_since(known.since) < self.lifetime);
        }
        if cache.len() >= Self::MAX_KNOWN {
            cache.clear();
        }
        cache.insert(
            userid.to_owned(),
            Known {
                since: now,
                groups: Arc::clone(groups),
            },
        );
    }
}

impl Default for Unix {
    fn default() -> Self {
        Self::new()
    }
}

impl Mechanism for Unix {
    fn canonical(&self, text: &str) -> Result<String, IdentifierError> {
        if let Some(group) = text.strip_prefix(GROUP_PREFIX) {
            return match self.source.group_named(group) {
                Ok(Some(name)) => Ok(format!("{GROUP_PREFIX}{name}")),
                Ok(None) => Err(IdentifierError::UnknownGroup(group.to_owned())),
                Err(reason) => Err(IdentifierError::GroupLookup {
                    group: group.to_owned(),
                    reason,
                }),
            };
        }
        check_userid(text)?;
        Ok(if self.lowercase {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        })
    }

    fn groups(&self, userid: &str) -> Result<Vec<String>, AuthError> {
        if !self.groups_enabled {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        if let Some(groups) = self.known(userid, now) {
            return Ok(groups.to_vec());
        }
        let names = self.source.groups_of(userid);
        let names = names.map_err(|reason| AuthError::Groups {
            userid: userid.to_owned(),
            reason,
        })?;
        let groups: Arc<[String]> = names.iter().map(|name| format!("{GROUP_PREFIX}{name}")).collect();
        self.remember(userid, &groups, now);
        Ok(groups.to_vec())
    }
}

/// A database of groups. Errors are texts for the administrator.
pub trait GroupSource: Send + Sync {
    /// The names of the groups that hold this user.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn groups_of(&self, userid: &str) -> Result<Vec<String>, String>;

    /// The canonical name of this group, if it exists.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn group_named(&self, name: &str) -> Result<Option<String>, String>;
}

/// The group database of the system, through its name service switch (`/etc/group`, LDAP, ...).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemGroups;

impl GroupSource for SystemGroups {
    fn groups_of(&self, userid: &str) -> Result<Vec<String>, String> {
        let account = User::from_name(userid).map_err(|errno| errno.to_string())?;
        // A user without an account has no primary group. The call insists on one, so it gets a number that no
        // group has, which then finds no name below.
        let primary = account.map_or(Gid::from_raw(u32::MAX), |account| account.gid);
        let userid = CString::new(userid).map_err(|_| "the userid holds a NUL byte".to_owned())?;
        let gids = getgrouplist(&userid, primary).map_err(|errno| errno.to_string())?;
        let mut names = Vec::with_capacity(gids.len());
        for gid in gids {
            if let Some(group) = Group::from_gid(gid).map_err(|errno| errno.to_string())? {
                names.push(group.name);
            }
        }
        Ok(names)
    }

    fn group_named(&self, name: &str) -> Result<Option<String>, String> {
        if name.is_empty() || name.contains('\0') {
            return Ok(None);
        }
        let group = Group::from_name(name).map_err(|errno| errno.to_string())?;
        Ok(group.map(|group| group.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identifier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// `fred` is in `staff`; `staff` is the only group, and also answers to `crew`.
    #[derive(Clone, Default)]
    struct Staff {
        asked: Arc<AtomicUsize>,
        broken: bool,
    }

    impl GroupSource for Staff {
        fn groups_of(&self, userid: &str) -> Result<Vec<String>, String> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.broken {
                return Err("the directory is down".into());
            }
            Ok(if userid == "fred" {
                vec!["staff".into()]
            } else {
                Vec::new()
            })
        }

        fn group_named(&self, name: &str) -> Result<Option<String>, String> {
            Ok(matches!(name, "staff" | "crew").then(|| "staff".into()))
        }
    }

    fn canonical(unix: &Unix, text: &str) -> Result<String, IdentifierError> {
        Identifier::canonical(text, unix).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn s062_a_group_must_exist_and_is_stored_by_its_canonical_name() {
        let unix = Unix::with_source(Staff::default());
        assert_eq!(canonical(&unix, "group:crew"), Ok("group:staff".into()));
        assert_eq!(canonical(&unix, "-group:staff"), Ok("-group:staff".into()));
        assert_eq!(
            canonical(&unix, "group:nosuch"),
            Err(IdentifierError::UnknownGroup("nosuch".into()))
        );
        assert!(matches!(
            canonical(&unix, "GROUP:staff"),
            Err(IdentifierError::BadByte { byte: b':', at: 5 })
        ));
        assert!(canonical(&unix, "group:").is_err());
    }

    /// Cyrus 3.6.1: SETACL with the left-hand identifier, GETACL with the right-hand one.
    #[test]
    fn s062_userids_are_stored_in_lower_case() {
        let unix = Unix::with_source(Staff::default());
        for (typed, stored) in [
            ("Bob", "bob"),
            ("BOB.X", "bob.x"),
            ("jo^smith", "jo^smith"),
            ("a b", "a b"),
            (" a", " a"),
            ("-", "-"),
            ("--bob", "--bob"),
            ("- bob", "- bob"),
            ("a@", "a@"),
            ("alice@Example.TEST", "alice@example.test"),
            ("anybody", "anybody"),
            ("ANYONE", "anyone"),
            ("-Anyone", "-anyone"),
            ("Anonymous", "anonymous"),
            ("NIL", "nil"),
            ("{b", "{b"),
            ("a!b", "a!b"),
            ("0", "0"),
        ] {
            assert_eq!(canonical(&unix, typed), Ok(stored.into()), "{typed}");
        }
        let unix = unix.username_tolower(false);
        assert_eq!(canonical(&unix, "ANYONE"), Ok("ANYONE".into()));
        for refused in [
            "",
            "a%b",
            "a&b",
            "a*b",
            "a/b",
            "a:b",
            "a?b",
            "a\x7fb",
            "caf\u{e9}",
            "a\tb",
            "user:x",
        ] {
            assert!(canonical(&unix, refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn s061_groups_are_found_at_login_whatever_checked_the_password() {
        let unix = Unix::with_source(Staff::default());
        let fred = unix.auth_state("FRED").unwrap();
        assert_eq!(fred.userid(), "fred");
        assert_eq!(fred.groups().collect::<Vec<_>>(), ["group:staff"]);
        assert_eq!(unix.auth_state("bob").unwrap().groups().len(), 0);
    }

    #[test]
    fn s063_groups_can_be_disabled_but_stay_identifiers() {
        let unix = Unix::with_source(Staff::default()).group_enable(false);
        assert_eq!(unix.auth_state("fred").unwrap().groups().len(), 0);
        assert_eq!(canonical(&unix, "group:staff"), Ok("group:staff".into()));
    }

    /// Every member that a line of the group file names is found, with or without an account.
    #[test]
    fn s063_the_system_finds_members_by_name_in_the_group_file() {
        let file = std::fs::read_to_string("/etc/group").unwrap();
        for line in file.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let &[group, _, _, members] = fields.as_slice() else {
                continue;
            };
            for member in members.split(',').filter(|member| !member.is_empty()) {
                let groups = SystemGroups.groups_of(member).unwrap();
                assert!(
                    groups.iter().any(|name| name == group),
                    "{member} in {group}: {groups:?}"
                );
            }
        }
        assert_eq!(SystemGroups.groups_of("no such user"), Ok(Vec::new()));
        assert_eq!(SystemGroups.group_named("root"), Ok(Some("root".into())));
        assert_eq!(SystemGroups.group_named("no such group"), Ok(None));
    }

    #[test]
    fn the_group_database_is_asked_once_in_a_while() {
        let source = Staff::default();
        let unix = Unix::with_source(source.clone());
        for _ in 0..5 {
            assert_eq!(unix.groups("fred").unwrap(), ["group:staff"]);
        }
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
        let unix = unix.with_lifetime(Duration::ZERO);
        unix.groups("fred").unwrap();
        unix.groups("fred").unwrap();
        assert_eq!(source.asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn remembered_answers_are_bounded() {
        let unix = Unix::with_source(Staff::default());
        for number in 0..2 * Unix::MAX_KNOWN {
            unix.groups(&number.to_string()).unwrap();
        }
        assert!(unix.cache.lock().unwrap().len() <= Unix::MAX_KNOWN);
    }

    #[test]
    fn a_user_whose_groups_are_unknown_is_refused() {
        let unix = Unix::with_source(Staff {
            broken: true,
            ..Staff::default()
        });
        let error = unix.auth_state("fred").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot look up the groups of \"fred\": the directory is down"
        );
    }
}
