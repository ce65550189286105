//! One implementation deletes or renames a mailbox that sessions of the other have selected: they see what became of it.

use std::time::Duration;

use crate::rig::programs::Programs;
use crate::rig::site::Site;
use crate::together::OLD_WAY;

/// Sessions look by themselves once a minute; what comes sooner was told.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Real Cyrus deletes or renames what sessions of ours have selected.
fn selected_mailboxes_go_away(options: &[(&str, &str)]) {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let site = Site::new(options, &["alice"]);
    let one = site.start(&ours);
    let two = site.start_beside(&real);
    one.imap("admin").ok("CREATE user/alice");
    let mut other = two.imap("alice");
    for mailbox in ["Gone", "Idle", "Old"] {
        other.ok(&format!("CREATE {mailbox}"));
        for _ in 0..2 {
            let reply = other
                .append(mailbox, "", b"Subject: hello\r\n\r\nHello.\r\n")
                .expect("APPEND");
            assert!(reply.is_ok(), "{}", reply.status);
        }
    }

    let mut here = one.imap("alice");
    here.ok("SELECT Gone");
    other.ok("DELETE Gone");
    let refused = here.command("FETCH 1 FLAGS").expect("an answer");
    assert_eq!(refused.status, "NO Mailbox does not exist");
    assert_eq!(here.ok("NOOP").numbered("EXPUNGE").count(), 2);
    // The same name is another mailbox, also for a session that still has the old one selected.
    other.ok("CREATE Gone");
    assert!(!here.command("FETCH 1 FLAGS").expect("an answer").is_ok());
    here.ok("CLOSE");

    here.ok("SELECT Idle");
    here.idle().expect("IDLE");
    std::thread::sleep(Duration::from_millis(500));
    other.ok("DELETE Idle");
    here.hear("* 1 EXPUNGE", AT_ONCE).expect("news while idling");
    assert!(here.done().expect("DONE").is_ok());
    here.ok("UNSELECT");

    here.ok("SELECT Old");
    other.ok("RENAME Old New");
    assert_eq!(here.ok("NOOP").numbered("EXPUNGE").count(), 0);
    here.ok("STORE 1 +FLAGS (\\Deleted)");
    here.ok("EXPUNGE");
    let status = other.ok("STATUS New (MESSAGES)");
    let messages = status
        .data("STATUS")
        .next()
        .and_then(|data| data.get(1)?.list().get(1)?.number());
    assert_eq!(messages, Some(1));
    one.stop();
    two.stop();
}

#[test]
fn a_selected_mailbox_that_real_cyrus_deletes_is_empty_and_one_that_it_renames_goes_on() {
    selected_mailboxes_go_away(&[]);
}

#[test]
fn a_selected_mailbox_that_real_cyrus_deletes_the_old_way_ends_no_session() {
    selected_mailboxes_go_away(OLD_WAY);
}

/// We delete or rename what sessions of real Cyrus have selected; that does not end them, as it does when real Cyrus itself
/// deletes at once.
fn what_we_delete_is_gone_there(options: &[(&str, &str)]) {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let site = Site::new(options, &["alice"]);
    let one = site.start(&ours);
    let two = site.start_beside(&real);
    one.imap("admin").ok("CREATE user/alice");
    let mut here = one.imap("alice");
    for mailbox in ["Gone", "Old"] {
        here.ok(&format!("CREATE {mailbox}"));
        for _ in 0..2 {
            let reply = here
                .append(mailbox, "", b"Subject: hello\r\n\r\nHello.\r\n")
                .expect("APPEND");
            assert!(reply.is_ok(), "{}", reply.status);
        }
    }
    for (mailbox, change) in [("Gone", "DELETE Gone"), ("Old", "RENAME Old New")] {
        let mut there = two.imap("alice");
        there.ok(&format!("SELECT {mailbox}"));
        here.ok(change);
        for refused in ["FETCH 1 (FLAGS BODY.PEEK[])", "STORE 1 +FLAGS (\\Seen)"] {
            let reply = there.command(refused).expect("the connection stays");
            assert!(
                reply.status.starts_with("NO Mailbox does not exist"),
                "{}",
                reply.status
            );
        }
        assert_eq!(there.ok("NOOP").numbered("EXPUNGE").count(), 2, "{change}");
        there.ok("CLOSE");
        there.ok("SELECT INBOX");
    }
    one.stop();
    two.stop();
    crate::rig::audit::assert_sound(&site, &real);
}

#[test]
fn sessions_of_real_cyrus_see_what_we_delete() {
    what_we_delete_is_gone_there(&[]);
}

#[test]
fn sessions_of_real_cyrus_see_what_we_delete_the_old_way() {
    what_we_delete_is_gone_there(OLD_WAY);
}
