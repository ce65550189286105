//! The rows of the table of behaviour, each a test named by its row, on this project's daemons and, where it applies, on
//! Debian's Cyrus.

mod logins;
