//! mutt and neomutt, each in a terminal of its own: the list of messages, one message, a flag, a deletion.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{mail, served_with};
use crate::rig::programs::{Programs, has_client, run};

/// A tmux server of its own with one window; ended when dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn start(socket: &str, command: &str) -> Self {
        run(Command::new("tmux").args([
            "-S",
            socket,
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "120",
            "-y",
            "40",
            command,
        ]));
        Self {
            socket: socket.to_owned(),
        }
    }

    fn keys(&self, keys: &[&str]) {
        run(Command::new("tmux")
            .args(["-S", &self.socket, "send-keys"])
            .args(keys));
    }

    fn screen(&self) -> String {
        let output = Command::new("tmux")
            .args(["-S", &self.socket, "capture-pane", "-p"])
            .output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// Waits for a text on the screen; panics with the screen after 30 seconds.
    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.screen().contains(text) {
            assert!(
                Instant::now() < deadline,
                "no `{text}` on the screen:\n{}",
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-S", &self.socket, "kill-server"])
            .output();
    }
}

/// `mutt`, or `neomutt`, which idles and uses CONDSTORE as well.
fn mutt_shows_mail(mutt: &str, programs: Option<Programs>) {
    // neomutt idles, and real Cyrus has no idled here.
    let options = [("imapidlepoll", "2")];
    let Some((site, server)) = served_with(&options, mutt, programs) else {
        return;
    };
    if !has_client("tmux") {
        return;
    }
    let mut imap = server.imap("alice");
    for number in 1..=30 {
        assert!(
            imap.append("INBOX", "", &mail(number, "mutt"))
                .expect("append")
                .is_ok()
        );
    }
    let root = site.root();
    let more = match mutt {
        "neomutt" => {
            "set imap_idle=yes\nset imap_keepalive=300\nset imap_condstore=yes\nset imap_qresync=no\n"
        }
        _ => "",
    };
    let settings = format!(
        "{more}set folder=imap://alice@127.0.0.1:{}/\nset spoolfile=+INBOX\nset imap_user=alice\nset imap_pass=pass\n\
         set ssl_starttls=no\nset ssl_force_tls=no\nset header_cache={root}/mutt-cache\nset sort=mailbox-order\nset delete=yes\n\
         set mark_old=no\nset timeout=2\nset mail_check=1\n",
        server.imap_port,
        root = root.display()
    );
    std::fs::write(root.join("muttrc"), settings).expect("mutt's settings");
    let command = format!("HOME={0} LC_ALL=C {mutt} -n -F {0}/muttrc", root.display());
    let terminal = Terminal::start(&root.join("tmux").display().to_string(), &command);
    terminal.wait_for("mutt number 29");
    terminal.keys(&["5", "Enter"]);
    terminal.keys(&["Enter"]);
    terminal.wait_for("The body of mutt 5.");
    terminal.keys(&["q"]);
    terminal.wait_for("mutt number 29");
    // New mail while it looks on.
    assert!(
        imap.append("INBOX", "", &mail(31, "mutt"))
            .expect("append")
            .is_ok()
    );
    terminal.wait_for("mutt number 31");
    // Flag message 7, delete message 9, leave.
    terminal.keys(&["7", "Enter"]);
    terminal.keys(&["F"]);
    terminal.keys(&["9", "Enter"]);
    terminal.keys(&["d"]);
    terminal.keys(&["q"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        imap.ok("SELECT INBOX");
        let reply = imap.ok("UID FETCH 1:* (UID FLAGS)");
        let flags = |uid: u32| {
            reply
                .fetched()
                .find(|message| message.uid == uid)
                .map(|message| format!("{message:?}"))
        };
        let has = |uid, flag| flags(uid).is_some_and(|flags| flags.contains(flag));
        if has(5, "Seen") && has(7, "Flagged") && flags(9).is_none() && has(31, "UID") {
            break;
        }
        assert!(Instant::now() < deadline, "{reply:?}\n{}", terminal.screen());
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(terminal);
    server.stop();
}

#[test]
fn mutt_shows_mail_of_real_cyrus() {
    mutt_shows_mail("mutt", Programs::real());
}

#[test]
fn mutt_shows_mail_of_ours() {
    mutt_shows_mail("mutt", Programs::ours());
}

#[test]
fn neomutt_shows_mail_of_real_cyrus() {
    mutt_shows_mail("neomutt", Programs::real());
}

#[test]
fn neomutt_shows_mail_of_ours() {
    mutt_shows_mail("neomutt", Programs::ours());
}
