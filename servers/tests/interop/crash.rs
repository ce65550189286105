//! Daemons killed with SIGKILL at random moments under load: nothing that was acknowledged is lost or doubled, no UID is
//! used twice, and no mailbox needs repair.
//!
//! Real Cyrus proves the test itself. `RIG_KILLS` sets how many times (20 otherwise).

use std::time::Duration;

use crate::rig::audit::complaints;
use crate::rig::programs::Programs;
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;
use crate::rig::workload::{Breaks, Endpoint, Workload, message};

fn survives_kills(programs: Option<Programs>) {
    let (Some(real), Some(programs)) = (Programs::real(), programs) else {
        return;
    };
    let kills: u32 = std::env::var("RIG_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let site = Site::new(&[], &["alice", "bob"]);
    let mut server = site.start(&programs);
    Workload::prepare(&server);
    let load = Workload::new(vec![Endpoint::of(&server)], Breaks::AreExpected);
    load.run(5, || {
        for kill in 1..=kills {
            // Some moments of work between kills, of lengths that never fall into step with it.
            std::thread::sleep(Duration::from_millis(150 + u64::from(kill) * 61 % 370));
            if kill % 5 == 0 {
                server.kill_all();
                let ports = Some((server.imap_port, server.imaps_port));
                server = Server::start(
                    &site,
                    &programs,
                    Start {
                        ports,
                        ..Start::default()
                    },
                );
            } else {
                let children = server.children();
                let at = usize::try_from(kill).unwrap_or(0) % children.len().max(1);
                if let Some(&child) = children.get(at) {
                    server.kill_child(child);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    });
    load.check_at_rest(&server);
    println!(
        "{} operations, {} messages came, {kills} kills",
        load.operations(),
        load.model.total_added()
    );
    load.assert_kept();
    assert!(load.model.total_added() > 50, "there was next to no load");

    // A crash may leave a message file that no record names; the next messages take its name.
    let mut alice = server.imap("alice");
    let listed = alice.ok("LIST \"\" *");
    for name in listed.data("LIST").filter_map(|data| data.get(2)) {
        for token in 0..20 {
            let reply = alice.append(&name.text(), "", &message(token)).expect("append");
            assert!(reply.is_ok(), "{}", reply.status);
        }
    }
    drop(alice);
    for token in 0..10 {
        server
            .lmtp()
            .deliver(&["bob"], &message(1_000_000 + token))
            .expect("delivery");
    }
    server.stop();
    // Usage may err high after a crash, and says nothing of a mailbox.
    let (usage, mailboxes): (Vec<_>, Vec<_>) = complaints(&site, &real)
        .into_iter()
        .partition(|complaint| complaint.starts_with("quota") || complaint.contains("quota_mailbox_used"));
    for complaint in usage {
        println!("quota usage: {complaint}");
    }
    assert!(
        mailboxes.is_empty(),
        "after {kills} kills:\n{}",
        mailboxes.join("\n")
    );
}

#[test]
fn real_cyrus_survives_kills_under_load() {
    survives_kills(Programs::real());
}

#[test]
fn we_survive_kills_under_load() {
    survives_kills(Programs::ours());
}
