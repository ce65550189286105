//! The Cyrus mail store as a library.

mod format;

pub mod db;
pub mod lock;
pub mod sys;
