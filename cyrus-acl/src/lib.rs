//! Access control lists of the Cyrus mail store: rights, identifiers, groups and effective rights.

mod rights;

pub use rights::{DeleteRight, Rights, RightsError};
