//! The Cyrus mail store as a library.
