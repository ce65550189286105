//! Rows of the table of behaviour: one test a row, named by its id, against real Cyrus and against this project.
//!
//! Rows of one configuration share their servers ([`stage`]); each has users and mailboxes of its own.

mod made;
mod names;
mod namespaces;
mod oracle;
mod rights;
mod stage;
mod users;
