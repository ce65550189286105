//! Rows S056 to S066 for the mechanisms that are not the usual one, and `cyr_acl`, which says what came of them.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use cyrus_store::db::{self, Create, DbContext, Engine};
use cyrus_store::format::ptscache::Membership;
use cyrus_store::lock::LockTable;
use cyrus_store::sys::RealDisk;

use crate::rig::imap::Imap;
use crate::rig::programs::{Programs, both};
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

/// Each implementation that is here, real Cyrus first.
fn implementations() -> impl Iterator<Item = Programs> {
    [Programs::real(), Programs::ours()].into_iter().flatten()
}

/// A site where any password will do.
fn site(options: &[(&str, &str)]) -> Site {
    let site = Site::new(&[options, &[("altnamespace", "no")]].concat(), &[]);
    site.unset("sasl_pwcheck_method");
    site.configure("sasl_pwcheck_method: alwaystrue\n");
    site
}

/// The untagged line of a command that must succeed, or its tagged line if it does not.
fn says(client: &mut Imap, command: &str) -> String {
    let mut lines = client.lines(command).expect(command);
    let tagged = lines.pop().unwrap_or_default();
    match tagged.starts_with("OK") {
        true => lines.pop().unwrap_or(tagged),
        false => tagged,
    }
}

/// A server in the realm LOCAL.ORG.
fn in_realm(site: &Site, programs: &Programs) -> Server {
    let file = site.root().join("krb5.conf");
    std::fs::write(
        &file,
        "[libdefaults]\n\tdefault_realm = LOCAL.ORG\n\tdns_lookup_realm = false\n",
    )
    .expect("krb5.conf");
    let start = Start {
        environment: vec![("KRB5_CONFIG", file.display().to_string())],
        ..Start::default()
    };
    Server::start(site, programs, start)
}

#[test]
fn s064_principals_of_the_local_realm_have_none() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("auth_mech", "krb5")]);
        let server = in_realm(&site, &programs);
        let mut admin = Imap::login(server.imap_port, "admin").expect("the administrator");
        admin.ok("CREATE user/bovik");
        admin.ok("CREATE bboard");
        admin.ok("SETACL bboard anyone \"\"");
        for (typed, stored) in [
            ("bovik", "bovik"),
            ("bovik.admin", "bovik.admin"),
            ("bovik@LOCAL.ORG", "bovik"),
            ("bovik@REMOTE", "bovik@REMOTE"),
            ("bovik/admin", "bovik/admin"),
            ("anyone", "anyone"),
        ] {
            admin.ok(&format!("SETACL bboard {typed} lr"));
            let shown = says(&mut admin, "GETACL bboard");
            assert_eq!(shown, format!("* ACL bboard {stored} lr"), "{name}: {typed}");
            admin.ok(&format!("DELETEACL bboard {typed}"));
        }
        for refused in ["bovik@A@B", "bovik/a@A@B"] {
            let reply = says(&mut admin, &format!("SETACL bboard {refused} lr"));
            assert!(reply.starts_with("NO"), "{name}: {refused}: {reply}");
        }
    }
}

#[test]
fn s065_and_s089_the_map_makes_of_a_foreign_principal_a_user_of_this_site() {
    let Some(programs) = Programs::ours() else { return };
    let site = site(&[("auth_mech", "krb5")]);
    let map = site.root().join("krb.equiv");
    std::fs::write(&map, "bovik@REMOTE.COM bovik\n").expect("krb.equiv");
    site.configure(&format!("krb_equiv: {}\n", map.display()));
    let server = in_realm(&site, &programs);
    let mut admin = Imap::login(server.imap_port, "admin").expect("the administrator");
    admin.ok("CREATE user/bovik");
    admin.ok("CREATE bboard");
    admin.ok("SETACL bboard anyone \"\"");
    admin.ok("SETACL bboard bovik@REMOTE.COM lrs");
    assert_eq!(says(&mut admin, "GETACL bboard"), "* ACL bboard bovik lrs");
    // The foreign identity logs in as the local one, and finds his mail.
    let mut bovik = Imap::login(server.imap_port, "bovik@REMOTE.COM").expect("the mapped user");
    bovik.ok("SELECT INBOX");
    assert_eq!(says(&mut bovik, "MYRIGHTS bboard"), "* MYRIGHTS bboard lrs");
    assert!(Imap::login(server.imap_port, "fred@REMOTE.COM").is_err());
    // A map that changes counts at once.
    std::fs::write(&map, "bovik@REMOTE.COM bovik\nfred@REMOTE.COM bovik\n").expect("krb.equiv");
    let mut bovik = Imap::login(server.imap_port, "fred@REMOTE.COM").expect("the mapped user");
    bovik.ok("SELECT INBOX");
}

/// A daemon that stands for ptloader: it knows bovik and admin, and staff, which holds bovik.
fn ptloader(site: &Site) {
    let folder = site.root().join("conf/ptclient");
    std::fs::create_dir_all(&folder).expect("a folder for the daemon");
    site.own(&folder);
    let database = folder.join("ptscache.db");
    remember(&database, "nobody", "nobody", &[]);
    site.own(&database);
    let socket = folder.join("ptsock");
    let listener = UnixListener::bind(&socket).expect("ptsock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).expect("ptsock is for all");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut length = [0; size_of::<usize>()];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut identifier = vec![0; usize::from_ne_bytes(length)];
            if stream.read_exact(&mut identifier).is_err() {
                continue;
            }
            let identifier = String::from_utf8(identifier).expect("an identifier");
            let canonical = identifier.to_ascii_lowercase();
            let groups: &[&str] = match canonical.as_str() {
                "bovik" => &["group:staff", "group:readers"],
                "admin" | "group:staff" => &[],
                _ => {
                    let _ = stream.write_all(b"identifier not found\0");
                    continue;
                }
            };
            remember(&database, &identifier, &canonical, groups);
            let _ = stream.write_all(b"OK\0");
        }
    });
}

fn remember(database: &Path, key: &str, userid: &str, groups: &[&str]) {
    let context = DbContext::new(LockTable::new(Arc::new(RealDisk)));
    let mut db = db::open(&context, database, Engine::Twoskip, Create::Yes).expect("ptscache.db");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a time");
    let row = Membership {
        userid: userid.to_owned(),
        mark: i64::try_from(now.as_secs()).expect("a time"),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
    };
    db.put(key.as_bytes(), &row.to_value().expect("short names"))
        .expect("a row");
}

#[test]
fn s060_groups_are_those_that_ptloader_has_found() {
    for programs in implementations() {
        let name = programs.name;
        let site = site(&[("auth_mech", "pts")]);
        ptloader(&site);
        let server = site.start(&programs);
        let mut admin = Imap::login(server.imap_port, "admin").expect("the administrator");
        admin.ok("CREATE user/bovik");
        admin.ok("CREATE bboard");
        admin.ok("SETACL bboard anyone \"\"");
        admin.ok("SETACL bboard group:staff lr");
        admin.ok("SETACL bboard Bovik s");
        assert_eq!(
            says(&mut admin, "GETACL bboard"),
            "* ACL bboard group:staff lr bovik s",
            "{name}"
        );
        let reply = says(&mut admin, "SETACL bboard carol lr");
        assert!(reply.starts_with("NO Invalid identifier"), "{name}: {reply}");
        let mut bovik = Imap::login(server.imap_port, "bovik").expect("bovik");
        assert_eq!(
            says(&mut bovik, "MYRIGHTS bboard"),
            "* MYRIGHTS bboard lrs",
            "{name}"
        );
    }
}

#[test]
fn cyr_acl_says_why_a_user_has_what_he_has() {
    let Some(programs) = Programs::ours() else { return };
    let site = site(&[]);
    let server = site.start(&programs);
    let mut admin = Imap::login(server.imap_port, "admin").expect("the administrator");
    admin.ok("CREATE user/bovik");
    admin.ok("CREATE bboard");
    admin.ok("SETACL bboard anyone lrs");
    admin.ok("SETACL bboard group:daemon p");
    admin.ok("SETACL bboard -bovik s");
    admin.ok("DELETEACL user/bovik bovik");
    let explain = |arguments: &[&str]| {
        let output = site.tool(&programs, "cyr_acl", arguments);
        (output.status.code(), both(&output))
    };
    assert_eq!(
        explain(&["explain", "bboard", "bovik"]),
        (
            Some(0),
            "bboard\nbovik is in no group\nbovik has lr\n  anyone grants lrs: this is everybody\n  \
             -bovik takes away s: this is bovik\n  group:daemon does not apply: bovik is not in this group\n"
                .to_owned()
        )
    );
    let (_, said) = explain(&["explain", "bboard", "daemon"]);
    assert!(
        said.contains("group:daemon grants p: daemon is in this group"),
        "{said}"
    );
    let (_, said) = explain(&["explain", "INBOX", "bovik"]);
    assert!(
        said.starts_with("user/bovik\n") && said.contains("(implicit_owner_rights)"),
        "{said}"
    );
    let (_, said) = explain(&["explain", "user/bovik", "admin"]);
    assert!(said.contains("admin is an administrator"), "{said}");
    let (code, said) = explain(&["explain", "nosuch", "bovik"]);
    assert!(code == Some(65) && said.contains("no such mailbox"), "{said}");
    let (code, said) = explain(&["explain", "bboard", "bo%vik"]);
    assert!(code == Some(65) && said.contains("not allowed"), "{said}");
    assert_eq!(explain(&["bboard", "bovik"]).0, Some(64));
    let (_, said) = explain(&["-j", "explain", "bboard", "bovik"]);
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(json["rights"], "lr");
    assert_eq!(json["reasons"][1]["identifier"], "-bovik");
}

#[test]
fn s062_and_s063_groups_of_the_system_hold_their_members_unless_they_are_switched_off() {
    for programs in implementations() {
        let name = programs.name;
        for (enabled, told) in [
            ("yes", "* MYRIGHTS bboard lr"),
            ("no", "NO Mailbox does not exist"),
        ] {
            let site = site(&[("unix_group_enable", enabled)]);
            let server = site.start(&programs);
            let mut admin = Imap::login(server.imap_port, "admin").expect("the administrator");
            admin.ok("CREATE bboard");
            admin.ok("SETACL bboard anyone \"\"");
            admin.ok("SETACL bboard group:daemon lr");
            for unknown in ["group:no-such-group", "group:"] {
                let reply = says(&mut admin, &format!("SETACL bboard {unknown} lr"));
                assert!(
                    reply.starts_with("NO Invalid identifier"),
                    "{name}: {unknown}: {reply}"
                );
            }
            // The group is the one of his account, and nobody checks a password: S061.
            let mut daemon = Imap::login(server.imap_port, "daemon").expect("daemon");
            let rights = says(&mut daemon, "MYRIGHTS bboard");
            assert!(rights.starts_with(told), "{name}, {enabled}: {rights}");
        }
    }
}
