//! The `krb5` mechanism: principals of Kerberos, with the local realm left out.

use std::sync::Arc;

use super::equivalents::Equivalents;
use super::{AuthError, Mechanism};
use crate::Identifier;
use crate::identifier::{IdentifierError, check_userid};

/// The mechanism of sites with Kerberos (`auth_mech: krb5`): `bovik`, `bovik/admin`, `bovik@REMOTE.COM`.
///
/// A principal of the local realm is written without it, so `bovik@LOCAL.ORG` and `bovik` are one user. Realms are
/// compared as they are written, upper case and lower. There are no groups.
///
/// ```
/// use cyrus_acl::{Krb5, Mechanism};
///
/// let krb5 = Krb5::new(Some("LOCAL.ORG".to_owned()));
/// assert_eq!(krb5.canonical("bovik@LOCAL.ORG")?, "bovik");
/// assert_eq!(krb5.canonical("bovik@REMOTE.COM")?, "bovik@REMOTE.COM");
/// # Ok::<(), cyrus_acl::IdentifierError>(())
/// ```
pub struct Krb5 {
    realm: Option<String>,
    equivalents: Box<dyn Fn() -> Arc<Equivalents> + Send + Sync>,
}

impl Krb5 {
    /// The mechanism of a site in this realm. Without one, names are used as they are written.
    pub fn new(realm: Option<String>) -> Self {
        let none = Arc::new(Equivalents::default());
        Self {
            realm: realm.filter(|realm| !realm.is_empty()),
            equivalents: Box::new(move || Arc::clone(&none)),
        }
    }

    /// The same with a map of identities, asked for at each use, so that it may change while the server runs.
    #[must_use]
    pub fn with_equivalents(
        mut self,
        equivalents: impl Fn() -> Arc<Equivalents> + Send + Sync + 'static,
    ) -> Self {
        self.equivalents = Box::new(equivalents);
        self
    }

    /// The principal without the local realm, before any map.
    fn principal(&self, text: &str) -> Result<String, IdentifierError> {
        if text.len() > Identifier::MAX_USERID {
            return Err(IdentifierError::TooLong { length: text.len() });
        }
        let (name, realm) = match text.split_once('@') {
            Some((name, realm)) => (name, Some(realm)),
            None => (text, None),
        };
        if name.split('/').any(str::is_empty) {
            return Err(match text.is_empty() {
                true => IdentifierError::Empty,
                false => IdentifierError::Refused("a component of the principal is empty".into()),
            });
        }
        // The slash alone is allowed here and not in other userids: it stands between the components of a principal.
        check_userid(&name.replace('/', "."))?;
        let Some(realm) = realm else {
            return Ok(name.to_owned());
        };
        if realm.is_empty() {
            return Err(IdentifierError::Refused(
                "the realm of the principal is empty".into(),
            ));
        }
        if let Some(at) = realm.find('@') {
            let at = name.len() + 1 + at;
            return Err(IdentifierError::BadByte { byte: b'@', at });
        }
        check_userid(realm)?;
        Ok(match self.realm.as_deref() == Some(realm) {
            true => name.to_owned(),
            false => text.to_owned(),
        })
    }
}

impl Mechanism for Krb5 {
    fn canonical(&self, text: &str) -> Result<String, IdentifierError> {
        let principal = self.principal(text)?;
        match (self.equivalents)().of(&principal, |field| self.principal(field).ok()) {
            Some(mapped) => Ok(mapped),
            None => Ok(principal),
        }
    }

    fn groups(&self, _userid: &str) -> Result<Vec<String>, AuthError> {
        Ok(Vec::new())
    }

    fn local_identity(&self, userid: &str) -> Option<String> {
        let canonical = self.canonical(userid).ok()?;
        (canonical != userid).then_some(canonical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(map: &str) -> Krb5 {
        let map = Arc::new(Equivalents::parse(map));
        Krb5::new(Some("LOCAL.ORG".to_owned())).with_equivalents(move || Arc::clone(&map))
    }

    fn canonical(krb5: &Krb5, text: &str) -> Result<String, IdentifierError> {
        Identifier::canonical(text, krb5).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn s064_the_local_realm_is_left_out_and_an_instance_belongs_to_the_name() {
        let krb5 = site("");
        for (typed, stored) in [
            ("bovik", "bovik"),
            ("bovik.admin", "bovik.admin"),
            ("bovik/admin", "bovik/admin"),
            ("bovik@LOCAL.ORG", "bovik"),
            ("bovik/admin@LOCAL.ORG", "bovik/admin"),
            ("bovik@REMOTE", "bovik@REMOTE"),
            ("bovik@local.org", "bovik@local.org"),
            ("-bovik@LOCAL.ORG", "-bovik"),
            ("Bovik", "Bovik"),
            ("anyone", "anyone"),
            ("anyone@LOCAL.ORG", "anyone"),
            ("anonymous", "anonymous"),
        ] {
            assert_eq!(canonical(&krb5, typed), Ok(stored.to_owned()), "{typed}");
        }
    }

    #[test]
    fn s064_what_is_no_principal_is_refused() {
        let krb5 = site("");
        let long = format!("{}@REMOTE", "x".repeat(80));
        for refused in [
            "",
            "@REMOTE",
            "bovik@",
            "bovik@A@B",
            "bovik/",
            "/admin",
            "a//b",
            "a\\b",
            "a%b",
            "a\tb",
            "caf\u{e9}",
            "bovik@RE/MOTE",
            "group:staff",
            &long,
        ] {
            assert!(krb5.canonical(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn s064_without_a_local_realm_names_stay_as_they_are() {
        let krb5 = Krb5::new(None);
        assert_eq!(krb5.canonical("bovik@LOCAL.ORG").unwrap(), "bovik@LOCAL.ORG");
        assert_eq!(krb5.canonical("bovik").unwrap(), "bovik");
    }

    #[test]
    fn s065_an_identity_that_the_map_has_is_treated_as_the_other() {
        let krb5 = site("bovik@REMOTE.COM bovik\nroot/admin@LOCAL.ORG\tcyrus\n");
        assert_eq!(krb5.canonical("bovik@REMOTE.COM").unwrap(), "bovik");
        assert_eq!(krb5.canonical("root/admin").unwrap(), "cyrus");
        assert_eq!(krb5.canonical("bovik@OTHER.COM").unwrap(), "bovik@OTHER.COM");
        assert_eq!(canonical(&krb5, "-bovik@REMOTE.COM").unwrap(), "-bovik");
        let auth = krb5.auth_state("bovik@REMOTE.COM").unwrap();
        assert!(auth.member_of(&Identifier::stored("bovik").unwrap()));
        assert_eq!(auth.groups().len(), 0);
    }

    #[test]
    fn s065_a_map_is_followed_once_and_one_to_nonsense_not_at_all() {
        let krb5 = site("a@X b\nb c\nd@X no%body\n");
        assert_eq!(krb5.canonical("a@X").unwrap(), "b");
        assert_eq!(krb5.canonical("b").unwrap(), "c");
        assert_eq!(krb5.canonical("d@X").unwrap(), "d@X");
    }

    #[test]
    fn s089_the_map_says_as_whom_an_identity_logs_in() {
        let krb5 = site("bovik@REMOTE.COM bovik\n");
        assert_eq!(krb5.local_identity("bovik@REMOTE.COM").as_deref(), Some("bovik"));
        assert_eq!(krb5.local_identity("fred@LOCAL.ORG").as_deref(), Some("fred"));
        assert_eq!(krb5.local_identity("fred"), None);
        assert_eq!(krb5.local_identity("fred@REMOTE.COM"), None);
    }
}
