//! The rows of what the seed of this project asked for, each a test that carries the row's number, with this project's daemons
//! and with real Cyrus in their place.

mod directory;
mod logins;
mod made;
mod mechanisms;
mod names;
mod namespaces;
mod oracle;
mod partitions;
mod quotas;
mod recovery;
mod rights;
mod shared_site;
mod stage;
mod users;
mod watching;
