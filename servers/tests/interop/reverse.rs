//! The other way round: a spool that one implementation wrote is read by Debian's Cyrus, which says the same of it, finds
//! nothing to repair, and writes on; then the first reads it again.
//!
//! Real Cyrus as the writer proves the test itself.

use crate::rig::audit::assert_sound;
use crate::rig::programs::Programs;
use crate::rig::server::Server;
use crate::rig::site::Site;
use crate::rig::snapshot::{Comparison, View};

/// One way to lay a site out.
struct Layout {
    options: &'static [(&'static str, &'static str)],
    users: &'static [&'static str],
    separator: char,
    /// What comes before a user's own mailboxes in his view.
    own: &'static str,
}

impl Layout {
    /// A mailbox of a user as the admin names it, of parts that are joined by `/` here.
    fn admin(&self, name: &str) -> String {
        format!("user/{name}").replace('/', &self.separator.to_string())
    }

    /// A mailbox of one's own, of parts that are joined by `/` here.
    fn own(&self, name: &str) -> String {
        format!(
            "\"{}{}\"",
            self.own,
            name.replace('/', &self.separator.to_string())
        )
    }
}

const DEFAULTS: Layout = Layout {
    options: &[],
    users: &["alice", "bob", "jo.smith"],
    separator: '/',
    own: "",
};

/// Conversations.
const CONVERSATIONS: Layout = Layout {
    options: &[
        ("conversations", "yes"),
        ("conversations_counted_flags", "\\Draft \\Flagged $Forwarded"),
    ],
    users: &["alice", "bob", "jo.smith"],
    separator: '/',
    own: "",
};

/// Everything that 3.6 can still be told to do the old way.
const OLD_WAYS: Layout = Layout {
    options: &[
        ("altnamespace", "no"),
        ("unixhierarchysep", "no"),
        ("hashimapspool", "yes"),
        ("fulldirhash", "yes"),
        ("mailbox_legacy_dirs", "yes"),
        ("mboxlist_db", "skiplist"),
        ("annotation_db", "skiplist"),
        ("duplicate_db", "skiplist"),
        ("seenstate_db", "flat"),
        ("subscription_db", "twoskip"),
        ("quota_db", "twoskip"),
        ("expunge_mode", "immediate"),
        ("delete_mode", "immediate"),
        ("reverseacls", "yes"),
        ("statuscache", "yes"),
    ],
    users: &["alice", "bob"],
    separator: '.',
    own: "INBOX.",
};

/// Writes by `writer`, reads by real Cyrus, writes by real Cyrus, reads by `writer`.
fn written_spool_is_sound(layout: &Layout, writer: Option<Programs>) {
    let (Some(real), Some(writer)) = (Programs::real(), writer) else {
        return;
    };
    let site = Site::new(layout.options, layout.users);
    let server = site.start(&writer);
    first_round(&server, layout);
    let seen = views(&server, layout);
    server.stop();
    assert_sound(&site, &real);

    let server = site.start(&real);
    assert_same(&server, &seen, "real Cyrus reads the spool otherwise");
    second_round(&server, layout);
    let seen = views(&server, layout);
    server.stop();
    assert_sound(&site, &real);

    let server = site.start(&writer);
    assert_same(
        &server,
        &seen,
        "what real Cyrus wrote on the spool is read otherwise",
    );
    third_round(&server, layout);
    server.stop();
    assert_sound(&site, &real);
}

/// What every user and the admin sees.
fn views(server: &Server, layout: &Layout) -> Vec<(&'static str, serde_json::Value)> {
    let users = layout.users.iter().copied().chain(["admin"]);
    users
        .map(|user| (user, View::new(server.imap(user)).take()))
        .collect()
}

fn assert_same(server: &Server, seen: &[(&'static str, serde_json::Value)], what: &str) {
    let mut comparison = Comparison::default();
    for (user, view) in seen {
        View::new(server.imap(user)).compare(user, view, &mut comparison);
    }
    comparison.assert_equal(what);
    assert!(comparison.equal > 100, "the comparison saw next to nothing");
}

/// Accounts, mailboxes, rights, quotas, deliveries, appends, flags, copies, expunges, renames, deletes, subscriptions.
fn first_round(server: &Server, layout: &Layout) {
    let mut admin = server.imap("admin");
    for user in layout.users {
        let inbox = layout.admin(user);
        admin.ok(&format!("CREATE {inbox}"));
        admin.ok(&format!("SETQUOTA {inbox} (STORAGE 5000 MESSAGE 900)"));
        admin.ok(&format!("SETACL {inbox} admin lrx"));
    }
    admin.ok("CREATE shared");
    admin.ok("SETACL shared anyone lrsip");
    admin.ok("SETACL shared -bob i");

    let mut lmtp = server.lmtp();
    for number in 0..12 {
        let replies = lmtp
            .deliver(layout.users, &mail(number, "delivered"))
            .expect("delivery");
        assert!(
            replies.iter().all(|reply| reply.starts_with("250")),
            "{replies:?}"
        );
    }
    // The same Message-ID once more: dropped, with success.
    let replies = lmtp.deliver(&["alice"], &mail(3, "delivered")).expect("delivery");
    assert!(
        replies.iter().all(|reply| reply.starts_with("250")),
        "{replies:?}"
    );
    let replies = lmtp
        .deliver(&["nobody", "bob"], &mail(100, "one unknown"))
        .expect("delivery");
    assert!(
        replies[0].starts_with('5') && replies[1].starts_with("250"),
        "{replies:?}"
    );

    for user in layout.users {
        let mut imap = server.imap(user);
        for name in [
            "Sent",
            "Work",
            "Work/Deep/Deeper",
            "With Space",
            "&ZeVnLIqe-",
            "a-b+c_d",
            "Gone",
            "Old",
        ] {
            imap.ok(&format!("CREATE {}", layout.own(name)));
        }
        imap.ok(&format!("SUBSCRIBE {}", layout.own("Work")));
        imap.ok(&format!("SUBSCRIBE {}", layout.own("With Space")));
        imap.ok("SUBSCRIBE INBOX");
        imap.ok(&format!("UNSUBSCRIBE {}", layout.own("With Space")));
        let work = layout.own("Work").replace('"', "");
        for number in 0..40 {
            let options = match number % 4 {
                0 => "",
                1 => "(\\Seen) ",
                2 => "(\\Flagged \\Draft Junk $Forwarded) \" 1-Feb-2020 10:11:12 +0530\" ",
                _ => "(\\Answered key-word) \"31-Dec-1999 23:59:59 -0800\" ",
            };
            let reply = imap
                .append(&work, options, &mail(number, "appended"))
                .expect("append");
            assert!(reply.is_ok(), "{}", reply.status);
        }
        imap.ok(&format!("SELECT {}", layout.own("Work")));
        imap.ok("STORE 1:10 +FLAGS (\\Deleted another)");
        imap.ok("STORE 5:8 -FLAGS.SILENT (\\Deleted)");
        imap.ok("STORE 12 FLAGS ()");
        imap.ok(&format!("UID COPY 3:30 {}", layout.own("Work/Deep/Deeper")));
        imap.ok("UID EXPUNGE 1:9");
        imap.ok("EXPUNGE");
        imap.ok(&format!("MOVE 1:3 {}", layout.own("With Space")));
        imap.ok("FETCH 4:6 BODY[TEXT]");
        imap.ok("STORE 8:9 +FLAGS (\\Deleted)");
        imap.ok("CLOSE");
        imap.ok(&format!(
            "RENAME {} {}",
            layout.own("Old"),
            layout.own("New/Place")
        ));
        imap.ok(&format!(
            "RENAME {} {}",
            layout.own("Work/Deep"),
            layout.own("Moved")
        ));
        imap.ok(&format!("DELETE {}", layout.own("Gone")));
        imap.ok(&format!("SETACL {} anyone lrs", layout.own("Sent")));
        imap.ok(&format!("SETACL {} carol lrswipkxte", layout.own("With Space")));
        imap.ok(&format!("SETACL {} -carol x", layout.own("With Space")));
        imap.ok(&format!("SETACL {} anyone lrs", layout.own("a-b+c_d")));
        imap.ok(&format!("DELETEACL {} anyone", layout.own("a-b+c_d")));
    }
    // One who reads another's mail has his own \Seen.
    let mut admin = server.imap("admin");
    admin.ok(&format!("SELECT {}", layout.admin("alice")));
    admin.ok("FETCH 1:2 BODY[]");
}

/// Changes to what is there: by whichever implementation did not write it.
fn second_round(server: &Server, layout: &Layout) {
    let mut lmtp = server.lmtp();
    for number in 200..210 {
        let replies = lmtp
            .deliver(layout.users, &mail(number, "delivered"))
            .expect("delivery");
        assert!(
            replies.iter().all(|reply| reply.starts_with("250")),
            "{replies:?}"
        );
    }
    for user in layout.users {
        let mut imap = server.imap(user);
        imap.ok("SELECT INBOX");
        imap.ok("STORE 2:5 +FLAGS (second $MDNSent)");
        imap.ok("STORE 6:7 +FLAGS.SILENT (\\Deleted)");
        imap.ok("EXPUNGE");
        imap.ok(&format!("COPY 1:4 {}", layout.own("Sent")));
        imap.ok(&format!(
            "RENAME {} {}",
            layout.own("Moved"),
            layout.own("Work/Again")
        ));
        imap.ok(&format!("CREATE {}", layout.own("Gone")));
        imap.ok(&format!("SUBSCRIBE {}", layout.own("Sent")));
        imap.ok(&format!("SELECT {}", layout.own("With Space")));
        imap.ok("FETCH 1:* BODY[]");
    }
}

/// And again, by the first writer.
fn third_round(server: &Server, layout: &Layout) {
    for user in layout.users {
        let mut imap = server.imap(user);
        imap.ok("SELECT INBOX");
        imap.ok("STORE 1:* +FLAGS (third)");
        imap.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)");
        imap.ok("EXPUNGE");
        imap.ok(&format!("DELETE {}", layout.own("Gone")));
        imap.ok(&format!(
            "RENAME {} {}",
            layout.own("Sent"),
            layout.own("Archive/Sent")
        ));
        let reply = imap.append("INBOX", "", &mail(300, "appended")).expect("append");
        assert!(reply.is_ok(), "{}", reply.status);
    }
}

/// A message: plain, with 8-bit text, with folded and encoded headers, or multipart with an attachment and a message.
fn mail(number: u32, kind: &str) -> Vec<u8> {
    let head = format!(
        "Message-ID: <{number}.{}@rig.example>\r\nDate: Tue, 14 Mar 2023 09:{:02}:53 -0500\r\n\
         From: \"Sender, The\" <sender{number}@rig.example>\r\nTo: =?utf-8?Q?J=C3=BCrgen?= <to@rig.example>,\r\n\
         \tgroup: one@rig.example, two@rig.example;\r\nSubject: {kind} {number}\r\n",
        kind.replace(' ', "-"),
        number % 60
    );
    let body = match number % 3 {
        0 => "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
              Grüße\r\n.\r\n..dots\r\n"
            .to_owned(),
        1 => format!("\r\n{}", "A line of plain text.\r\n".repeat(usize::try_from(number).unwrap_or(0))),
        _ => "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\npreamble\r\n--=_b\r\n\
              Content-Type: text/html\r\n\r\n<p>one</p>\r\n--=_b\r\nContent-Type: message/rfc822\r\n\r\n\
              Subject: inside\r\nFrom: in@rig.example\r\n\r\ninner\r\n--=_b\r\nContent-Type: application/x-thing; name=a.bin\r\n\
              Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\nAAECAw==\r\n--=_b--\r\n"
            .to_owned(),
    };
    [head.into_bytes(), body.into_bytes()].concat()
}

#[test]
fn what_real_cyrus_writes_is_sound_with_defaults() {
    written_spool_is_sound(&DEFAULTS, Programs::real());
}

#[test]
fn what_real_cyrus_writes_is_sound_the_old_way() {
    written_spool_is_sound(&OLD_WAYS, Programs::real());
}

#[test]
fn what_real_cyrus_writes_is_sound_with_conversations() {
    written_spool_is_sound(&CONVERSATIONS, Programs::real());
}

#[test]
fn what_we_write_is_sound_with_conversations() {
    written_spool_is_sound(&CONVERSATIONS, Programs::ours());
}

#[test]
fn what_we_write_is_sound_with_defaults() {
    written_spool_is_sound(&DEFAULTS, Programs::ours());
}

#[test]
fn what_we_write_is_sound_the_old_way() {
    written_spool_is_sound(&OLD_WAYS, Programs::ours());
}
