//! master as administrators meet it: started for real, on high ports, in directories of its own.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use rig::{Rig, eventually};

/// Says who it is and what it got, once for each connection that master starts it for.
const ECHO: &str = r#"
echo "$CYRUS_SERVICE $CYRUS_ID $$" >> DIR/log
while true; do sleep 1; done
"#;

#[test]
fn a_daemonised_start_returns_when_listeners_are_up_and_a_stop_leaves_nothing() {
    let mut rig = Rig::new();
    rig.script("service", ECHO);
    rig.script("background", "( sleep 60 ) & exit 0");
    rig.cyrus_conf(
        "EVENTS {\n back cmd=\"DIR/background\"\n}\n\
         SERVICES {\n tcp cmd=\"DIR/service\" listen=\"127.0.0.1:BASE0\" prefork=1\n\
         sock cmd=\"DIR/service\" listen=\"DIR/conf/socket/s\"\n\
         udp cmd=\"DIR/service\" listen=\"127.0.0.1:BASE1\" proto=udp\n}\n\
         DAEMON {\n d cmd=\"DIR/service\"\n}\n",
    );
    assert_eq!(rig.start(&["-d"]), 0);
    let ready = rig.path("conf/master.ready");
    assert!(ready.exists());
    let mode = fs::metadata(rig.path("conf/socket/s")).unwrap();
    assert!(mode.file_type().is_socket());
    assert_eq!(mode.permissions().mode() & 0o777, 0o777);
    TcpStream::connect(rig.address(0)).unwrap();
    UnixStream::connect(rig.path("conf/socket/s")).unwrap();
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(b"x", rig.address(1))
        .unwrap();
    eventually("services have started", || {
        rig.log().matches("tcp 0").count() == 1 && rig.log().contains("sock 0") && rig.log().contains("udp 0")
    });
    let processes = rig.processes();
    assert!(processes.len() >= 5, "{processes:?}");
    rig.stop();
    assert!(!ready.exists());
    assert_eq!(rig.processes(), Vec::<u32>::new(), "stray processes");
}

#[test]
fn idled_serves_from_start_in_the_background_and_as_a_daemon_that_is_waited_for() {
    for section in ["START", "DAEMON"] {
        let mut rig = Rig::new();
        let wait = if section == "DAEMON" { "wait=y" } else { "" };
        rig.cyrus_conf(&format!(
            "{section} {{\n idled cmd=\"{} -C DIR/imapd.conf\" {wait}\n}}\n",
            env!("CARGO_BIN_EXE_idled")
        ));
        assert_eq!(rig.start(&["-d"]), 0, "{}", rig.output());
        let socket = rig.path("conf/socket/idle");
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777, "{section}");
        let session = UnixDatagram::bind(rig.path("session")).unwrap();
        session.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        fs::set_permissions(rig.path("session"), fs::Permissions::from_mode(0o777)).unwrap();
        let message = |number: std::ffi::c_long| [&number.to_ne_bytes()[..], b"user.bovik\0"].concat();
        session.send_to(&message(0), &socket).unwrap();
        session.send_to(&message(2), &socket).unwrap();
        let mut buffer = [0; 64];
        let size = session.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..size], message(2), "{section}");
        rig.stop();
        assert_eq!(rig.processes(), Vec::<u32>::new(), "stray processes");
        assert!(!socket.exists(), "{section}");
    }
}

#[test]
fn a_killed_process_is_replaced() {
    let mut rig = Rig::new();
    rig.script("service", ECHO);
    rig.cyrus_conf("SERVICES {\n a cmd=\"DIR/service\" listen=\"127.0.0.1:BASE0\" prefork=1\n}\nDAEMON {\n d cmd=\"DIR/service\"\n}\n");
    assert_eq!(rig.start(&["-d"]), 0);
    for name in ["a 0 ", "d 0 "] {
        eventually("it has started", || rig.log().contains(name));
        let log = rig.log();
        let first = log
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .to_owned();
        rig::kill("KILL", first.parse().unwrap());
        eventually("a successor has started", || rig.log().matches(name).count() == 2);
    }
    rig.stop();
}

#[test]
fn sighup_adds_and_removes_services_and_a_broken_file_changes_nothing() {
    let mut rig = Rig::new();
    rig.script("service", ECHO);
    let entry = |name: &str, at: u8| format!(" {name} cmd=\"DIR/service\" listen=\"127.0.0.1:BASE{at}\"\n");
    rig.cyrus_conf(&format!(
        "SERVICES {{\n{}{}}}\n",
        entry("stays", 0),
        entry("goes", 1)
    ));
    assert_eq!(rig.start(&["-d"]), 0);
    let stays = TcpStream::connect(rig.address(0)).unwrap();
    TcpStream::connect(rig.address(1)).unwrap();
    rig.cyrus_conf(&format!(
        "SERVICES {{\n{}{}}}\n",
        entry("stays", 0),
        entry("comes", 2)
    ));
    rig::kill("HUP", rig.pid());
    eventually("the new service listens", || {
        TcpStream::connect(rig.address(2)).is_ok()
    });
    eventually("the old service is gone", || {
        TcpStream::connect(rig.address(1)).is_err()
    });
    rig.cyrus_conf("SERVICES {\n a-b cmd=x\n}\n");
    rig::kill("HUP", rig.pid());
    std::thread::sleep(Duration::from_millis(300));
    TcpStream::connect(rig.address(2)).unwrap();
    drop(stays);
    rig.stop();
}

#[test]
fn stubborn_processes_are_killed_in_time() {
    let mut rig = Rig::new();
    rig.script(
        "service",
        "trap '' TERM QUIT\necho up >> DIR/log\nwhile true; do sleep 1; done",
    );
    rig.cyrus_conf("SERVICES {\n a cmd=\"DIR/service\" listen=\"127.0.0.1:BASE0\" prefork=2\n}\n");
    assert_eq!(rig.start(&["-d"]), 0);
    eventually("both run", || rig.log().matches("up").count() == 2);
    rig.stop();
    assert_eq!(rig.processes(), Vec::<u32>::new());
}

#[test]
fn a_start_that_cannot_be_has_the_exit_code_of_cyrus_in_both_modes() {
    for (conf, code) in [
        ("SERVICES {\n a-b cmd=x\n}\n", 78),
        ("SERVICES {\n a cmd=\"/bin/cat\"\n}\n", 78),
        (
            "SERVICES {\n a cmd=\"/nonexistent\" listen=\"127.0.0.1:BASE0\"\n}\n",
            78,
        ),
        ("START {\n a cmd=\"/bin/false\"\n}\n", 1),
        ("DAEMON {\n a cmd=\"/bin/true\" wait=y\n}\n", 78),
    ] {
        for mode in [&[][..], &["-d"]] {
            let mut rig = Rig::new();
            rig.cyrus_conf(conf);
            assert_eq!(rig.start(mode), code, "{conf} {mode:?}");
            assert!(!rig.path("conf/master.ready").exists());
            assert_eq!(rig.processes(), Vec::<u32>::new());
        }
    }
    let mut rig = Rig::new();
    rig.cyrus_conf("");
    rig.imapd_conf("timeout: soon\n");
    assert_eq!(rig.start(&["-d"]), 78);
    assert!(
        rig.output()
            .contains("imapd.conf:3: timeout: 'soon' is not a duration"),
        "{}",
        rig.output()
    );
    assert_eq!(rig.start(&["-d", "-D"]), 64);
    assert_eq!(rig.start(&["-V"]), 0);
}

#[test]
fn a_missing_program_is_one_error_and_the_others_start() {
    let mut rig = Rig::new();
    rig.script("service", ECHO);
    rig.cyrus_conf(
        "SERVICES {\n a cmd=\"DIR/service\" listen=\"127.0.0.1:BASE0\" prefork=1\n\
         b cmd=\"DIR/later\" listen=\"127.0.0.1:BASE1\" prefork=1\n}\n\
         DAEMON {\n c cmd=\"DIR/nowhere\"\n}\n",
    );
    let master = env!("CARGO_BIN_EXE_master");
    rig.script(
        "verbose-master",
        &format!("CYRUS_VERBOSE=1 exec {master} \"$@\" -L DIR/said -d"),
    );
    let program = rig.path("verbose-master");
    assert_eq!(
        rig.start_program(program.to_str().unwrap(), &[]),
        0,
        "{}",
        rig.output()
    );
    eventually("the service that can has started", || rig.log().contains("a 0"));
    assert!(TcpStream::connect(rig.address(1)).is_err());
    let said = || fs::read_to_string(rig.path("said")).unwrap();
    let dir = rig.path("");
    for (kind, name, program) in [("service", "b", "later"), ("daemon", "c", "nowhere")] {
        let error = format!(
            "error: cannot find executable for {kind} '{name}': {}{program}; left out",
            dir.display()
        );
        assert_eq!(said().matches(&error).count(), 1, "{}", said());
    }
    // Once it is there, SIGHUP starts it.
    rig.script("later", ECHO);
    rig::kill("HUP", rig.pid());
    eventually("the service is there", || rig.log().contains("b 0"));
    rig.stop();
}

#[test]
fn a_second_master_is_refused() {
    let mut rig = Rig::new();
    rig.cyrus_conf("");
    assert_eq!(rig.start(&["-d"]), 0);
    let first = rig.pid();
    assert_eq!(rig.start(&["-d"]), 71);
    assert_eq!(rig.start(&[]), 71);
    assert_eq!(rig.pid(), first);
    rig.stop();
}

#[test]
fn daemons_that_are_waited_for_are_up_before_services_and_end_after_them() {
    let mut rig = Rig::new();
    rig.script("waited", "sleep 0.3\necho \"$1 up\" >> DIR/log\nprintf 'ok\\r\\n' >&3\nexec 3>&-\ntrap 'echo \"$1 down\" >> DIR/log; exit 0' TERM\nwhile true; do sleep 0.1; done");
    rig.script("service", "echo 'service up' >> DIR/log\ntrap 'echo \"service down\" >> DIR/log; exit 0' TERM\nwhile true; do sleep 0.1; done");
    rig.cyrus_conf(
        "DAEMON {\n w1 cmd=\"DIR/waited one\" wait=y\n w2 cmd=\"DIR/waited two\" wait=y\n}\n\
         SERVICES {\n s cmd=\"DIR/service\" listen=\"127.0.0.1:BASE0\" prefork=1\n}\n",
    );
    assert_eq!(rig.start(&["-d"]), 0);
    eventually("the service is up", || rig.log().contains("service up"));
    rig.stop();
    let order: Vec<String> = rig.log().lines().map(str::to_owned).collect();
    assert_eq!(
        order,
        [
            "one up",
            "two up",
            "service up",
            "service down",
            "two down",
            "one down"
        ]
    );
}

#[test]
fn a_service_that_fails_at_once_is_disabled_until_sighup_and_then_tried_again() {
    let mut rig = Rig::new();
    rig.script("service", "echo try >> DIR/log\nexit 1");
    rig.cyrus_conf("SERVICES {\n a cmd=\"DIR/service\" listen=\"127.0.0.1:BASE0\" prefork=1\n}\n");
    assert_eq!(rig.start(&["-d"]), 0);
    eventually("it has been tried five times", || rig.log().lines().count() == 5);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(rig.log().lines().count(), 5);
    rig::kill("HUP", rig.pid());
    eventually("it has been tried again", || rig.log().lines().count() == 10);
    rig.stop();
}

#[test]
fn events_run_at_the_start_and_proc_files_of_the_dead_are_swept() {
    let mut rig = Rig::new();
    rig.script("event", "echo \"event $(id -u)\" >> DIR/log");
    fs::create_dir_all(rig.path("conf/proc")).unwrap();
    fs::write(rig.path("conf/proc/4194301"), "imap\thost\t\t\t\n").unwrap();
    rig.own_everything();
    rig.cyrus_conf(
        "EVENTS {\n e cmd=\"DIR/event\" period=30\n never cmd=\"DIR/event\" cron=\"0 0 30 feb *\"\n}\n",
    );
    assert_eq!(rig.start(&["-d"]), 0);
    eventually("the event has run", || !rig.log().is_empty());
    assert!(!rig.path("conf/proc/4194301").exists());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(rig.log().lines().count(), 1);
    assert!(!rig.log().contains("event 0\n"), "events do not run as root");
    rig.stop();
}

/// What the other side says first.
fn first_words(stream: &mut impl Read) -> std::io::Result<String> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer) {
            Ok(count) => return Ok(String::from_utf8_lossy(&buffer[..count]).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn real_daemons_of_cyrus_run_under_our_master() {
    let Some(bin) = rig::real_cyrus("real_daemons_of_cyrus_run_under_our_master") else {
        return;
    };
    let mut rig = Rig::new();
    rig.imapd_conf("allowplaintext: yes\nsasl_mech_list: PLAIN\n");
    rig.cyrus_conf(&format!(
        "START {{\n recover cmd=\"{bin}/ctl_cyrusdb -C DIR/imapd.conf -r\"\n idled cmd=\"{bin}/idled -C DIR/imapd.conf\"\n}}\n\
         SERVICES {{\n imap cmd=\"{bin}/imapd -C DIR/imapd.conf\" listen=\"127.0.0.1:BASE0\" prefork=1\n\
         pop3 cmd=\"{bin}/pop3d -C DIR/imapd.conf\" listen=\"127.0.0.1:BASE1\"\n\
         lmtp cmd=\"{bin}/lmtpd -C DIR/imapd.conf -a\" listen=\"127.0.0.1:BASE2\" maxchild=2\n\
         lmtpunix cmd=\"{bin}/lmtpd -C DIR/imapd.conf\" listen=\"DIR/conf/socket/lmtp\"\n}}\n"
    ));
    assert_eq!(rig.start(&["-d"]), 0, "{}", rig.output());
    for round in 0..3 {
        for (at, greeting) in [(0, "* OK"), (1, "+OK"), (2, "220")] {
            let mut stream = TcpStream::connect(rig.address(at)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let text = first_words(&mut stream).unwrap();
            assert!(text.starts_with(greeting), "round {round}, service {at}: {text}");
        }
    }
    // Two at once, where maxchild allows two: the third waits in the queue.
    let mut streams: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(rig.address(2)).unwrap())
        .collect();
    for stream in &mut streams[..2] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(first_words(stream).is_ok());
    }
    streams[2]
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(first_words(&mut streams[2]).is_err());
    streams[0].write_all(b"QUIT\r\n").unwrap();
    streams[2]
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(first_words(&mut streams[2]).is_ok());
    let mut unix = UnixStream::connect(rig.path("conf/socket/lmtp")).unwrap();
    unix.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(first_words(&mut unix).is_ok());
    rig.stop();
    assert_eq!(
        rig.processes(),
        Vec::<u32>::new(),
        "idled, which went into the background, ends too"
    );
    assert_eq!(fs::read_dir(rig.path("conf/proc")).unwrap().count(), 0);
}

/// Connects and reads the greeting of the example service: process id and number of the connection.
fn greeted(rig: &Rig) -> (TcpStream, u32, u32) {
    let stream = TcpStream::connect(rig.address(0)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    let (pid, count) = line.trim().split_once(' ').unwrap();
    let numbers = (pid.parse().unwrap(), count.parse().unwrap());
    (stream, numbers.0, numbers.1)
}

/// One process takes every connection, makes room after SIGHUP, and keeps its old clients.
fn one_process_serves_many(mut rig: Rig, master: &str) {
    let program = rig::example("greeter");
    fs::copy(program, rig.path("greeter")).unwrap();
    rig.own_everything();
    rig.cyrus_conf("SERVICES {\n g cmd=\"DIR/greeter\" listen=\"127.0.0.1:BASE0\"\n}\n");
    assert_eq!(rig.start_program(master, &["-d"]), 0);
    let mut clients: Vec<_> = Vec::new();
    eventually("it listens", || TcpStream::connect(rig.address(0)).is_ok());
    for _ in 0..20 {
        clients.push(greeted(&rig));
    }
    let (mut old, pid, count) = clients.pop().unwrap();
    assert!(count >= 20);
    assert!(
        clients.iter().all(|client| client.1 == pid),
        "a second process was started"
    );
    clients.clear();
    rig::kill("HUP", rig.pid());
    eventually("a successor takes over", || {
        TcpStream::connect(rig.address(0)).is_ok() && greeted(&rig).1 != pid
    });
    old.write_all(b"still there\n").unwrap();
    let mut line = String::new();
    BufReader::new(&old).read_line(&mut line).unwrap();
    assert_eq!(line, "still there\n");
    drop(old);
    eventually("the old process ends", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
    rig.stop();
    assert_eq!(rig.processes(), Vec::<u32>::new());
}

#[test]
fn one_process_of_ours_serves_many_connections_under_our_master() {
    one_process_serves_many(Rig::new(), env!("CARGO_BIN_EXE_master"));
}

#[test]
fn one_process_of_ours_serves_many_connections_under_the_master_of_cyrus() {
    let name = "one_process_of_ours_serves_many_connections_under_the_master_of_cyrus";
    let Some(bin) = rig::real_cyrus(name) else { return };
    if !rig::may_run_cyrus_master(name) {
        return;
    }
    one_process_serves_many(Rig::new(), &format!("{bin}/master"));
}
