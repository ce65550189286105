//! Some six thousand real messages, many of them broken, stored and delivered to both servers: cache records, envelopes,
//! body structures, sections and sizes are the same octet for octet.
//!
//! `.ci/fetch-corpus.sh` fetches the SpamAssassin public corpus; `RIG_CORPUS` limits how many of its messages are used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::rig::imap::{Fetched, Imap};
use crate::rig::programs::{Programs, found_or_skip};
use crate::rig::server::Server;
use crate::rig::site::Site;

/// What is fetched of every message and compared.
const ITEMS: &str = "UID RFC822.SIZE INTERNALDATE ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] \
     BODY.PEEK[1.MIME] BODY.PEEK[1.1] BODY.PEEK[1.TEXT] BODY.PEEK[2] BODY.PEEK[2.MIME] BODY.PEEK[2.HEADER] BODY.PEEK[2.1] \
     BODY.PEEK[3] BODY.PEEK[HEADER.FIELDS (RECEIVED SUBJECT X-Mailer)] BODY.PEEK[HEADER.FIELDS.NOT (RECEIVED)] BODY.PEEK[]<100.200>";

fn corpus_is_stored_alike(programs: Option<Programs>) {
    let (Some(real), Some(programs)) = (Programs::real(), programs) else {
        return;
    };
    let Some(corpus) = corpus() else { return };
    let other = Programs {
        name: "other",
        ..programs
    };
    let sites = [&real, &other].map(|programs| {
        let site = Site::new(&[("duplicatesuppression", "no")], &["alice"]);
        let server = site.start(programs);
        let mut admin = server.imap("admin");
        admin.ok("CREATE user/alice");
        admin.ok("CREATE user/alice/Appended");
        (site, server)
    });
    let answers: Vec<Vec<String>> = std::thread::scope(|scope| {
        let workers = sites
            .each_ref()
            .map(|(_, server)| scope.spawn(|| fill(server, &corpus)));
        workers
            .into_iter()
            .map(|worker| worker.join().expect("filling a server"))
            .collect()
    });
    let [one, two] = answers.as_slice() else { return };
    for (number, (one, two)) in one.iter().zip(two).enumerate() {
        assert_eq!(
            one,
            two,
            "answers for {}",
            corpus.get(number).map_or("?", |(name, _)| name)
        );
    }

    let [(real_site, real_server), (other_site, other_server)] = sites;
    let mut faults = compare_fetched(&real_server, &other_server, "Appended", ITEMS);
    faults.extend(compare_fetched(
        &real_server,
        &other_server,
        "INBOX",
        "UID ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT] BODY.PEEK[1]",
    ));
    real_server.stop();
    other_server.stop();
    for mailbox in ["user/alice/Appended", "user/alice"] {
        let [one, two] = [&real_site, &other_site].map(|site| examined(site, &real, mailbox));
        faults.extend(differing_lines(&one, &two, mailbox));
    }
    assert!(
        faults.is_empty(),
        "{} differences
{}",
        faults.len(),
        summary(&faults)
    );
    let [one, two] = [&real_site, &other_site].map(|site| cache_file(site, &real, "user/alice/Appended"));
    let at = one.iter().zip(&two).position(|(one, two)| one != two);
    assert_eq!(
        (at, one.len()),
        (None, two.len()),
        "cyrus.cache differs after the first records were found equal"
    );
}

/// How many differences there are of each kind, and the first three of each.
fn summary(faults: &[String]) -> String {
    let mut kinds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for fault in faults {
        // A kind is a mailbox and an item, whatever the UID.
        let first_line = fault.lines().next().unwrap_or_default();
        let words = first_line
            .split(' ')
            .filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        kinds
            .entry(words.collect::<Vec<_>>().join(" "))
            .or_default()
            .push(fault);
    }
    let mut text = String::new();
    for (kind, faults) in kinds {
        text.push_str(&format!("{} of {kind}\n", faults.len()));
        faults
            .iter()
            .take(3)
            .for_each(|fault| text.push_str(&format!("{fault}\n")));
    }
    text
}

/// Stores every message by APPEND in one mailbox and delivers it by LMTP to another; the answers, without UIDs.
fn fill(server: &Server, corpus: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut imap = server.imap("alice");
    let mut lmtp = server.lmtp();
    let mut answers = Vec::new();
    for (name, message) in corpus {
        let stored = imap.append("Appended", "\" 1-Feb-2020 10:11:12 +0000\" ", message);
        let stored = stored
            .unwrap_or_else(|error| panic!("APPEND of {name}: {error}"))
            .status;
        let text = stored
            .split_once(']')
            .map_or(stored.as_str(), |(_, text)| text)
            .to_owned();
        let replies = lmtp
            .deliver(&["alice"], message)
            .unwrap_or_else(|error| panic!("delivery of {name}: {error}"));
        // After the codes come words and session ids of each server's own.
        let codes: Vec<&str> = replies
            .iter()
            .map(|reply| reply.get(..9).unwrap_or(reply))
            .collect();
        answers.push(format!(
            "{} {text}; {}",
            stored.split(' ').next().unwrap_or_default(),
            codes.join(" ")
        ));
    }
    answers
}

/// Fetches the same items of all messages from both servers, a hundred at a time.
fn compare_fetched(one: &Server, two: &Server, mailbox: &str, items: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut connections = [one, two].map(|server| {
        let mut imap = server.imap("alice");
        imap.ok(&format!("SELECT {mailbox}"));
        imap
    });
    for first in (1_u32..).step_by(100) {
        let command = format!("UID FETCH {first}:{} ({items})", first + 99);
        let fetch = |imap: &mut Imap| imap.ok(&command).fetched().collect::<Vec<Fetched>>();
        let [one, two] = connections.each_mut().map(fetch);
        if one.is_empty() && two.is_empty() {
            assert!(first > 1, "{mailbox} is empty");
            return faults;
        }
        if one.len() != two.len() {
            faults.push(format!(
                "{mailbox}: {} and {} messages in {first}..",
                one.len(),
                two.len()
            ));
        }
        for (one, two) in one.iter().zip(&two) {
            for (item, value) in &one.items {
                let value = without_made_id(&format!("{value:?}"));
                let other = two
                    .item(item)
                    .map(|other| without_made_id(&format!("{other:?}")))
                    .unwrap_or_default();
                if other != value {
                    faults.push(format!(
                        "{mailbox}: UID {} {item}:\n  {}",
                        one.uid,
                        apart(&value, &other)
                    ));
                }
            }
        }
    }
    faults
}

/// What mbexamine prints of a mailbox's index and cache, without what depends on the time and place of the writing.
fn examined(site: &Site, real: &Programs, mailbox: &str) -> String {
    let text = site.tool(real, "mbexamine", &[mailbox]);
    let text: String = text.stdout.iter().map(|&byte| char::from(byte)).collect();
    let mut kept = String::new();
    for line in text.lines() {
        let own = [
            "Path to mailbox",
            "Unique ID",
            "Last Append Date",
            "UIDValidity",
            "Mailbox ACL",
        ];
        if own.iter().any(|word| line.contains(word)) {
            continue;
        }
        // lmtpd adds a header of its own, which is cached.
        // With its id made by lmtpd, of which the length depends on numbers of processes.
        let made = line.contains("<cmu-lmtpd-");
        let line = without_made_id(line);
        let line = if made {
            line.replace(|c: char| c.is_ascii_digit(), "")
        } else {
            line
        };
        let line = if line.contains("CacHdr>") && line.contains("X-Cyrus-Session-Id") {
            " CacHdr>"
        } else {
            &line
        };
        for word in line.split_inclusive(' ').filter(|word| *word != " ") {
            let timely = ["SAVEDATE:", "LASTUPD", ":17", ":18"]
                .iter()
                .any(|mark| word.starts_with(mark));
            // Delivery adds trace headers of each server's own, which change sizes and the digest.
            let placed = ["INT_DATE:", "SIZE:", "HDRSIZE:", "GUID:"]
                .iter()
                .any(|mark| word.starts_with(mark));
            if !timely && (!placed || mailbox != "user/alice") {
                kept.push_str(word);
            }
        }
        kept.push('\n');
    }
    kept
}

/// The text without the Message-ID that lmtpd makes for a message that has none.
fn without_made_id(text: &str) -> String {
    match text.split_once("<cmu-lmtpd-") {
        Some((before, after)) => {
            format!(
                "{before}<made{}",
                after
                    .find('>')
                    .and_then(|end| after.get(end..))
                    .unwrap_or_default()
            )
        }
        None => text.to_owned(),
    }
}

fn differing_lines(one: &str, two: &str, mailbox: &str) -> Vec<String> {
    // Record by record, so that a difference does not shift all that follows.
    let (ones, twos): (Vec<&str>, Vec<&str>) = (one.split("> UID:").collect(), two.split("> UID:").collect());
    let mut faults = Vec::new();
    if ones.len() != twos.len() {
        faults.push(format!(
            "mbexamine {mailbox}: {} and {} records",
            ones.len(),
            twos.len()
        ));
    }
    for (record, other) in ones.iter().zip(&twos).filter(|(one, two)| one != two) {
        let uid = record.get(..8).unwrap_or_default();
        let mut lines = record.lines().zip(other.lines());
        let (line, other_line) = lines.find(|(one, two)| one != two).unwrap_or((record, other));
        // The mailbox's own totals depend on the trace headers too.
        if !(mailbox == "user/alice" && line.contains("Mailbox Size")) {
            let item: String = line
                .trim()
                .chars()
                .take_while(|letter| letter.is_alphabetic())
                .collect();
            faults.push(format!(
                "mbexamine {mailbox}, {item}: UID {uid}:\n  {}",
                apart(line, other_line)
            ));
        }
    }
    faults
}

/// Two texts from a little before where they part.
fn apart(one: &str, two: &str) -> String {
    let at = one
        .bytes()
        .zip(two.bytes())
        .take_while(|(one, two)| one == two)
        .count();
    let around = |text: &str| {
        let bytes = text.as_bytes();
        let end = bytes.len().min(at + 120);
        String::from_utf8_lossy(bytes.get(at.saturating_sub(60).min(end)..end).unwrap_or_default())
            .into_owned()
    };
    format!("at {at}:\n  real  …{}…\n  other …{}…", around(one), around(two))
}

/// A mailbox's cache file without its generation number.
fn cache_file(site: &Site, real: &Programs, mailbox: &str) -> Vec<u8> {
    let path = site.tool_ok(real, "mbpath", &[mailbox]);
    let bytes = std::fs::read(Path::new(path.trim()).join("cyrus.cache")).expect("the mailbox's cache file");
    bytes.get(4..).unwrap_or_default().to_vec()
}

/// The corpus with CRLF line ends; of every second message the line that separates messages in an mbox is left in, where it
/// is a broken header.
fn corpus() -> Option<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()?
        .join("corpus/data");
    if !found_or_skip(
        folder.exists(),
        "the corpus is not here: .ci/fetch-corpus.sh fetches it",
    ) {
        return None;
    }
    let groups = std::fs::read_dir(folder)
        .expect("the corpus")
        .flatten()
        .map(|group| group.path());
    let files = groups
        .filter(|group| group.is_dir())
        .flat_map(|group| std::fs::read_dir(group).into_iter().flatten());
    let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let limit = std::env::var("RIG_CORPUS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usize::MAX);
    let every = (paths.len() / limit.max(1)).max(1);
    let chosen = paths.into_iter().step_by(every).enumerate();
    let messages = chosen.map(|(number, path)| {
        let text = std::fs::read(&path).expect("a message of the corpus");
        let mut message = Vec::with_capacity(text.len() + text.len() / 30);
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if at == 0 && number % 2 == 0 && line.starts_with(b"From ") {
                continue;
            }
            message.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            message.extend_from_slice(b"\r\n");
        }
        (path.display().to_string(), message)
    });
    Some(messages.collect())
}

#[test]
fn real_cyrus_stores_the_corpus_like_itself() {
    corpus_is_stored_alike(Programs::real());
}

#[test]
fn we_store_the_corpus_like_real_cyrus() {
    corpus_is_stored_alike(Programs::ours());
}
