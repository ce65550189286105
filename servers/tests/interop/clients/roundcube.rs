//! Debian's Roundcube, driven through headless Chromium: a user logs in, lists, reads, searches and moves mail.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{mail, served};
use crate::rig::programs::{Programs, both, found_or_skip, has_client, run};
use crate::rig::site::Site;

/// Where Debian puts the program.
const ROUNDCUBE: &str = "/var/lib/roundcube";

/// What drives the browser.
const DRIVER: &str = include_str!("roundcube.py");

/// PHP's own web server with Roundcube and a configuration of this test alone.
struct Webmail {
    php: Child,
    port: u16,
}

impl Webmail {
    fn start(site: &Site, imap_port: u16) -> Self {
        let root = site.root().join("roundcube");
        for folder in ["config", "temp", "logs"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder for Roundcube");
        }
        let (config, database) = (root.join("config"), root.join("roundcube.db"));
        let shown = root.display();
        let settings = format!(
            "<?php\n$config = [];\n$config['db_dsnw'] = 'sqlite:///{}?mode=0640';\n\
             $config['imap_host'] = '127.0.0.1:{imap_port}';\n$config['des_key'] = '0123456789abcdefghijklmn';\n\
             $config['temp_dir'] = '{shown}/temp';\n$config['log_dir'] = '{shown}/logs';\n$config['plugins'] = [];\n\
             $config['skin'] = 'elastic';\n$config['language'] = 'en_US';\n$config['enable_spellcheck'] = false;\n\
             $config['drafts_mbox'] = '';\n$config['sent_mbox'] = '';\n$config['junk_mbox'] = '';\n\
             $config['trash_mbox'] = '';\n$config['check_all_folders'] = true;\n",
            database.display()
        );
        std::fs::write(config.join("config.inc.php"), settings).expect("Roundcube's configuration");
        for shared in ["defaults.inc.php", "mimetypes.php"] {
            std::fs::copy(format!("/etc/roundcube/{shared}"), config.join(shared))
                .expect("Roundcube's defaults");
        }
        let make = format!(
            "$db = new PDO('sqlite:{}'); $db->exec(file_get_contents('/usr/share/roundcube/SQL/sqlite.initial.sql'));",
            database.display()
        );
        run(Command::new("php").args(["-r", &make]));
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|free| free.local_addr())
            .expect("a free port")
            .port();
        let log = std::fs::File::create(root.join("php.log")).expect("a log for PHP");
        let php = Command::new("php")
            .args([
                "-S",
                &format!("127.0.0.1:{port}"),
                "-t",
                &format!("{ROUNDCUBE}/public_html"),
            ])
            .env("ROUNDCUBE_CONFIG_DIR", &config)
            .env("PHP_CLI_SERVER_WORKERS", "3")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second descriptor"))
            .stderr(log)
            // Its workers are processes of their own.
            .process_group(0)
            .spawn()
            .expect("php (package php-cli)");
        let webmail = Self { php, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "PHP's web server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        webmail
    }
}

impl Drop for Webmail {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.php), Signal::KILL);
        let _ = self.php.wait();
    }
}

#[test]
fn roundcube_lists_reads_searches_and_moves() {
    let browser = ["php", "chromedriver", "chromium"]
        .iter()
        .all(|program| has_client(program));
    if !browser
        || !found_or_skip(
            std::path::Path::new(ROUNDCUBE).exists(),
            "roundcube-core is not installed",
        )
    {
        return;
    }
    let Some((site, server)) = served("python3", Programs::ours()) else {
        return;
    };
    let mut alice = server.imap("alice");
    alice.ok("CREATE Archive");
    alice.ok("SUBSCRIBE INBOX");
    alice.ok("SUBSCRIBE Archive");
    for number in 1..=3 {
        let reply = alice
            .append("INBOX", "", &mail(number, "webmail"))
            .expect("an append");
        assert!(reply.is_ok(), "{reply:?}");
    }
    let webmail = Webmail::start(&site, server.imap_port);
    let driver = site.root().join("roundcube.py");
    std::fs::write(&driver, DRIVER).expect("the driver of the browser");
    let output = Command::new("timeout")
        .args(["80", "/usr/bin/python3"])
        .arg(&driver)
        .arg(format!("http://127.0.0.1:{}/", webmail.port))
        .arg(site.root().join("chromium"))
        .output()
        .expect("python3 (package python3-selenium)");
    let log = std::fs::read_to_string(site.root().join("roundcube/logs/errors.log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{log}", both(&output));
    drop(webmail);
    // What the browser showed is so for others, too.
    let reply = alice.ok("STATUS Archive (MESSAGES)");
    let archived: Vec<String> = reply
        .data("STATUS")
        .flatten()
        .map(|value| value.json().to_string())
        .collect();
    assert_eq!(archived, ["\"Archive\"", r#"["MESSAGES","1"]"#]);
    server.stop();
}
