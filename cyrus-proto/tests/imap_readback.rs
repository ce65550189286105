//! What we say in every dialogue is read back by an independent codec.

#[allow(dead_code)] // shared with the tests that compare what is said
#[path = "dialogues/driver.rs"]
mod driver;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;

/// Responses that the codec does not know, by how they begin, and where they are defined.
const UNKNOWN_DATA: &[(&str, &str)] = &[
    ("* ACL ", "RFC 4314, section 3.6"),
    ("* LISTRIGHTS ", "RFC 4314, section 3.7"),
    ("* MYRIGHTS ", "RFC 4314, section 3.8"),
    ("* ANNOTATION ", "ANNOTATEMORE, a draft that Cyrus implements"),
    ("* ESEARCH", "RFC 4731, section 3.1"),
    ("* SORT", "RFC 5256, section 4"),
    ("* GENURLAUTH ", "RFC 4467, section 7"),
    ("* URLFETCH ", "RFC 4467, section 7"),
    ("* LANGUAGE ", "RFC 5255, section 3.3"),
    ("* COMPARATOR", "RFC 5255, section 4.8"),
    ("* VANISHED ", "RFC 7162, section 3.2.10"),
    ("* FILTER ", "RFC 5466, section 3.3"),
    ("* XLIST ", "before RFC 6154"),
    ("* RLIST ", "RFC 2193, section 4"),
    ("* UIDBATCHES ", "RFC 10022"),
    ("* ENABLED\r\n", "RFC 5161, section 3.2: nothing new was enabled"),
];

/// What within a response the codec does not know: FETCH and STATUS items, options, and strings of UTF-8.
const UNKNOWN_PARTS: &[(&str, &str)] = &[
    (" UIDFETCH (", "RFC 9586, section 3.3"),
    ("PREVIEW ", "RFC 8970, section 4"),
    ("EMAILID (", "RFC 8474, section 5.1"),
    ("THREADID ", "RFC 8474, section 5.2"),
    ("SAVEDATE ", "RFC 8514, section 4.3"),
    ("ANNOTATION (", "RFC 5257, section 4.3"),
    ("DIGEST.SHA1 ", "Cyrus's own"),
    ("RFC822.SHA1 ", "Cyrus's own"),
    ("RFC822.FILESIZE ", "Cyrus's own"),
    ("CREATEDMODSEQ (", "Cyrus's own"),
    ("LASTUPDATED ", "Cyrus's own"),
    ("(FOLDER ", "Cyrus's own"),
    (" FOLDER ", "Cyrus's own"),
    ("(UIDVALIDITY ", "Cyrus's own, in FETCH"),
    ("(CID ", "Cyrus's own"),
    (" CID ", "Cyrus's own"),
    ("BASECID ", "Cyrus's own"),
    ("MAILBOXID (", "RFC 8474, section 4.3, in STATUS"),
    ("HIGHESTMODSEQ ", "RFC 7162, section 3.1.2, in STATUS"),
    ("APPENDLIMIT ", "RFC 7889, section 4, in STATUS"),
    ("DELETED", "RFC 9051, section 7.3.4, in STATUS"),
    ("CREATEDMODSEQ ", "Cyrus's own, in STATUS"),
    ("CHILDINFO", "RFC 5258, section 6, in LIST"),
    ("Entwürfe", "RFC 9051, section 9: a quoted string in UTF-8"),
    ("OLDNAME", "RFC 5465, section 5.4, in LIST"),
    ("MYRIGHTS", "RFC 8440, in LIST"),
    ("<4294967296>", "RFC 9051, appendix D: sizes of 63 bits"),
    ("QUOTA shared ()", "RFC 2087, section 5.1: a root without limits"),
];

/// One response: a line, and after each literal announced at its end, the literal and another line.
fn next_response(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    loop {
        let rest = octets.get(end..)?;
        let lf = rest.iter().position(|&c| c == b'\n')?;
        let line = rest.get(..=lf)?;
        end += line.len();
        let line = line.strip_suffix(b"\r\n").expect("lines end with CR LF");
        let Some(before) = line.strip_suffix(b"}") else {
            return Some(octets.split_at(end));
        };
        let digits = before.iter().rev().take_while(|c| c.is_ascii_digit()).count();
        let (start, digits) = before.split_at(before.len() - digits);
        match std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok())
        {
            Some(size) if start.ends_with(b"{") => end += size,
            _ => return Some(octets.split_at(end)),
        }
    }
}

#[test]
fn every_response_of_every_dialogue_is_read_by_another_codec() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut read = 0;
    let mut unread = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    for file in fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("it can be listed").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let script = fs::read_to_string(&path).expect("scripts are text");
        for octets in driver::transcripts(&script) {
            let mut rest = octets.as_slice();
            while !rest.is_empty() {
                let shown = String::from_utf8_lossy(rest.get(..rest.len().min(400)).unwrap_or_default());
                let (response, after) = next_response(rest)
                    .unwrap_or_else(|| panic!("{}: half a response: {shown}", path.display()));
                rest = after;
                if let Ok((left, _)) = ResponseCodec::default().decode(response) {
                    assert!(
                        left.is_empty(),
                        "{}: more than a response: {shown}",
                        path.display()
                    );
                    read += 1;
                    continue;
                }
                let text = String::from_utf8_lossy(response);
                let known = |&(what, _): &&(&'static str, &str)| text.starts_with(what);
                let part = |&(what, _): &&(&'static str, &str)| text.starts_with("* ") && text.contains(what);
                let exception = UNKNOWN_DATA
                    .iter()
                    .find(known)
                    .or_else(|| UNKNOWN_PARTS.iter().find(part));
                let utf8 = (!text.is_ascii()).then_some(&("UTF-8", "RFC 9755, section 3: in quoted strings"));
                match exception.or(utf8) {
                    Some((what, _)) => *counts.entry(what).or_default() += 1,
                    None => unread.push(format!("{}: {text}", path.display())),
                }
            }
        }
    }
    assert!(unread.is_empty(), "cannot be read:\n{}", unread.join("\n"));
    println!("{read} responses read; not known to the codec: {counts:#?}");
    assert!(read > 1_000, "{read}");
    let unknown: usize = counts.values().sum();
    assert!(unknown < read, "{unknown} of {read} responses are exceptions");
}
