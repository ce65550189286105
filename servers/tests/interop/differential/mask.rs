//! What two servers cannot say alike.

/// Takes out of a line what two servers cannot say alike: unique ids, session ids, durations, times of this run, what ID
/// tells, and capabilities (which have a test of their own). Line ends in literals become `¶`.
pub(crate) fn mask(line: &str) -> String {
    let mut line = line.replace("\r\n", "¶").replace('\n', "¬").replace('\r', "");
    for (before, after) in [
        ("SESSIONID=<", ">"),
        ("MAILBOXID (", ")"),
        ("[CAPABILITY ", "]"),
        ("* CAPABILITY ", "¶"),
        ("* ID (", "¶"),
        ("INTERNALDATE \"", "\""),
        ("SAVEDATE \"", "\""),
        ("LASTUPDATED \"", "\""),
        ("[CREATIONID ", "]"),
        ("[REFERRAL ", "]"),
        ("/uniqueid\" \"", "\""),
        ("/lastupdate\" \"", "\""),
        ("/foldermodseq\" \"", "\""),
        ("/freespace\" \"", "\""),
        ("/freespace/total\" \"", "\""),
        ("/freespace/percent/most\" \"", "\""),
        ("Cyrus LMTP ", " server ready"),
        (":internal:", "\""),
        // With a line that tells a process id.
        ("Message size (", ")"),
    ] {
        blank(&mut line, before, after);
    }
    // We say what is wrong with them.
    for text in ["NO Invalid mailbox name", "NO Invalid identifier"] {
        if let Some(at) = line.find(text) {
            line.truncate(at + text.len());
        }
    }
    if let Some(at) = line.rfind(" sec") {
        let start = line.get(..at).and_then(|head| head.rfind('('));
        if let Some(start) = start {
            line.truncate(start);
            line.push_str("(<time>)");
        }
    }
    times(&line)
}

/// Blanks everything between two texts, wherever they stand. A date that is not of today is left.
fn blank(line: &mut String, before: &str, after: &str) {
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find(before)) {
        let start = from + at + before.len();
        let length = line
            .get(start..)
            .map_or(0, |rest| rest.find(after).unwrap_or(rest.len()));
        from = start;
        let old = before.contains("DATE")
            && line
                .get(start..start + length)
                .is_some_and(|date| ["-19", "-200", "-201"].iter().any(|year| date.contains(year)));
        if !old {
            line.replace_range(start..start + length, "<*>");
        }
    }
}

/// Blanks numbers of ten digits that are times of these years: UIDVALIDITY and its like.
fn times(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut digits = String::new();
    for c in line.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.len() == 10 && digits.starts_with('1') {
            true => masked.push_str("<time>"),
            false => masked.push_str(&digits),
        }
        digits.clear();
        if c != '\0' {
            masked.push(c);
        }
    }
    masked
}

#[test]
fn what_cannot_be_equal_is_masked_and_nothing_else() {
    assert_eq!(
        mask("* STATUS x (UIDVALIDITY 1795641234 MESSAGES 3)"),
        "* STATUS x (UIDVALIDITY <time> MESSAGES 3)"
    );
    assert_eq!(
        mask("a OK [MAILBOXID (abc)] Completed (0.001 secs 3 calls)"),
        "a OK [MAILBOXID (<*>)] Completed (<time>)"
    );
    let dated = "* 1 FETCH (INTERNALDATE \"01-Jan-2001 00:00:00 +0000\")";
    assert_eq!(mask(dated), dated);
}
