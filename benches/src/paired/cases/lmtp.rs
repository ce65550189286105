//! Delivery: messages of 4 KiB to one and to ten recipients, over one and several connections.

use std::io;

use super::{add_rate, empty_inbox, messages, rounds, user};
use crate::paired::arguments::Arguments;
use crate::paired::mail::Pool;
use crate::paired::meter::rate;
use crate::paired::report::Report;
use crate::paired::start::USERS;
use crate::paired::target::Target;
use crate::paired::wire::{Imap, Lmtp};

pub(super) fn run(targets: &[Target], arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let pool = Pool::new(4096);
    for (recipients, connections) in [(1, 1), (1, 16), (10, 1), (10, 4)] {
        let case = format!("LMTP 4 KiB, {recipients} recipients, {connections} connections");
        rounds(targets, arguments.rounds, |round, target| {
            let before = stored(target)?;
            let cost = rate(target, connections, arguments.seconds, |index| {
                let (mut lmtp, pool, mut turn, mut buffer) =
                    (Lmtp::connect(target)?, &pool, index * 7, Vec::new());
                Ok(move || {
                    turn += 1;
                    let names: Vec<String> = (0..recipients).map(|at| user(turn + at)).collect();
                    lmtp.deliver(&names, pool.fresh(&mut buffer)).map(|()| 1)
                })
            })?;
            let came = stored(target)? - before;
            if came != cost.count * recipients as u64 {
                let sent = cost.count * recipients as u64;
                report.fault(format!(
                    "{}: {case}: {sent} were acknowledged and {came} came",
                    target.name
                ));
            }
            add_rate(report, round, target, &case, "message/s", &cost);
            Ok(())
        })?;
        for target in targets {
            (0..USERS).try_for_each(|number| empty_inbox(target, &user(number)))?;
        }
    }
    Ok(())
}

/// How many messages all INBOXes hold together.
fn stored(target: &Target) -> io::Result<u64> {
    (0..USERS)
        .map(|number| messages(&mut Imap::login(target, &user(number))?, "INBOX"))
        .sum()
}
