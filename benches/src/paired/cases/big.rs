//! One large mailbox: SELECT, FETCH, SEARCH, SORT, THREAD, STORE, COPY, EXPUNGE.

use std::io;
use std::process::Command;
use std::time::Instant;

use super::{fresh_mailbox, messages, rounds};
use crate::paired::answers::{count_of, fetched, number_of};
use crate::paired::arguments::Arguments;
use crate::paired::mail::big;
use crate::paired::meter::{Cost, time};
use crate::paired::report::{Better, Report};
use crate::paired::target::{Indexer, Target};
use crate::paired::wire::Imap;

const USER: &str = "user50";
const STEPS: [(&str, &str); 10] = [
    ("FETCH FLAGS", "FETCH 1:* (FLAGS)"),
    (
        "FETCH ENVELOPE BODYSTRUCTURE ...",
        "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)",
    ),
    ("SEARCH SUBJECT", "SEARCH SUBJECT harbour"),
    ("SEARCH FROM", "SEARCH FROM number77"),
    ("SEARCH SINCE", "SEARCH SINCE 20-Mar-2022"),
    ("SEARCH TEXT", "SEARCH TEXT \"kitchen harbourmaster\""),
    ("SORT (DATE)", "SORT (DATE) UTF-8 ALL"),
    ("THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL"),
    ("STORE 1:* +FLAGS", "STORE 1:* +FLAGS (\\Flagged)"),
    ("STORE 1:* -FLAGS.SILENT", "STORE 1:* -FLAGS.SILENT (\\Flagged)"),
];

/// Searches with an index: of what no message holds, of what some hold, of what nearly all may hold, and of words.
const INDEXED: [(&str, &str); 6] = [
    (
        "SEARCH TEXT with an index",
        "SEARCH TEXT \"kitchen harbourmaster\"",
    ),
    (
        "SEARCH TEXT of a few with an index",
        "SEARCH TEXT \"<big.777@bench.example>\"",
    ),
    (
        "SEARCH TEXT of many with an index",
        "SEARCH TEXT \"kitchen harbour\"",
    ),
    ("SEARCH FROM with an index", "SEARCH FROM number77"),
    ("SEARCH SUBJECT with an index", "SEARCH SUBJECT harbour"),
    (
        "SEARCH FUZZY",
        "SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT \"harbours meetings\"",
    ),
];

/// Searches whose answers are compared.
const SAME: [&str; 4] = [
    "SEARCH SUBJECT harbour",
    "SEARCH FROM number77",
    "SEARCH SINCE 20-Mar-2022",
    "SORT (DATE) UTF-8 ALL",
];

pub(super) fn run(targets: &[Target], arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let many = arguments.big;
    for target in targets {
        if let Some(indexer) = &target.indexer {
            // Of an earlier run in the same folder.
            let _ = std::fs::remove_dir_all(&indexer.folder);
        }
        build(target, many)?;
    }
    same_answers(targets, many, report)?;
    rounds(targets, arguments.rounds, |round, target| {
        let mut imap = Imap::login(target, USER)?;
        let mut add = |case: &str, cost: &Cost| {
            if round > 0 {
                let milliseconds = cost.wall.as_secs_f64() * 1000.0;
                report.add(
                    target,
                    &format!("{many} messages: {case}"),
                    "ms",
                    Better::Lower,
                    milliseconds,
                );
            }
        };
        let (cost, _) = time(target, || imap.command(b"SELECT Big"))?;
        add("SELECT", &cost);
        for (case, command) in STEPS {
            let (cost, _) = time(target, || imap.command(command.as_bytes()))?;
            add(case, &cost);
        }
        let first = many / 5 * 2 + 1;
        let bodies = format!("FETCH {first}:{} (BODY.PEEK[])", many.min(first + 1_999));
        let (cost, _) = time(target, || imap.command(bodies.as_bytes()))?;
        add("FETCH of 2000 bodies", &cost);
        fresh_mailbox(&mut imap, "Half")?;
        let (cost, _) = time(target, || imap.command(b"COPY 1:* Half"))?;
        add("COPY 1:*", &cost);
        imap.command(b"SELECT Half")?;
        for first in (1..many).step_by(2000) {
            let odd: Vec<String> = (first..many.min(first + 2000))
                .step_by(2)
                .map(|number| number.to_string())
                .collect();
            imap.command(format!("STORE {} +FLAGS.SILENT (\\Deleted)", odd.join(",")).as_bytes())?;
        }
        let (cost, answer) = time(target, || imap.answer("EXPUNGE"))?;
        add("EXPUNGE of half", &cost);
        let (expunged, left) = (count_of(&answer, "EXPUNGE"), messages(&mut imap, "Half")?);
        if expunged as u64 + left != u64::from(many) {
            let name = &target.name;
            report.fault(format!(
                "{name}: EXPUNGE told of {expunged} messages of {many}, and {left} are left"
            ));
        }
        imap.command(b"UNSELECT")?;
        imap.command(b"DELETE Half").map(drop)
    })?;
    for target in targets {
        if let Some(indexer) = &target.indexer {
            indexed(target, indexer, arguments, report)?;
        }
    }
    Ok(())
}

/// The same searches, and others, with an index, which must not change what they find.
fn indexed(target: &Target, indexer: &Indexer, arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let many = arguments.big;
    let plain: Vec<Vec<u8>> = found(target)?;
    let started = Instant::now();
    let program = indexer.command.first().cloned().unwrap_or_default();
    let status = Command::new(program)
        .args(indexer.command.iter().skip(1))
        .status()?;
    let case = |case: &str| format!("{many} messages: {case}");
    report.add(
        target,
        &case("writing the index"),
        "s",
        Better::Lower,
        started.elapsed().as_secs_f64(),
    );
    if !status.success() {
        report.fault(format!("{}: {:?}: {status}", target.name, indexer.command));
    }
    if found(target)? != plain {
        report.fault(format!(
            "{}: searches with an index find something else",
            target.name
        ));
    }
    rounds(std::slice::from_ref(target), arguments.rounds, |round, target| {
        let mut imap = Imap::login(target, USER)?;
        imap.command(b"SELECT Big")?;
        for (name, command) in INDEXED {
            let (cost, _) = time(target, || imap.command(command.as_bytes()))?;
            if round > 0 {
                let milliseconds = cost.wall.as_secs_f64() * 1000.0;
                report.add(target, &case(name), "ms", Better::Lower, milliseconds);
            }
        }
        Ok(())
    })
}

/// What searches find, without what they say of themselves.
fn found(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut imap = Imap::login(target, USER)?;
    imap.command(b"SELECT Big")?;
    let commands = INDEXED.iter().filter(|(_, command)| !command.contains("FUZZY"));
    let answers = commands.map(|(_, command)| imap.answer(command));
    let first_line = |answer: Vec<u8>| {
        answer
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default()
            .to_vec()
    };
    answers.map(|answer| answer.map(first_line)).collect()
}

/// Fills the mailbox, unless an earlier run did.
fn build(target: &Target, many: u32) -> io::Result<()> {
    let mut imap = Imap::login(target, USER)?;
    if messages(&mut imap, "Big").is_ok_and(|there| there == u64::from(many)) {
        return Ok(());
    }
    fresh_mailbox(&mut imap, "Big")?;
    for first in (0..many).step_by(100) {
        let mut command = b"APPEND Big".to_vec();
        for number in first..many.min(first + 100) {
            let message = big(number);
            let flags = if number % 10 < 7 { "(\\Seen)" } else { "()" };
            let day = 1 + number % 28;
            let head = format!(
                " {flags} \"{day:02}-Mar-2022 10:00:00 +0000\" {{{}+}}\r\n",
                message.len()
            );
            command.extend_from_slice(head.as_bytes());
            command.extend_from_slice(&message);
        }
        imap.command(&command)?;
    }
    Ok(())
}

/// Every server says the same of the same messages.
fn same_answers(targets: &[Target], many: u32, report: &mut Report) -> io::Result<()> {
    let mut first: Option<(&Target, Vec<String>)> = None;
    for target in targets {
        let mut imap = Imap::login(target, USER)?;
        let selected = imap.answer("SELECT Big")?;
        if number_of(&selected, "EXISTS") != Some(u64::from(many)) {
            report.fault(format!(
                "{}: SELECT does not tell of {many} messages",
                target.name
            ));
        }
        let sample = format!("1:200,{}:{many}", many.saturating_sub(50).max(1));
        let items =
            "UID INTERNALDATE RFC822.SIZE ENVELOPE BODY BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1]";
        let mut lines = fetched(&imap.answer(&format!("FETCH {sample} ({items})"))?);
        for search in SAME {
            let searched = imap.answer(search)?;
            let searched = String::from_utf8_lossy(&searched);
            lines.push(searched.lines().next().unwrap_or_default().trim().to_owned());
        }
        match &first {
            None => first = Some((target, lines)),
            Some((other, others)) => {
                for (line, other_line) in lines.iter().zip(others).filter(|(one, two)| one != two).take(3) {
                    let names = (&target.name, &other.name);
                    report.fault(format!(
                        "{names:?}:\n  {}\n  {}",
                        shortened(line),
                        shortened(other_line)
                    ));
                }
                if lines.len() != others.len() {
                    report.fault(format!(
                        "{}: {} items instead of {}",
                        target.name,
                        lines.len(),
                        others.len()
                    ));
                }
            }
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}
