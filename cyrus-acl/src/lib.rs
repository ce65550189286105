//! Access control lists of the Cyrus mail store: rights, identifiers, groups and effective rights.
//!
//! An [`Acl`] says which [`Identifier`] holds which [`Rights`] on one mailbox. A [`Mechanism`] says who a user
//! is: it spells identifiers canonically and turns a userid into an [`AuthState`]. [`effective`] combines the two,
//! and [`explain`] names every reason for its answer. The crate knows neither files nor mailboxes; the only
//! question that it asks the system is which groups hold a user, and only through [`auth::Unix`].
//!
//! ```
//! use cyrus_acl::{Acl, AuthState, Policy, Relation, effective};
//!
//! let acl = Acl::parse("anyone\tlrsp\tfred\tlwi\t-anonymous\ts\t")?;
//! let fred = AuthState::user("fred")?;
//! let rights = effective(&acl, &fred, Relation::Other, &Policy::default());
//! assert_eq!(rights.to_string(), "lrswip");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acl;
pub mod auth;
mod effective;
mod explain;
mod identifier;
mod rights;

pub use acl::{Acl, AclError, ModifyMode, OwnerRule};
pub use auth::{
    AuthError, AuthState, Equivalents, GroupSource, Krb5, Mechanism, Membership, SystemGroups, Unix,
};
pub use effective::{Grantable, Policy, Relation, effective, grantable};
pub use explain::{Explanation, Reason, explain};
pub use identifier::{Identifier, IdentifierError};
pub use rights::{DeleteRight, Rights, RightsError};
