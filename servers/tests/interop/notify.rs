//! NOTIFY beside real Cyrus: what its processes deliver, create, rename and subscribe to is told at once.

use std::time::{Duration, Instant};

use crate::rig::programs::Programs;
use crate::rig::site::Site;

/// Our sessions look by themselves once a minute; what comes sooner was told.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn changes_of_real_cyrus_are_told_to_those_who_asked() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let site = Site::new(&[("duplicatesuppression", "no")], &["alice", "bob"]);
    let one = site.start(&ours);
    let two = site.start_beside(&real);
    one.imap("admin").ok("CREATE user/alice");
    one.imap("admin").ok("CREATE user/bob");
    let mut client = one.imap("alice");
    client.ok("CREATE Lists");
    client.ok(
        "NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange)) \
         (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))",
    );
    client.ok("SELECT Lists");
    let mut other = two.imap("alice");
    // A delivery into another mailbox, by either.
    for (name, server) in [("real", &two), ("ours", &one)] {
        let replies = server
            .lmtp()
            .deliver(&["alice"], b"Subject: hello\r\n\r\nHello.\r\n")
            .expect("a delivery");
        let begin = Instant::now();
        assert!(replies[0].starts_with("250"), "{replies:?}");
        client
            .hear("* STATUS INBOX (MESSAGES", AT_ONCE)
            .expect("news of the INBOX");
        println!("{name} delivers: told {:?} after it is accepted", begin.elapsed());
    }
    // The selected mailbox, without a command in progress.
    other
        .append("Lists", "", b"Subject: hello\r\n\r\nHello.\r\n")
        .expect("an append");
    client
        .hear("* 1 EXISTS", AT_ONCE)
        .expect("news of the selected mailbox");
    client
        .hear("* 1 FETCH (UID 1)", AT_ONCE)
        .expect("what was asked for of it");
    other.ok("SELECT Lists");
    other.ok("STORE 1 +FLAGS (\\Answered \\Deleted)");
    client.hear("* 1 FETCH (FLAGS", AT_ONCE).expect("changed flags");
    other.ok("EXPUNGE");
    client.hear("* 1 EXPUNGE", AT_ONCE).expect("an expunged message");
    other.ok("UNSELECT");
    // The mailboxes themselves.
    other.ok("CREATE Work");
    client
        .hear("* LIST (\\HasNoChildren) \"/\" Work", AT_ONCE)
        .expect("a new mailbox");
    other.ok("RENAME Work Play");
    client
        .hear("\"/\" Play (\"OLDNAME\" (Work))", AT_ONCE)
        .expect("a renamed mailbox");
    other.ok("SUBSCRIBE Play");
    client
        .hear("* LIST (\\Subscribed", AT_ONCE)
        .expect("a subscription");
    other.ok("UNSUBSCRIBE Play");
    client
        .hear("* LIST (\\HasNoChildren) \"/\" Play", AT_ONCE)
        .expect("the end of a subscription");
    other
        .append("Play", "", b"Subject: hello\r\n\r\nHello.\r\n")
        .expect("an append");
    client
        .hear("* STATUS Play (MESSAGES 1 UIDNEXT 2", AT_ONCE)
        .expect("news of a mailbox that is new itself");
    other.ok("DELETE Play");
    client
        .hear("* LIST (\\NonExistent) \"/\" Play", AT_ONCE)
        .expect("a deleted mailbox");
    client.ok("NOOP");
    one.stop();
    two.stop();
}
