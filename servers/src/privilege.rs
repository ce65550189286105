//! Becoming the user that owns the mail.

use nix::unistd::{Group, Uid, User, geteuid, initgroups, setgid, setuid};

use crate::config::{Config, Opt};

/// Why the process cannot become the Cyrus user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// The system does not know the user.
    #[error(
        "there is no user '{0}'; make it, or name another one in cyrus_user or the environment's CYRUS_USER"
    )]
    NoUser(String),
    /// The system does not know the group.
    #[error("there is no group '{0}'; make it, or name another one in cyrus_group")]
    NoGroup(String),
    /// A system call failed.
    #[error("{op} failed while becoming user '{user}': {source}")]
    System {
        /// The call.
        op: &'static str,
        /// The user.
        user: String,
        /// What the system said.
        source: nix::Error,
    },
}

/// Gives up root for the user of `cyrus_user` (or `CYRUS_USER`), with that user's groups.
///
/// A process that is not root stays who it is: it can do what its user may do.
pub fn become_cyrus_user(config: &Config) -> Result<(), PrivilegeError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let name = config.cyrus_user();
    let failed = |op| {
        let user = name.clone();
        move |source| PrivilegeError::System { op, user, source }
    };
    let user = User::from_name(&name).map_err(failed("getpwnam"))?;
    let user = user.ok_or_else(|| PrivilegeError::NoUser(name.clone()))?;
    let gid = match config.text(Opt::CyrusGroup) {
        Some(group) => {
            let found = Group::from_name(&group).map_err(failed("getgrnam"))?;
            found
                .ok_or_else(|| PrivilegeError::NoGroup(group.into_owned()))?
                .gid
        }
        None => user.gid,
    };
    let c_name = std::ffi::CString::new(name.as_str()).map_err(|_| PrivilegeError::NoUser(name.clone()))?;
    initgroups(&c_name, gid).map_err(failed("initgroups"))?;
    setgid(gid).map_err(failed("setgid"))?;
    setuid(user.uid).map_err(failed("setuid"))?;
    if user.uid != Uid::from_raw(0) && setuid(Uid::from_raw(0)).is_ok() {
        return Err(PrivilegeError::System {
            op: "setuid",
            user: name,
            source: nix::Error::EPERM,
        });
    }
    Ok(())
}
