//! From a list and a user to the rights that he has.

use crate::auth::AuthState;
use crate::{Acl, Identifier, IdentifierError, Mechanism, Rights};

/// How a user stands to a mailbox. Whether he is an administrator is part of [`AuthState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The mailbox is in the tree of the user's own INBOX.
    Owner,
    /// It is not.
    Other,
}

/// The settings of imapd.conf that lists alone do not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `implicit_owner_rights`: what users always have in their own tree; `lkxan` by default.
    pub implicit_owner_rights: Rights,
    /// `acl_admin_implies_write`: whether `a` brings `switen` with it; off by default.
    pub acl_admin_implies_write: bool,
}

impl Policy {
    /// The default of `implicit_owner_rights`: `lkxan`.
    pub const IMPLICIT_OWNER_RIGHTS: Rights = Rights::LOOKUP
        .union(Rights::CREATE)
        .union(Rights::DELETE_MAILBOX)
        .union(Rights::ADMIN)
        .union(Rights::ANNOTATE);
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            implicit_owner_rights: Self::IMPLICIT_OWNER_RIGHTS,
            acl_admin_implies_write: false,
        }
    }
}

/// The rights of a user on the mailbox of this list: what MYRIGHTS answers, and what every operation is checked against.
///
/// First all entries that are about him grant their rights, then all negative ones take theirs away; the order of
/// entries does not matter. Last come the rights that no entry can take: the owner's implicit ones, and `l` and `a`
/// of an administrator, on his own mailboxes too. [`AuthState::system`] has all rights everywhere.
pub fn effective(acl: &Acl, auth: &AuthState, relation: Relation, policy: &Policy) -> Rights {
    let mut granted = Rights::NONE;
    let mut denied = Rights::NONE;
    for (identifier, rights) in acl.entries().filter(|(identifier, _)| auth.member_of(identifier)) {
        if identifier.is_negative() {
            denied |= rights;
        } else {
            granted |= rights;
        }
    }
    if policy.acl_admin_implies_write && granted.contains(Rights::ADMIN) {
        granted |= ADMIN_IMPLIES;
    }
    granted.without(denied) | implicit_owner_rights(relation, policy) | inherent_rights(auth)
}

pub(crate) fn implicit_owner_rights(relation: Relation, policy: &Policy) -> Rights {
    match relation {
        Relation::Owner => policy.implicit_owner_rights,
        Relation::Other => Rights::NONE,
    }
}

/// The rights that need no list: an administrator's `l` and `a`, and all of the system's.
pub(crate) fn inherent_rights(auth: &AuthState) -> Rights {
    if auth.is_system() {
        Rights::ALL
    } else if auth.is_admin() {
        Rights::LOOKUP | Rights::ADMIN
    } else {
        Rights::NONE
    }
}

/// What LISTRIGHTS answers (RFC 4314, section 3.7): what an identifier has on a mailbox whatever its list says, and
/// what the list can grant on top, right by right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grantable {
    /// The rights that are always there.
    pub required: Rights,
    /// The letters that can be granted or not, each for itself, macros included.
    pub optional: Vec<char>,
}

/// What can be granted to the identifier that a client wrote, on a mailbox of `owner`, or of nobody.
///
/// The owner always has his implicit rights. Everybody else can always post to a user's mailboxes: whether mail is
/// accepted for a user does not depend on his lists. To what is no identifier, nothing can be granted.
pub fn grantable(text: &str, owner: Option<&str>, mechanism: &dyn Mechanism, policy: &Policy) -> Grantable {
    let identifier: Result<Identifier, IdentifierError> = Identifier::canonical(text, mechanism);
    let Ok(identifier) = identifier else {
        return Grantable {
            required: Rights::NONE,
            optional: Vec::new(),
        };
    };
    let required = match owner {
        Some(owner) if owner == identifier.as_str() => policy.implicit_owner_rights,
        Some(_) => Rights::POST,
        None => Rights::NONE,
    };
    let taken = required.to_string();
    let every = Rights::from_bits(u32::MAX).to_string();
    Grantable {
        required,
        optional: every.chars().filter(|&letter| !taken.contains(letter)).collect(),
    }
}

/// What `a` brings with it under `acl_admin_implies_write`: `switen`.
pub(crate) const ADMIN_IMPLIES: Rights = Rights::SEEN
    .union(Rights::WRITE)
    .union(Rights::INSERT)
    .union(Rights::DELETE_MESSAGES)
    .union(Rights::EXPUNGE)
    .union(Rights::ANNOTATE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unix;
    use proptest::prelude::*;

    fn user(name: &str) -> AuthState {
        AuthState::user(name).unwrap()
    }

    fn rights_as(auth: &AuthState, acl: &str, relation: Relation) -> String {
        effective(&Acl::parse(acl).unwrap(), auth, relation, &Policy::default()).to_string()
    }

    #[test]
    fn s069_fred_and_anonymous() {
        let acl = "anyone\tlrsp\tfred\tlwi\t-anonymous\ts\t";
        assert_eq!(rights_as(&user("fred"), acl, Relation::Other), "lrswip");
        assert_eq!(rights_as(&AuthState::anonymous(), acl, Relation::Other), "lrp");
        assert_eq!(rights_as(&user("bob"), acl, Relation::Other), "lrsp");
    }

    /// `cyrus` is in group `sasl` and not in `mail`, and is an administrator; asked of Cyrus 3.6.1.
    #[test]
    fn s062_groups_grant_and_s067_negative_groups_take_away() {
        let cyrus = user("cyrus").with_groups(["group:sasl"]).with_admin(true);
        let acl = "group:sasl\tlrs\t-group:mail\ts\tgroup:other\tp\t";
        assert_eq!(rights_as(&cyrus, acl, Relation::Other), "lrsa");
        assert_eq!(
            rights_as(&cyrus, &format!("{acl}-group:sasl\tr\t"), Relation::Other),
            "lsa"
        );
    }

    #[test]
    fn s070_an_administrator_has_l_and_a_whatever_the_list_says() {
        let admin = user("admin").with_admin(true);
        for (acl, shown) in [
            ("", "la"),
            ("anyone\tp\t", "lpa"),
            ("-admin\tla\t", "la"),
            ("-anyone\tlrswipkxtecdan0\t", "la"),
            ("admin\tr\t", "lra"),
        ] {
            assert_eq!(rights_as(&admin, acl, Relation::Other), shown, "{acl}");
        }
    }

    #[test]
    fn s070_an_administrator_has_them_on_his_own_mailboxes_too() {
        let policy = Policy {
            implicit_owner_rights: Rights::ANNOTATE,
            ..Policy::default()
        };
        let admin = user("admin").with_admin(true);
        let rights = effective(
            &Acl::parse("admin\tn\t").unwrap(),
            &admin,
            Relation::Owner,
            &policy,
        );
        assert_eq!(rights.to_string(), "lan");
    }

    #[test]
    fn s071_the_owner_has_the_implicit_rights_whatever_the_list_says() {
        for (acl, shown) in [
            ("", "lkxcan"),
            ("user1\tlkxcan\t-user1\tlrswipkxtecdan\t", "lkxcan"),
            ("user1\tlrs\t-anyone\tlrswipkxtecdan\t", "lkxcan"),
            ("user1\tlrswipkxtecdan\t", "lrswipkxtecdan"),
        ] {
            assert_eq!(rights_as(&user("user1"), acl, Relation::Owner), shown, "{acl}");
        }
        assert_eq!(rights_as(&user("user1"), "", Relation::Other), "");
    }

    /// Asked of Cyrus 3.6.1 with `acl_admin_implies_write: 1`.
    #[test]
    fn admin_implies_write_before_negative_entries_take_away() {
        let policy = Policy {
            acl_admin_implies_write: true,
            ..Policy::default()
        };
        for (acl, shown) in [
            ("user3\ta\t", "switedan"),
            ("user3\ta\t-user3\ta\t", "switedn"),
            ("user3\ta\t-user3\tw\t", "sitedan"),
        ] {
            let rights = effective(
                &Acl::parse(acl).unwrap(),
                &user("user3"),
                Relation::Other,
                &policy,
            );
            assert_eq!(rights.to_string(), shown, "{acl}");
        }
        // What an administrator has without an entry implies nothing.
        let admin = user("admin").with_admin(true);
        assert_eq!(
            effective(&Acl::new(), &admin, Relation::Other, &policy).to_string(),
            "la"
        );
    }

    #[test]
    fn the_system_has_all_rights_everywhere() {
        assert_eq!(
            rights_as(&AuthState::system(), "-anyone\tlrswipkxtecdan\t", Relation::Other),
            "lrswipkxtecdan"
        );
    }

    /// The answers of Cyrus 3.6.1 to LISTRIGHTS.
    #[test]
    fn s077_listrights_names_what_is_always_there_and_what_can_be_granted() {
        let unix = Unix::new();
        let show = |text: &str, owner: Option<&str>| {
            let Grantable { required, optional } = grantable(text, owner, &unix, &Policy::default());
            let optional: Vec<String> = optional.iter().map(char::to_string).collect();
            format!("{required:?} {}", optional.join(" "))
        };
        assert_eq!(
            show("bob", None),
            "Rights() l r s w i p k x t e c d a n 0 1 2 3 4 5 6 7 8 9"
        );
        assert_eq!(
            show("user1", Some("user1")),
            "Rights(lkxcan) r s w i p t e d 0 1 2 3 4 5 6 7 8 9"
        );
        assert_eq!(
            show("USER1", Some("user1")),
            "Rights(lkxcan) r s w i p t e d 0 1 2 3 4 5 6 7 8 9"
        );
        assert_eq!(show("a%b", Some("user1")), "Rights() ");
    }

    #[test]
    fn s075_everybody_can_always_post_to_a_users_mailboxes() {
        for text in ["user2", "anonymous", "anyone", "-user1"] {
            let answer = grantable(text, Some("user1"), &Unix::new(), &Policy::default());
            assert_eq!(answer.required, Rights::POST, "{text}");
            assert_eq!(
                answer.optional.iter().collect::<String>(),
                "lrswikxtecdan0123456789",
                "{text}"
            );
        }
    }

    prop_compose! {
        fn any_acl()(entries in prop::collection::vec((
            "-?(anyone|anonymous|fred|bob|group:staff|group:mail)", 1u32..0x40_0000), 0..10)) -> Vec<(Identifier, Rights)> {
            entries.into_iter().map(|(id, bits)| (Identifier::stored(&id).unwrap(), Rights::from_bits(bits))).collect()
        }
    }

    proptest! {
        #[test]
        fn s068_the_order_of_entries_never_matters(
            (entries, shuffled) in any_acl().prop_flat_map(|entries| {
                (Just(entries.clone()), Just(entries).prop_shuffle())
            }),
            admin: bool,
            own: bool,
            implies: bool,
        ) {
            let fred = user("fred").with_groups(["group:staff"]).with_admin(admin);
            let relation = if own { Relation::Owner } else { Relation::Other };
            let policy = Policy { acl_admin_implies_write: implies, ..Policy::default() };
            let first = effective(&Acl::from_entries(entries), &fred, relation, &policy);
            prop_assert_eq!(first, effective(&Acl::from_entries(shuffled), &fred, relation, &policy));
        }

        #[test]
        fn s068_rights_are_the_union_of_grants_without_the_union_of_denials(entries in any_acl()) {
            let fred = user("fred").with_groups(["group:staff"]);
            let about = |sign: &str| {
                let names = ["anyone", "fred", "group:staff"].map(|name| format!("{sign}{name}"));
                let sum = |sum, &(_, rights): &(Identifier, Rights)| sum | rights;
                entries.iter().filter(|(id, _)| names.contains(&id.to_string())).fold(Rights::NONE, sum)
            };
            let rights = effective(&Acl::from_entries(entries.clone()), &fred, Relation::Other, &Policy::default());
            prop_assert_eq!(rights, about("") - about("-"));
        }
    }
}
