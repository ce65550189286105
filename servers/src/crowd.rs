//! How many are logged in: `maxlogins_per_user` and `maxlogins_per_host`.
//!
//! Sessions of this process are counted here; those of other processes, Cyrus's too, are in the proc directory. It is
//! only read where there is a limit.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cyrus_proto::surroundings::Seat;

use crate::procdir;

/// Who is logged in through this process.
#[derive(Debug, Default)]
pub struct Crowd {
    here: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    users: HashMap<String, usize>,
    hosts: HashMap<String, usize>,
}

/// The limits of one service; none where 0.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `maxlogins_per_user`
    pub per_user: usize,
    /// `maxlogins_per_host`
    pub per_host: usize,
    /// The proc directory.
    pub sessions: PathBuf,
}

/// A session that is counted.
struct Counted {
    crowd: Arc<Crowd>,
    user: String,
    host: String,
}

impl Crowd {
    /// Counts a login of `user` from `host`, the address in brackets, which the log calls `client`.
    ///
    /// # Errors
    /// There are too many already: what the client is told.
    pub fn admit(
        self: &Arc<Self>,
        limits: &Limits,
        user: &str,
        host: &str,
        client: &str,
    ) -> Result<Seat, String> {
        let mut users = 0;
        let mut hosts = 0;
        if limits.per_user > 0 || limits.per_host > 0 {
            for line in procdir::sessions_of_others(&limits.sessions) {
                users += usize::from(line.user == user);
                // Somebody who is not logged in takes no place.
                hosts += usize::from(line.client.ends_with(host) && !line.user.is_empty());
            }
        }
        let mut here = self.lock();
        users += here.users.get(user).copied().unwrap_or_default();
        hosts += here.hosts.get(host).copied().unwrap_or_default();
        let is_full = |count: usize, most: usize| most > 0 && count >= most;
        if is_full(users, limits.per_user) || is_full(hosts, limits.per_host) {
            let of_host = format!("{hosts} of {} from {client}", limits.per_host);
            let of_user = format!("{users} of {} for {user}", limits.per_user);
            let which = match (limits.per_host, limits.per_user) {
                (0, _) => of_user,
                (_, 0) => of_host,
                _ => format!("{of_host}, {of_user}"),
            };
            return Err(format!("Too many open connections ({which})"));
        }
        *here.users.entry(user.to_owned()).or_default() += 1;
        *here.hosts.entry(host.to_owned()).or_default() += 1;
        Ok(Box::new(Counted {
            crowd: Arc::clone(self),
            user: user.to_owned(),
            host: host.to_owned(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut here = self.crowd.lock();
        let Counts { users, hosts } = &mut *here;
        for (counts, name) in [(users, &self.user), (hosts, &self.host)] {
            if let Some(count) = counts.get_mut(name) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_hosts_have_as_many_places_as_they_may() {
        let dir = tempfile::tempdir().unwrap();
        let crowd = Arc::new(Crowd::default());
        let mut limits = Limits {
            per_user: 1,
            per_host: 2,
            sessions: dir.path().to_owned(),
        };
        let admit = |limits: &Limits, user: &str, host: &str| {
            crowd
                .admit(limits, user, host, &format!("localhost {host}"))
                .map_err(|refusal| refusal.replace("Too many open connections ", ""))
        };
        let first = admit(&limits, "a", "[127.0.0.1]").ok().unwrap();
        assert_eq!(
            admit(&limits, "a", "[127.0.0.1]").err().unwrap(),
            "(1 of 2 from localhost [127.0.0.1], 1 of 1 for a)"
        );
        let second = admit(&limits, "b", "[127.0.0.1]").ok().unwrap();
        assert!(admit(&limits, "c", "[127.0.0.1]").is_err());
        let third = admit(&limits, "c", "[::1]").ok().unwrap();
        drop((first, second, third));
        assert!(crowd.lock().users.is_empty() && crowd.lock().hosts.is_empty());
        // Another process's sessions count; a dead one's do not.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(
            dir.path().join(child.id().to_string()),
            "imap\tlocalhost [127.0.0.1]\ta\t\t\n",
        )
        .unwrap();
        limits.per_host = 0;
        assert_eq!(
            admit(&limits, "a", "[127.0.0.1]").err().unwrap(),
            "(1 of 1 for a)"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(admit(&limits, "a", "[127.0.0.1]").is_ok());
    }
}
