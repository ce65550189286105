//! Access control lists of the Cyrus mail store: rights, identifiers, groups and effective rights.

mod acl;
pub mod auth;
mod identifier;
mod rights;

pub use acl::{Acl, AclError, ModifyMode, OwnerRule};
pub use auth::{AuthError, AuthState, GroupSource, Mechanism, Membership, SystemGroups, Unix};
pub use identifier::{Identifier, IdentifierError};
pub use rights::{DeleteRight, Rights, RightsError};
