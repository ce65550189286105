//! Indexes of every version that real Cyrus writes: read as they are, converted to the newest and back.

use std::fs;

use super::{filled, look, seen_by};
use crate::rig::audit::complaints;
use crate::rig::programs::Programs;
use crate::rig::site::Site;

/// The version of an index.
fn version(index: &[u8]) -> u32 {
    u32::from_be_bytes(index[8..12].try_into().expect("four octets"))
}

/// Real Cyrus charges the quota root for fields that it keeps as annotations, and forgets that when it converts version 12.
fn complaints_but_of_annotations(site: &Site, real: &Programs) -> Vec<String> {
    let mut left = complaints(site, real);
    left.retain(|line| {
        let usage = line.matches(" usage was ").count();
        usage == 0 || usage > line.matches("X-ANNOTATION-STORAGE usage was ").count()
    });
    left
}

#[test]
fn every_older_version_is_read_and_converted_in_both_directions() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let (site, folder) = filled(&real);
    let index = || fs::read(folder.join("cyrus.index")).expect("cyrus.index");
    let before = seen_by(&site, &real);
    let flags = |seen: &[String]| -> Vec<String> { seen.to_vec() };
    for old in [16, 15, 14, 13, 12] {
        let number = old.to_string();
        site.tool_ok(&real, "reconstruct", &["-V", &number, "user/alice/Box"]);
        assert_eq!(version(&index()), old);
        assert_eq!(
            flags(&seen_by(&site, &ours)),
            flags(&before),
            "version {old}, read as it is"
        );
        let told = site.tool_ok(&ours, "reconstruct", &["-V", "max", "user/alice/Box"]);
        assert!(told.contains(&format!("version {old} to 17")), "{told}");
        assert_eq!(version(&index()), 17);
        assert_eq!(seen_by(&site, &real), before, "version {old}, converted by us");
        let told = site.tool_ok(&ours, "reconstruct", &["-V", &number, "user/alice/Box"]);
        assert!(told.contains(&format!("version 17 to {old}")), "{told}");
        assert_eq!(version(&index()), old);
        assert_eq!(seen_by(&site, &real), before, "version {old}, taken back by us");
        site.tool_ok(&real, "reconstruct", &["-V", "max", "user/alice/Box"]);
        assert_eq!(
            seen_by(&site, &ours),
            before,
            "version {old}, converted by real Cyrus"
        );
    }
    let left = complaints_but_of_annotations(&site, &real);
    assert!(left.is_empty(), "{left:#?}");
}

/// Before version 12 there are no checksums, and what the owner has seen is in his database: such an index is converted when
/// it is first opened, as Cyrus itself once did.
#[test]
fn indexes_from_before_version_12_are_converted_when_they_are_opened() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    for old in [10, 9, 8, 7, 6] {
        let (site, folder) = filled(&real);
        let before = seen_by(&site, &real);
        // Real Cyrus goes down step by step.
        for step in [16, 15, 14, 13, 12, 10, 9, 8, 7, 6]
            .into_iter()
            .filter(|step| *step >= old)
        {
            site.tool(&real, "reconstruct", &["-V", &step.to_string(), "user/alice/Box"]);
        }
        let index = || fs::read(folder.join("cyrus.index")).expect("cyrus.index");
        if version(&index()) != old {
            // Real Cyrus fails at some of these steps; what it wrote before is still what it was.
            println!("real Cyrus did not convert to version {old}");
            continue;
        }
        let server = site.start(&ours);
        assert_eq!(look(&server), before, "version {old}");
        let mut alice = server.imap("alice");
        let reply = alice
            .append("Box", "", b"Subject: new\r\n\r\nNew.\r\n")
            .expect("APPEND");
        assert!(reply.is_ok(), "version {old}: {}", reply.status);
        alice.ok("LOGOUT");
        server.stop();
        assert_eq!(version(&index()), 17);
        let after = seen_by(&site, &real);
        assert_eq!(after.len(), before.len() + 1);
        assert_eq!(after[..before.len()], before, "version {old}");
        if old < 9 {
            // On its way down to these, real Cyrus itself changes usage and dates.
            continue;
        }
        let left = complaints_but_of_annotations(&site, &real);
        assert!(left.is_empty(), "version {old}: {left:#?}");
    }
}
