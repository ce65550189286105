//! `ctl_mboxlist`: every switch beside Cyrus's.

use std::process::Stdio;

use super::Pair;
use crate::rig::programs::{Programs, as_service_user};
use crate::rig::site::Site;

/// Runs `ctl_mboxlist` with input.
fn fed(site: &Site, programs: &Programs, arguments: &[&str], input: &str) -> Option<i32> {
    let path = site.root().join("conf/input");
    std::fs::write(&path, input).expect("input");
    let programs = programs.reachable(&site.root().join("programs"));
    let mut command = as_service_user(programs.path("ctl_mboxlist"));
    command.arg("-C").arg(site.conf()).args(arguments);
    command.stdin(Stdio::from(std::fs::File::open(&path).expect("input")));
    command.output().expect("ctl_mboxlist").status.code()
}

/// A dump without the moments of changes.
fn masked(line: &str) -> String {
    match line.split_once("\"mtime\": ") {
        Some((before, after)) => format!("{before}{}", after.split_once(',').map_or("", |(_, rest)| rest)),
        None => line.to_owned(),
    }
}

#[test]
fn the_list_is_dumped_restored_and_verified_as_by_cyrus() {
    for fixture in ["default-uuid", "legacy-virtdomains-conversations"] {
        let Some(pair) = Pair::of_fixture(fixture) else {
            return;
        };
        let whole = pair.same("ctl_mboxlist", &["-d"]).join("\n");
        for arguments in [
            &["-d", "-y"][..],
            &["-d", "-p", "default"],
            &["-d", "-p", "nosuch"],
        ] {
            pair.same("ctl_mboxlist", arguments);
        }
        // Cyrus 3.6 knows nothing of directories by unique id there, and misses those of mailboxes that have gone.
        if fixture != "default-uuid" {
            pair.same_lines("ctl_mboxlist", &["-v"], |line| !line.contains("(null)"));
        }
        for arguments in [&[][..], &["-d", "-u"], &["-v", "-x"], &["-d", "-L"], &["-Z"]] {
            pair.same_code("ctl_mboxlist", arguments);
        }
        pair.same("ctl_mboxlist", &["-d", "-x", "-p", "default"]);
        pair.same("ctl_mboxlist", &["-d"]);
        for (site, programs) in [
            (&pair.real, &pair.real_programs),
            (&pair.ours, &pair.our_programs),
        ] {
            assert_eq!(fed(site, programs, &["-u"], &whole), Some(0));
        }
        pair.equal_for_cyrus("ctl_mboxlist", &["-d"], masked);
        let old =
            "user.zoe\t0 default zoe\tlrswipkxtecdan\t\nuser.zoe.box\t0 default zoe\tlrs\tanyone\tp\t\n";
        let codes = [
            (&pair.real, &pair.real_programs),
            (&pair.ours, &pair.our_programs),
        ]
        .map(|(site, programs)| fed(site, programs, &["-u", "-L"], old));
        assert_eq!(codes[1], codes[0]);
        pair.equal_for_cyrus("ctl_mboxlist", &["-d"], without_ids);
    }
}

/// A dump without what is made up for rows that say nothing of it.
fn without_ids(line: &str) -> String {
    let line = masked(line);
    match line.contains("user.zoe") {
        true => line.split("\"uniqueid\"").next().unwrap_or_default().to_owned(),
        false => line,
    }
}

#[test]
fn another_file_than_the_list_is_dumped_with_f() {
    let Some(pair) = Pair::of_fixture("default-uuid") else {
        return;
    };
    for site in [&pair.real, &pair.ours] {
        let conf = site.root().join("conf");
        std::fs::copy(conf.join("mailboxes.db"), conf.join("other.db")).expect("a copy");
        site.own(&conf.join("other.db"));
        site.configure(&format!("mboxlist_db_path: {}\n", conf.join("none.db").display()));
    }
    let dump = |site: &Site, programs| {
        let path = site.root().join("conf/other.db").display().to_string();
        site.tool_ok(programs, "ctl_mboxlist", &["-d", "-f", &path])
    };
    let (real, ours) = (
        dump(&pair.real, &pair.real_programs),
        dump(&pair.ours, &pair.our_programs),
    );
    assert_eq!(ours, real);
    assert!(ours.contains("user.alice"));
}
