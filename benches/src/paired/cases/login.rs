//! Connect, LOGIN, LOGOUT.

use std::io;

use super::{add_rate, rounds, user};
use crate::paired::arguments::Arguments;
use crate::paired::meter::rate;
use crate::paired::report::Report;
use crate::paired::target::Target;
use crate::paired::wire::Imap;

pub(super) fn run(targets: &[Target], arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    for connections in [1, 4] {
        let case = format!("connect + LOGIN + LOGOUT, {connections} at once");
        rounds(targets, arguments.rounds, |round, target| {
            let cost = rate(target, connections, arguments.seconds, |index| {
                let mut turn = index * 11;
                Ok(move || {
                    turn += 1;
                    Imap::login(target, &user(turn))?.command(b"LOGOUT").map(|_| 1)
                })
            })?;
            add_rate(report, round, target, &case, "login/s", &cost);
            Ok(())
        })?;
    }
    Ok(())
}
