//! The Cyrus mail store as a library.

pub mod message;
pub mod search;
