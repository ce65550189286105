//! Benchmarks: small ones in `benches/`, and the paired run that sets whole servers beside each other.

pub mod paired;
