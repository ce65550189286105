//! Interoperability: this project's daemons and tools beside Debian's own Cyrus, on the same spools, and under real
//! clients.
//!
//! Each test that needs Debian's Cyrus is skipped, with the reason printed, where it is not installed; with `CI` set that is
//! a failure. `RIG_SECONDS` and `RIG_KILLS` lengthen the tests under load; `RIG_KEEP=1` keeps the folders of the sites.

mod clients;
mod corpus;
mod crash;
mod deleted;
mod differential;
mod fixtures;
mod hostile;
mod idle;
mod life;
mod notify;
mod recovery;
mod reverse;
mod rig;
mod rows;
mod search_index;
mod space;
mod together;
mod tools;
mod usage;
