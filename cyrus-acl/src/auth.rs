//! Who a user is: canonical userids, groups, and the trait by which a site adds its own mechanism.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::Identifier;
use crate::identifier::{IdentifierError, check_userid};

mod equivalents;
mod krb5;
pub mod unix;

pub use equivalents::Equivalents;
pub use krb5::Krb5;
pub use unix::{GroupSource, SystemGroups, Unix};

/// An authorization mechanism: how identifiers are spelled, and which of them stand for a given user.
///
/// Authorization is not authentication: by the time a mechanism is asked, somebody else has checked the password. A
/// site adds its own by implementing [`canonical`](Self::canonical) and [`groups`](Self::groups):
///
/// ```
/// use cyrus_acl::{AuthError, Identifier, IdentifierError, Mechanism};
///
/// /// Every user holds the role of the letters before the first digit: `sales7` is in `role:sales`.
/// struct Roles;
///
/// impl Mechanism for Roles {
///     fn canonical(&self, text: &str) -> Result<String, IdentifierError> {
///         match text.strip_prefix("role:") {
///             Some("") => Err(IdentifierError::Refused("a role needs a name".into())),
///             _ => Ok(text.to_ascii_lowercase()),
///         }
///     }
///
///     fn groups(&self, userid: &str) -> Result<Vec<String>, AuthError> {
///         Ok(vec![format!("role:{}", userid.trim_end_matches(|c: char| c.is_ascii_digit()))])
///     }
/// }
///
/// let sales7 = Roles.auth_state("Sales7")?;
/// assert!(sales7.member_of(&Identifier::canonical("role:sales", &Roles)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Mechanism: Send + Sync {
    /// The canonical spelling of a user's or group's identifier, which is never negative.
    ///
    /// # Errors
    /// The text is no identifier of this mechanism.
    fn canonical(&self, text: &str) -> Result<String, IdentifierError>;

    /// The identifiers other than his own name under which lists may mention this canonical userid, `group:` and
    /// the like included.
    ///
    /// # Errors
    /// They could not be found out. The caller must then refuse the user, because a negative entry may name one.
    fn groups(&self, userid: &str) -> Result<Vec<String>, AuthError>;

    /// The user of a session that has just logged in, with his groups, and not an administrator.
    ///
    /// # Errors
    /// `userid` is no identifier, or the groups could not be found out.
    fn auth_state(&self, userid: &str) -> Result<AuthState, AuthError> {
        let userid = self.canonical(userid)?;
        let groups = self.groups(&userid)?;
        Ok(AuthState::new(userid, groups))
    }

    /// The user of this site as whom an identity logs in, if that is another spelling than its own: what a map of
    /// identities says, or the name without the local realm. Asked before it matters which realms may log in.
    fn local_identity(&self, _userid: &str) -> Option<String> {
        None
    }
}

/// Who acts: a user with the groups that he had at login, nobody in particular, or the system itself.
///
/// Cheap to clone and to send to other threads.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthState(Arc<State>);

#[derive(Clone, PartialEq, Eq)]
struct State {
    userid: String,
    groups: BTreeSet<String>,
    admin: bool,
    system: bool,
}

impl AuthState {
    /// A user without groups, not an administrator; `userid` must already be canonical.
    ///
    /// # Errors
    /// `userid` has characters that no userid may have.
    pub fn user(userid: &str) -> Result<Self, IdentifierError> {
        check_userid(userid)?;
        Ok(Self::new(userid.to_owned(), Vec::new()))
    }

    /// A session that has not logged in, or has done so as nobody in particular: `anonymous`.
    pub fn anonymous() -> Self {
        Self::new(Identifier::ANONYMOUS.to_owned(), Vec::new())
    }

    /// The system itself: tools and embedders that may do everything, whatever the lists say.
    pub fn system() -> Self {
        let state = State {
            userid: "system".into(),
            groups: BTreeSet::new(),
            admin: true,
            system: true,
        };
        Self(Arc::new(state))
    }

    fn new(userid: String, groups: Vec<String>) -> Self {
        let groups = groups.into_iter().collect();
        Self(Arc::new(State {
            userid,
            groups,
            admin: false,
            system: false,
        }))
    }

    /// The same user, held by these canonical groups, `group:` included.
    #[must_use]
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Arc::make_mut(&mut self.0).groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// The same user, as an administrator (imapd.conf's `admins`) or not.
    #[must_use]
    pub fn with_admin(mut self, admin: bool) -> Self {
        Arc::make_mut(&mut self.0).admin = admin;
        self
    }

    /// The canonical userid. That of the system is `system`, which a user may have, too: ask [`Self::is_system`].
    pub fn userid(&self) -> &str {
        &self.0.userid
    }

    /// The groups that hold the user, in their order as text.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.groups.iter().map(String::as_str)
    }

    /// Whether the user is an administrator, as the system itself is.
    pub fn is_admin(&self) -> bool {
        self.0.admin
    }

    /// Whether this is [`AuthState::system`].
    pub fn is_system(&self) -> bool {
        self.0.system
    }

    /// Whether this is the user of [`AuthState::anonymous`].
    pub fn is_anonymous(&self) -> bool {
        !self.0.system && self.0.userid == Identifier::ANONYMOUS
    }

    /// Whether an entry with this identifier is about the user; for a negative one, whether its subject is.
    pub fn member_of(&self, identifier: &Identifier) -> bool {
        self.membership(identifier).is_some()
    }

    /// Whether one of these identifiers, as `admins` and its like list them, is the user, a group that holds him, or
    /// everybody.
    pub fn is_one_of(&self, identifiers: &[String]) -> bool {
        let mut identifiers = identifiers.iter();
        identifiers.any(|text| {
            Identifier::stored(text).is_ok_and(|listed| !listed.is_negative() && self.member_of(&listed))
        })
    }

    /// Why an entry with this identifier is about the user.
    pub(crate) fn membership(&self, identifier: &Identifier) -> Option<Membership> {
        let subject = identifier.subject();
        if identifier.is_anyone() {
            Some(Membership::Everybody)
        } else if subject == self.0.userid && !self.0.system {
            Some(Membership::Himself)
        } else if self.0.groups.contains(subject) {
            Some(Membership::Group)
        } else {
            None
        }
    }
}

impl fmt::Debug for AuthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthState")
            .field("userid", &self.0.userid)
            .field("groups", &self.0.groups)
            .field("admin", &self.0.admin)
            .field("system", &self.0.system)
            .finish()
    }
}

/// How an entry comes to be about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The entry names `anyone`.
    Everybody,
    /// The entry names the user.
    Himself,
    /// The entry names a group that holds the user.
    Group,
}

/// Why a mechanism cannot tell who a user is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The userid is no identifier.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// The groups could not be found out; perhaps later.
    #[error("cannot look up the groups of {userid:?}: {reason}")]
    Groups {
        /// The user asked for.
        userid: String,
        /// What the group database said.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Identifier {
        Identifier::stored(text).unwrap()
    }

    #[test]
    fn s057_anonymous_is_a_user_of_that_name_and_s058_anyone_is_everybody() {
        let anonymous = AuthState::anonymous();
        assert!(anonymous.member_of(&id("anonymous")) && anonymous.member_of(&id("anyone")));
        let fred = AuthState::user("fred").unwrap();
        assert!(!fred.member_of(&id("anonymous")) && fred.member_of(&id("-anyone")));
        assert!(!fred.member_of(&id("ANYONE")));
    }

    #[test]
    fn a_group_of_that_name_is_not_the_user() {
        let fred = AuthState::user("fred").unwrap().with_groups(["group:staff"]);
        assert!(fred.member_of(&id("group:staff")) && fred.member_of(&id("-group:staff")));
        assert!(!fred.member_of(&id("staff")) && !fred.member_of(&id("group:fred")));
        assert!(fred.member_of(&id("fred")) && !fred.member_of(&id("Fred")));
    }

    #[test]
    fn s070_administrators_may_be_listed_by_their_group() {
        let fred = AuthState::user("fred").unwrap().with_groups(["group:staff"]);
        let listed = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            fred.is_one_of(&words)
        };
        assert!(listed("cyrus fred") && listed("cyrus group:staff") && listed("anyone"));
        assert!(!listed("cyrus") && !listed("-fred") && !listed("Fred") && !listed("group:fred staff"));
        assert!(!fred.is_one_of(&[]) && !AuthState::system().is_one_of(&["system".to_owned()]));
    }

    #[test]
    fn the_system_is_no_user_of_that_name() {
        let system = AuthState::system();
        assert!(system.is_system() && system.is_admin() && !system.member_of(&id("system")));
        assert!(!AuthState::user("system").unwrap().is_system());
    }

    #[test]
    fn a_userid_with_forbidden_characters_is_refused() {
        assert!(AuthState::user("us%er").is_err());
        assert!(AuthState::user("").is_err());
        assert_eq!(
            AuthState::user("jo.smith@other.test").unwrap().userid(),
            "jo.smith@other.test"
        );
    }
}
