//! `unexpunge`: lists messages that were expunged and are still there, and brings them back.

use std::ffi::OsString;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_acl::AuthState;
use cyrus_store::message::CacheRecord;
use cyrus_store::{ExpungedMessage, FlagNames, Keyword, Mailbox, SystemFlags, Uid, UidSet};

use super::{SOFTWARE, TEMPORARY, USAGE as WRONG_SWITCHES, enter, fatal, open_store};
use crate::getopt;
use crate::settings;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:lt:audf:v") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("unexpunge: {bad}");
            return usage();
        }
    };
    let modes = ['l', 't', 'a', 'u']
        .into_iter()
        .filter(|&mode| line.has(mode))
        .count();
    let Some((mailbox, uids)) = line.arguments.split_first().filter(|_| modes == 1) else {
        return usage();
    };
    if line.has('u') && uids.is_empty() {
        return usage();
    }
    let parsed: Option<Vec<Uid>> = uids.iter().map(|uid| Uid::new(uid.parse().ok()?)).collect();
    let Some(uids) = parsed else {
        eprintln!("unexpunge: UIDs are numbers from 1 on");
        return usage();
    };
    let uids: UidSet = uids.into_iter().collect();
    let since = match line.argument('t').map(interval) {
        None => None,
        Some(Some(seconds)) => Some(now().saturating_sub(seconds)),
        Some(None) => {
            eprintln!("unexpunge: -t takes a number of seconds, or one with m, h, d or w behind it");
            return usage();
        }
    };
    let flag = match line.argument('f') {
        Some(name) if name.starts_with('\\') => return fatal(&"can't set a system flag", SOFTWARE),
        Some(name) => match Keyword::new(name) {
            Some(keyword) => Some(keyword),
            None => {
                eprintln!("unexpunge: -f takes the name of a flag");
                return usage();
            }
        },
        None => None,
    };
    let config = match enter(line.argument('C'), "unexpunge") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    let namespace = settings::namespace(&config);
    let opened = namespace
        .to_internal(mailbox, None, true)
        .map_err(|error| error.to_string())
        .and_then(|name| {
            store
                .open_mailbox(&name, &AuthState::system())
                .map_err(|error| format!("Failed to open mailbox {name}: {error}"))
        });
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(problem) => {
            eprintln!("{problem}");
            return TEMPORARY;
        }
    };
    let expunged = match opened.expunged() {
        Ok(expunged) => expunged,
        Err(error) => return fatal(&error, TEMPORARY),
    };
    if line.has('l') {
        let offset = |time: u32| i64::from(store.utc_offset(time.into()));
        for message in expunged {
            if uids.is_empty() || uids.contains(message.uid) {
                let _ = write!(out, "{}", listed(&message, &offset));
            }
        }
        return 0;
    }
    let wanted: UidSet = expunged
        .iter()
        .filter(|message| match since {
            Some(since) => u64::from(message.expunged) >= since,
            None => line.has('a') || uids.contains(message.uid),
        })
        .map(|message| message.uid)
        .collect();
    let which = if line.has('a') { "all " } else { "" };
    let _ = writeln!(out, "restoring {which}expunged messages in mailbox '{mailbox}'");
    let clear_deleted = line.has('d');
    let restored = restore(opened, &wanted, &|flags| {
        if clear_deleted {
            flags.system = flags.system.without(SystemFlags::DELETED);
        }
        flags.keywords.extend(flag.clone());
    });
    match restored {
        Ok(restored) => {
            if line.has('v') {
                for (old, new) in &restored {
                    let _ = writeln!(out, "Unexpunged {mailbox}: {old} => {new}");
                }
            }
            let _ = writeln!(out, "restored {} expunged messages", restored.len());
            0
        }
        Err(error) => fatal(&error, TEMPORARY),
    }
}

fn restore(
    mut mailbox: Mailbox,
    wanted: &UidSet,
    change: &dyn Fn(&mut FlagNames),
) -> Result<Vec<(Uid, Uid)>, cyrus_store::MailboxError> {
    let restored = mailbox.unexpunge(wanted, change)?;
    mailbox.close()?;
    Ok(restored)
}

/// What is known of a message, in the shape that Cyrus gives it.
fn listed(message: &ExpungedMessage, offset: &dyn Fn(u32) -> i64) -> String {
    let time = |time: u32| ctime(i64::from(time) + offset(time));
    let mut text = format!(
        "UID: {}\n\tSize: {}\n\tSent: {}\n\tRecv: {}\n\tExpg: {}\n",
        message.uid,
        message.size,
        time(message.sent_date),
        time(message.internal_date),
        time(message.expunged)
    );
    let record = message
        .cache
        .as_deref()
        .and_then(|bytes| CacheRecord::parse(bytes).ok());
    let Some(record) = record else {
        text.push('\n');
        return text;
    };
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (label, value) in [
        ("From: ", record.from()),
        ("To  : ", record.to()),
        ("Cc  : ", record.cc()),
        ("Bcc : ", record.bcc()),
    ] {
        text.push_str(&format!("\t{label}{}\n", shown(value)));
    }
    text.push_str(&format!("\tSubj: {}\n\n", shown(record.subject())));
    text
}

/// `Wed Jan  3 10:20:30 2001`, of seconds since 1970 of the local clock.
fn ctime(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date of a number of days: eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 2 } else { month - 10 };
    let year = year + era * 400 + i64::from(month < 2);
    let name = |names: &[&'static str], at: i64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| names.get(at).copied())
            .unwrap_or_default()
    };
    format!(
        "{} {} {day_of_month:2} {:02}:{:02}:{:02} {year}",
        name(&DAYS, days.rem_euclid(7)),
        name(&MONTHS, month),
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

/// `90`, `5m`, `12h`, `3d`, `2w` in seconds.
fn interval(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 's') => (text.get(..at)?, 1),
        (at, 'm') => (text.get(..at)?, 60),
        (at, 'h') => (text.get(..at)?, 3_600),
        (at, 'd') => (text.get(..at)?, 86_400),
        (at, 'w') => (text.get(..at)?, 604_800),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn usage() -> u8 {
    eprint!("{USAGE}");
    WRONG_SWITCHES
}

const USAGE: &str = "unexpunge [-C <altconfig>] -l <mailbox> [<uid>...]
unexpunge [-C <altconfig>] -t time-interval [-d] [-v] [-f flag] mailbox
unexpunge [-C <altconfig>] -a [-d] [-v] [-f flag] <mailbox>
unexpunge [-C <altconfig>] -u [-d] [-v] [-f flag] <mailbox> <uid>...
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_like_ctime() {
        assert_eq!(ctime(978_517_230), "Wed Jan  3 10:20:30 2001");
        assert_eq!(ctime(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(ctime(951_782_400), "Tue Feb 29 00:00:00 2000");
        assert_eq!(ctime(1_798_761_599), "Thu Dec 31 23:59:59 2026");
    }

    #[test]
    fn intervals_have_units() {
        assert_eq!(interval("90"), Some(90));
        assert_eq!(interval("2w"), Some(1_209_600));
        assert_eq!(interval("w"), None);
    }
}
