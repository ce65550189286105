use super::*;

fn load(text: &str) -> Result<CyrusConf, CyrusConfError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cyrus.conf");
    std::fs::write(&path, text).unwrap();
    CyrusConf::load(&path)
}

#[test]
fn every_section_is_read() {
    let conf = load(
        r#"
# a comment
START {
  recover       cmd="ctl_cyrusdb -r"
}
SERVICES {
  imap          cmd="imapd -U 30" listen="imap" prefork=1 maxchild=100
  lmtpunix      cmd="lmtpd" listen="/var/imap/socket/lmtp" # trailing
  lmtp          cmd="lmtpd -a" listen="[::1]:2003" proto=tcp6 babysit=1
  notify        cmd="notifyd" listen="localhost:4201" proto="udp" maxfds=64 maxforkrate=3
}
EVENTS {
  checkpoint    cmd="ctl_cyrusdb -c" period=30
  delprune      cmd="cyr_expire -E 3" at=0400
  weekly        cmd="squatter" cron="5 1 * * sun"
  once          cmd="true"
}
DAEMON {
  idled         cmd="idled" wait=y
}
"#,
    )
    .unwrap();
    assert_eq!(conf.reports, [""; 0]);
    assert_eq!(conf.start[0].argv, ["ctl_cyrusdb", "-r"]);
    assert_eq!(conf.service_names(), ["imap", "lmtpunix", "lmtp", "notify"]);
    let [imap, unix, lmtp, notify] = conf.services.as_slice() else {
        panic!("{conf:?}")
    };
    assert_eq!(
        (imap.prefork, imap.maxchild, imap.proto),
        (1, Some(100), Proto::Tcp)
    );
    assert_eq!(
        imap.listen,
        Listen::Port {
            host: None,
            port: "imap".into()
        }
    );
    assert_eq!(unix.listen, Listen::Unix("/var/imap/socket/lmtp".into()));
    assert_eq!(
        lmtp.listen,
        Listen::Port {
            host: Some("::1".into()),
            port: "2003".into()
        }
    );
    assert_eq!(
        (lmtp.prefork, lmtp.maxforkrate, lmtp.babysit),
        (1, Some(10), true)
    );
    assert_eq!(
        (notify.maxfds, notify.maxforkrate, notify.proto),
        (Some(64), Some(3), Proto::Udp)
    );
    assert_eq!(conf.events[0].schedule, Schedule::Period { minutes: 30 });
    assert!(matches!(conf.events[1].schedule, Schedule::Cron { .. }));
    assert_eq!(conf.events[3].schedule, Schedule::Once);
    assert!(conf.daemons[0].wait);
}

#[test]
fn a_broken_line_is_refused_with_file_and_line() {
    for (line, message) in [
        (r#"a-b cmd="x""#, "cyrus.conf:2: bad character '-' in the name"),
        (r#"a cmd="x"#, "cyrus.conf:2: missing closing"),
        (r#"a cmd="x # y""#, "cyrus.conf:2: missing closing"),
        (r#"a cmd="x" }"#, "cyrus.conf:2: bad character '}' in an argument"),
        ("a cmd x", "cyrus.conf:2: 'cmd' has no value"),
        ("a cm-d=x", "bad character '-'"),
        ("a cmd=", "SERVICES entry 'a': cmd is missing"),
        ("a listen=143", "SERVICES entry 'a': cmd is missing"),
        ("a cmd=x", "SERVICES entry 'a': listen is missing"),
        ("a cmd=x listen=99999", "'99999' is not a port"),
        ("a cmd=x listen=143 proto=sctp", "proto: 'sctp' is none of"),
        (
            "a cmd=x listen=143 prefork=many",
            "prefork: 'many' is not a number",
        ),
        (
            "a cmd=x listen=143 babysit=maybe",
            "babysit: 'maybe' is not a switch",
        ),
        (
            "a cmd=x listen=143\na cmd=y listen=144",
            "cyrus.conf:3: SERVICES entry 'a': the name is taken",
        ),
    ] {
        let error = load(&format!("SERVICES {{\n{line}\n}}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{line}: {error}");
    }
    let error = load("EVENTS {\n e cmd=x at=9999\n}\n").unwrap_err().to_string();
    assert!(
        error.contains("EVENTS entry 'e': at: '9999' is not a time"),
        "{error}"
    );
    let arguments: String = (0..70).map(|n| format!(" k{n}=1")).collect();
    assert!(
        load(&format!("START {{\n a{arguments}\n}}\n"))
            .unwrap_err()
            .to_string()
            .contains("more than 64")
    );
}

#[test]
fn what_is_skipped_is_reported() {
    let conf = load(
        "garbage\nSTART { a cmd=x\n}\nFOO {\n a-! cmd=\n}\nSERVICES {\n a cmd=x listen=1 prefrok=2 cmd=y\n}\n\
         SERVICES {\n b cmd=x listen=2\n}\nDAEMON {\n",
    )
    .unwrap();
    assert!(conf.start.is_empty());
    assert_eq!(conf.service_names(), ["a"]);
    let reports = conf.reports.join("\n");
    for expected in [
        ":1: ignored",
        ":2: the text behind '{' is ignored",
        ":4: section 'FOO' is ignored",
        ":8: prefrok means nothing in SERVICES and is ignored; did you mean prefork?",
        ":8: cmd stands twice",
        ":10: a second section SERVICES is ignored",
        "section DAEMON is not closed",
    ] {
        assert!(reports.contains(expected), "{expected} in {reports}");
    }
}

#[test]
fn section_names_may_be_in_any_case_and_quotes_keep_blanks() {
    let conf = load("start {\n a\tcmd=\"x  -y\tz\"\n}\n").unwrap();
    assert_eq!(conf.start[0].argv, ["x", "-y", "z"]);
}
