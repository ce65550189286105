//! Row S060 with everything real: groups in a directory that OpenLDAP's slapd serves, found by Cyrus's ptloader.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::imap::Imap;
use crate::rig::programs::{Programs, as_service_user, has_client, run};
use crate::rig::server::free_port;
use crate::rig::site::Site;

/// Processes that end with the test.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Cyrus's master takes its children along at this signal alone.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

/// bovik, admin, and `staff`, which holds bovik.
const PEOPLE: &str = "\
dn: dc=rig,dc=test\nobjectClass: domain\ndc: rig\n\n\
dn: uid=bovik,dc=rig,dc=test\nobjectClass: account\nuid: bovik\n\n\
dn: uid=admin,dc=rig,dc=test\nobjectClass: account\nuid: admin\n\n\
dn: ou=groups,dc=rig,dc=test\nobjectClass: organizationalUnit\nou: groups\n\n\
dn: cn=staff,ou=groups,dc=rig,dc=test\nobjectClass: groupOfNames\ncn: staff\n\
member: uid=bovik,dc=rig,dc=test\n";

/// The directory, at a port of this host.
fn slapd(site: &Site, port: u16) -> Option<Child> {
    if !has_client("slapd") {
        return None;
    }
    let folder = site.root().join("slapd");
    std::fs::create_dir(&folder).expect("a folder for slapd");
    let at = folder.display();
    let schemas = ["core", "cosine"].map(|name| format!("include /etc/ldap/schema/{name}.schema\n"));
    let conf = format!(
        "{}modulepath /usr/lib/ldap\nmoduleload back_mdb\ndatabase mdb\nsuffix \"dc=rig,dc=test\"\n\
         rootdn \"cn=admin,dc=rig,dc=test\"\nrootpw secret\ndirectory {at}\n",
        schemas.concat()
    );
    let (conf_path, people) = (folder.join("slapd.conf"), folder.join("people.ldif"));
    std::fs::write(&conf_path, conf).expect("slapd.conf");
    std::fs::write(&people, PEOPLE).expect("the people");
    let program = PathBuf::from("/usr/sbin/slapd");
    run(Command::new(&program)
        .args(["-Tadd", "-f"])
        .arg(&conf_path)
        .arg("-l")
        .arg(&people));
    let child = Command::new(&program)
        .args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{port}"), "-f"])
        .arg(&conf_path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("slapd");
    Some(child)
}

/// Cyrus's ptloader, under a master of its own.
fn ptloader(site: &Site, real: &Programs) -> Child {
    let socket = site.root().join("conf/ptclient/ptsock");
    std::fs::create_dir_all(site.root().join("conf/ptclient")).expect("a folder for ptloader");
    site.own(&site.root().join("conf/ptclient"));
    let conf = site.root().join("ptloader.conf");
    let text = format!(
        "START {{\n}}\nSERVICES {{\n  ptloader cmd=\"{} -C {}\" listen=\"{}\"\n}}\nEVENTS {{\n}}\n",
        real.path("ptloader").display(),
        site.conf().display(),
        socket.display()
    );
    std::fs::write(&conf, text).expect("cyrus.conf");
    let child = as_service_user(real.path("master"))
        .arg("-C")
        .arg(site.conf())
        .arg("-M")
        .arg(&conf)
        .arg("-p")
        .arg(site.root().join("ptloader.pid"))
        .current_dir(site.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("master");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !socket.exists() {
        assert!(Instant::now() < deadline, "ptloader does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn s060_groups_of_a_directory_count_by_way_of_ptloader() {
    let Some(real) = Programs::real() else { return };
    let port = free_port();
    let site = Site::new(
        &[
            ("altnamespace", "no"),
            ("auth_mech", "pts"),
            ("pts_module", "ldap"),
            ("ldap_uri", &format!("ldap://127.0.0.1:{port}")),
            ("ldap_sasl", "no"),
            ("ldap_bind_dn", "cn=admin,dc=rig,dc=test"),
            ("ldap_password", "secret"),
            ("ldap_base", "dc=rig,dc=test"),
            ("ldap_group_base", "ou=groups,dc=rig,dc=test"),
            ("ldap_member_base", "ou=groups,dc=rig,dc=test"),
            ("ldap_member_method", "filter"),
            ("ldap_member_attribute", "cn"),
        ],
        &[],
    );
    site.unset("sasl_pwcheck_method");
    site.configure("sasl_pwcheck_method: alwaystrue\n");
    let Some(directory) = slapd(&site, port) else {
        return;
    };
    let mut children = Children(vec![directory]);
    children.0.push(ptloader(&site, &real));
    let servers: Vec<_> = [Some(real), Programs::ours()]
        .into_iter()
        .flatten()
        .map(|programs| (programs.name, site.start_beside(&programs)))
        .collect();
    for (name, server) in &servers {
        let mut admin = Imap::login(server.imap_port, "admin").expect("the administrator");
        let bboard = format!("bboard.{name}");
        admin.ok(&format!("CREATE {bboard}"));
        admin.ok(&format!("SETACL {bboard} anyone \"\""));
        admin.ok(&format!("SETACL {bboard} group:staff lr"));
        for unknown in ["group:nosuch", "carol"] {
            let reply = admin
                .command(&format!("SETACL {bboard} {unknown} lr"))
                .expect("SETACL");
            assert!(
                reply.status.starts_with("NO Invalid identifier"),
                "{name}: {}",
                reply.status
            );
        }
        let mut bovik = Imap::login(server.imap_port, "bovik").expect("bovik");
        let lines = bovik.lines(&format!("MYRIGHTS {bboard}")).expect("MYRIGHTS");
        assert_eq!(
            lines.first().map(String::as_str),
            Some(&*format!("* MYRIGHTS {bboard} lr")),
            "{name}"
        );
        assert!(Imap::login(server.imap_port, "carol").is_err(), "{name}");
    }
}
