//! Two sets of daemons at work on one spool at the same moment: no message is lost or doubled, no UID is used twice, both
//! see the same at the end, and real Cyrus's tools find nothing to repair.
//!
//! Real Cyrus beside real Cyrus proves the test itself. `RIG_SECONDS` sets the time under load (20 seconds otherwise).

use std::time::Duration;

use crate::rig::audit::assert_sound;
use crate::rig::programs::Programs;
use crate::rig::site::Site;
use crate::rig::workload::{Breaks, Endpoint, Workload};

fn share_a_spool(first: Option<Programs>, options: &[(&str, &str)], breaks: Breaks) {
    let (Some(real), Some(first)) = (Programs::real(), first) else {
        return;
    };
    let second = Programs {
        name: "second",
        ..real.clone()
    };
    let site = Site::new(options, &["alice", "bob"]);
    let one = site.start(&first);
    let two = site.start_beside(&second);
    Workload::prepare(&one);
    let seconds = std::env::var("RIG_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let ours = match first.name {
        "ours" => Endpoint::of(&one).never_breaks(),
        _ => Endpoint::of(&one),
    };
    let load = Workload::new(vec![ours, Endpoint::of(&two)], breaks);
    load.run(6, || std::thread::sleep(Duration::from_secs(seconds)));
    let seen_by_one = load.check_at_rest(&one);
    let seen_by_two = load.check_at_rest(&two);
    load.assert_kept();
    for (mailbox, contents) in &seen_by_one {
        let difference = seen_by_two
            .get(mailbox)
            .and_then(|second| contents.difference(second));
        assert_eq!(
            difference, None,
            "{mailbox} looks different through the two servers"
        );
    }
    println!(
        "{} operations, {} messages came",
        load.operations(),
        load.model.total_added()
    );
    assert!(load.model.total_added() > 100, "there was next to no load");
    one.stop();
    two.stop();
    assert_sound(&site, &real);
}

#[test]
fn real_cyrus_shares_a_spool_with_itself() {
    share_a_spool(Programs::real(), &[], Breaks::AreFaults);
}

#[test]
fn we_share_a_spool_with_real_cyrus() {
    share_a_spool(Programs::ours(), &[], Breaks::AreFaults);
}

/// Legacy directories, other databases, nothing delayed. Real Cyrus now and then closes a connection of its own under which
/// something is removed at once, also beside nobody but itself; we do not.
pub(crate) const OLD_WAY: &[(&str, &str)] = &[
    ("mailbox_legacy_dirs", "yes"),
    ("mboxlist_db", "skiplist"),
    ("seenstate_db", "flat"),
    ("expunge_mode", "immediate"),
    ("delete_mode", "immediate"),
    ("statuscache", "yes"),
];

/// Conversations, in databases that both write.
const CONVERSATIONS: &[(&str, &str)] = &[
    ("conversations", "yes"),
    ("conversations_counted_flags", "\\Draft \\Flagged $Forwarded"),
    // The load copies messages back and forth: on a fast machine past the usual limits of copies, where NO is right.
    ("conversations_max_guidrecords", "1000000"),
    ("conversations_max_guidexists", "1000000"),
    ("conversations_max_guidinfolder", "1000000"),
];

#[test]
fn real_cyrus_shares_conversations_with_itself() {
    share_a_spool(Programs::real(), CONVERSATIONS, Breaks::AreFaults);
}

#[test]
fn we_share_conversations_with_real_cyrus() {
    share_a_spool(Programs::ours(), CONVERSATIONS, Breaks::AreFaults);
}

#[test]
fn real_cyrus_shares_a_spool_with_itself_the_old_way() {
    share_a_spool(Programs::real(), OLD_WAY, Breaks::AreExpected);
}

#[test]
fn we_share_a_spool_with_real_cyrus_the_old_way() {
    share_a_spool(Programs::ours(), OLD_WAY, Breaks::AreExpected);
}
