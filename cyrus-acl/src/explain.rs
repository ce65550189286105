//! Why a user has the rights that he has, for administrators.

use std::fmt;

use crate::auth::{AuthState, Membership};
use crate::effective::{ADMIN_IMPLIES, Policy, Relation, implicit_owner_rights, inherent_rights};
use crate::{Acl, Identifier, Rights};

/// The rights of a user, and each reason for them; `Display` prints it for a human, a line a reason.
///
/// ```
/// use cyrus_acl::{Acl, AuthState, Policy, Relation, explain};
///
/// let acl = Acl::parse("group:staff\tlrs\t-fred\ts\tbob\tlr\t")?;
/// let fred = AuthState::user("fred")?.with_groups(["group:staff"]);
/// let explanation = explain(&acl, &fred, Relation::Other, &Policy::default());
/// assert_eq!(explanation.to_string(), "\
/// fred has lr
///   group:staff grants lrs: fred is in this group
///   -fred takes away s: this is fred
///   bob is someone else
/// ");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The user asked about.
    pub userid: String,
    /// What he has: the same as [`effective`](crate::effective()) answers.
    pub rights: Rights,
    /// What led to it, in the order in which it counts.
    pub reasons: Vec<Reason>,
}

/// One reason for, or against, rights of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// An entry grants rights.
    Granted {
        /// Whom the entry names.
        identifier: Identifier,
        /// The rights of the entry.
        rights: Rights,
        /// Why it is about the user.
        because: Membership,
    },
    /// `a` among the granted rights brings these with it (`acl_admin_implies_write`).
    ImpliedByAdmin(Rights),
    /// A negative entry takes rights away.
    Denied {
        /// Whom the entry names, with its `-`.
        identifier: Identifier,
        /// The rights of the entry.
        rights: Rights,
        /// Why it is about the user.
        because: Membership,
    },
    /// The user is the owner, and has these whatever entries say (`implicit_owner_rights`).
    Owner(Rights),
    /// The user is an administrator, and has these whatever entries say.
    Administrator(Rights),
    /// This is the system itself, which has these whatever entries say.
    System(Rights),
    /// The mailbox is deleted, and what entries say of it counts for administrators alone.
    Deleted,
    /// An entry is about somebody else.
    NotApplicable {
        /// Whom the entry names.
        identifier: Identifier,
    },
}

/// Explains what [`effective`](crate::effective()) answers for the same arguments.
pub fn explain(acl: &Acl, auth: &AuthState, relation: Relation, policy: &Policy) -> Explanation {
    let mut granted = Rights::NONE;
    let mut denied = Rights::NONE;
    let mut grants = Vec::new();
    let mut denials = Vec::new();
    let mut others = Vec::new();
    for (identifier, rights) in acl.entries() {
        let identifier = identifier.clone();
        match auth.membership(&identifier) {
            Some(because) if identifier.is_negative() => {
                denied |= rights;
                denials.push(Reason::Denied {
                    identifier,
                    rights,
                    because,
                });
            }
            Some(because) => {
                granted |= rights;
                grants.push(Reason::Granted {
                    identifier,
                    rights,
                    because,
                });
            }
            None => others.push(Reason::NotApplicable { identifier }),
        }
    }
    let mut reasons = grants;
    if policy.acl_admin_implies_write && granted.contains(Rights::ADMIN) {
        granted |= ADMIN_IMPLIES;
        reasons.push(Reason::ImpliedByAdmin(ADMIN_IMPLIES));
    }
    reasons.append(&mut denials);
    let own = implicit_owner_rights(relation, policy);
    if !own.is_empty() {
        reasons.push(Reason::Owner(own));
    }
    let inherent = inherent_rights(auth);
    if auth.is_system() {
        reasons.push(Reason::System(inherent));
    } else if auth.is_admin() {
        reasons.push(Reason::Administrator(inherent));
    }
    reasons.append(&mut others);
    Explanation {
        userid: auth.userid().to_owned(),
        rights: granted.without(denied) | own | inherent,
        reasons,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = &self.userid;
        if self.rights.is_empty() {
            writeln!(f, "{user} has no rights")?;
        } else {
            writeln!(f, "{user} has {}", self.rights)?;
        }
        for reason in &self.reasons {
            match reason {
                Reason::Granted {
                    identifier,
                    rights,
                    because,
                } => {
                    writeln!(f, "  {identifier} grants {rights}: {}", Because(*because, user))?;
                }
                Reason::ImpliedByAdmin(rights) => {
                    writeln!(
                        f,
                        "  the right a brings {rights} with it (acl_admin_implies_write)"
                    )?;
                }
                Reason::Denied {
                    identifier,
                    rights,
                    because,
                } => {
                    writeln!(
                        f,
                        "  {identifier} takes away {rights}: {}",
                        Because(*because, user)
                    )?;
                }
                Reason::Owner(rights) => {
                    writeln!(
                        f,
                        "  {user} is the owner and always has {rights} (implicit_owner_rights)"
                    )?;
                }
                Reason::Administrator(rights) => {
                    writeln!(f, "  {user} is an administrator and always has {rights} (admins)")?;
                }
                Reason::System(rights) => {
                    writeln!(f, "  this is the system itself, which always has {rights}")?
                }
                Reason::Deleted => {
                    f.write_str("  the mailbox is deleted: only administrators have rights\n")?
                }
                Reason::NotApplicable { identifier } if identifier.group().is_some() => {
                    writeln!(f, "  {identifier} does not apply: {user} is not in this group")?;
                }
                Reason::NotApplicable { identifier } => writeln!(f, "  {identifier} is someone else")?,
            }
        }
        Ok(())
    }
}

/// A membership in words.
struct Because<'a>(Membership, &'a str);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Membership::Everybody => f.write_str("this is everybody"),
            Membership::Himself => write!(f, "this is {}", self.1),
            Membership::Group => write!(f, "{} is in this group", self.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effective;
    use proptest::prelude::*;

    #[test]
    fn each_entry_group_negative_and_implicit_right_is_named() {
        let acl = Acl::parse("anyone\tlr\tgroup:mail\tp\tgroup:staff\ta\t-anyone\tl\t-bob\tr\t").unwrap();
        let fred = AuthState::user("fred")
            .unwrap()
            .with_groups(["group:staff"])
            .with_admin(true);
        let policy = Policy {
            acl_admin_implies_write: true,
            ..Policy::default()
        };
        let explanation = explain(&acl, &fred, Relation::Owner, &policy);
        assert_eq!(
            explanation.to_string(),
            "fred has lrswikxtecdan\n\
             \x20 anyone grants lr: this is everybody\n\
             \x20 group:staff grants a: fred is in this group\n\
             \x20 the right a brings switedn with it (acl_admin_implies_write)\n\
             \x20 -anyone takes away l: this is everybody\n\
             \x20 fred is the owner and always has lkxcan (implicit_owner_rights)\n\
             \x20 fred is an administrator and always has la (admins)\n\
             \x20 group:mail does not apply: fred is not in this group\n\
             \x20 -bob is someone else\n"
        );
    }

    #[test]
    fn nothing_and_everything_are_explained() {
        let nobody = AuthState::anonymous();
        let policy = Policy::default();
        assert_eq!(
            explain(&Acl::new(), &nobody, Relation::Other, &policy).to_string(),
            "anonymous has no rights\n"
        );
        assert_eq!(
            explain(&Acl::new(), &AuthState::system(), Relation::Other, &policy).to_string(),
            "system has lrswipkxtecdan\n  this is the system itself, which always has lrswipkxtecdan\n"
        );
    }

    proptest! {
        #[test]
        fn the_explained_rights_are_the_effective_rights(
            entries in prop::collection::vec(("-?(anyone|fred|bob|group:staff|group:mail)", 1u32..0x40_0000), 0..8),
            admin: bool,
            own: bool,
            implies: bool,
        ) {
            let entries = entries.into_iter();
            let acl = Acl::from_entries(
                entries.map(|(id, bits)| (Identifier::stored(&id).unwrap(), Rights::from_bits(bits))),
            );
            let fred = AuthState::user("fred").unwrap().with_groups(["group:staff"]).with_admin(admin);
            let relation = if own { Relation::Owner } else { Relation::Other };
            let policy = Policy { acl_admin_implies_write: implies, ..Policy::default() };
            prop_assert_eq!(
                explain(&acl, &fred, relation, &policy).rights,
                effective(&acl, &fred, relation, &policy)
            );
        }
    }
}
