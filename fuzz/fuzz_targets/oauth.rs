//! Fuzzes `oauth`; see `cyrus_fuzz::TARGETS`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cyrus_fuzz::run("oauth", data));
