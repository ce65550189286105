//! What searches answer: SORT, THREAD, and ESEARCH with its correlator (RFC 4466, section 2.6.2).

use super::lex::{put_astring, put_number, put_string};
use crate::imap::command::{PartialRange, Tag};

/// `* SORT n n ...`, with `(MODSEQ n)` at its end if that is asked for.
pub fn put_sort(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>, modseq: Option<u64>) {
    out.extend_from_slice(b"* SORT");
    for number in numbers {
        out.push(b' ');
        put_number(out, u64::from(number));
    }
    put_modseq(out, modseq);
}

/// `* THREAD (...)(...)`: `threads` is ready to print.
pub fn put_thread(out: &mut Vec<u8>, threads: &[u8], modseq: Option<u64>) {
    out.extend_from_slice(b"* THREAD");
    if !threads.is_empty() {
        out.push(b' ');
        out.extend_from_slice(threads);
    }
    put_modseq(out, modseq);
}

fn put_modseq(out: &mut Vec<u8>, modseq: Option<u64>) {
    if let Some(modseq) = modseq {
        out.extend_from_slice(b" (MODSEQ ");
        put_number(out, modseq);
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// Where a search in many mailboxes found something (RFC 7377, section 2.2).
#[derive(Clone, Copy, Debug)]
pub struct SearchedMailbox<'n> {
    /// Its name, as the client knows it.
    pub name: &'n [u8],
    /// Its UIDVALIDITY.
    pub uidvalidity: u32,
}

/// One ESEARCH response under construction (RFC 4731, section 3.1).
pub struct EsearchLine<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> EsearchLine<'o> {
    /// Begins `* ESEARCH (TAG "tag") [UID]`.
    pub fn begin(out: &'o mut Vec<u8>, tag: &Tag, mailbox: Option<SearchedMailbox<'_>>, uid: bool) -> Self {
        out.extend_from_slice(b"* ESEARCH (TAG ");
        put_string(out, tag.as_bytes());
        if let Some(mailbox) = mailbox {
            out.extend_from_slice(b" MAILBOX ");
            put_astring(out, mailbox.name);
            out.extend_from_slice(format!(" UIDVALIDITY {}", mailbox.uidvalidity).as_bytes());
        }
        out.push(b')');
        if uid {
            out.extend_from_slice(b" UID");
        }
        Self { out }
    }

    /// `name number`: COUNT, MIN, MAX, MODSEQ.
    pub fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        put_number(self.out, number);
    }

    /// `name set`: ALL, with neighbours that ascend as ranges.
    pub fn set(&mut self, name: &str, numbers: impl IntoIterator<Item = u32>) {
        self.name(name);
        put_set(self.out, numbers);
    }

    /// `PARTIAL (range set)`, or NIL where nothing is in the range.
    pub fn partial(&mut self, range: PartialRange, numbers: &[u32]) {
        self.name("PARTIAL");
        self.out.extend_from_slice(format!("({range} ").as_bytes());
        match numbers.is_empty() {
            true => self.out.extend_from_slice(b"NIL"),
            false => put_set(self.out, numbers.iter().copied()),
        }
        self.out.push(b')');
    }

    /// `RELEVANCY (n n ...)` (RFC 6203, section 4).
    pub fn relevancy(&mut self, scores: impl IntoIterator<Item = u8>) {
        self.name("RELEVANCY");
        for (i, score) in scores.into_iter().enumerate() {
            self.out.push(if i == 0 { b'(' } else { b' ' });
            put_number(self.out, u64::from(score));
        }
        self.out.push(b')');
    }

    /// `name (position set ...)`: ADDTO and REMOVEFROM (RFC 5267, sections 4.3.3 and 4.3.4).
    pub fn change(&mut self, name: &str, pairs: &[(u32, Vec<u32>)]) {
        self.name(name);
        for (i, (position, numbers)) in pairs.iter().enumerate() {
            self.out.push(if i == 0 { b'(' } else { b' ' });
            put_number(self.out, u64::from(*position));
            self.out.push(b' ');
            put_set(self.out, numbers.iter().copied());
        }
        self.out.push(b')');
    }

    /// Closes the response.
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn name(&mut self, name: &str) {
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b' ');
    }
}

/// `sequence-set` in the order given, runs of neighbours as ranges.
fn put_set(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    let mut numbers = numbers.into_iter().peekable();
    let mut first = true;
    while let Some(start) = numbers.next() {
        let mut end = start;
        while let Some(next) = end.checked_add(1).and_then(|after| numbers.next_if_eq(&after)) {
            end = next;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        put_number(out, u64::from(start));
        if end > start {
            out.push(b':');
            put_number(out, u64::from(end));
        }
    }
}

/// `* COMPARATOR name`, with all that matched if there was more than one (RFC 5255, section 4.8).
pub fn put_comparator(out: &mut Vec<u8>, active: &str, matching: &[&str]) {
    out.extend_from_slice(b"* COMPARATOR ");
    put_astring(out, active.as_bytes());
    if matching.len() > 1 {
        for (i, name) in matching.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b" (" } else { b" " });
            put_astring(out, name.as_bytes());
        }
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_keep_their_order_and_only_ascending_runs_become_ranges() {
        let mut out = Vec::new();
        put_set(&mut out, [15, 14, 7, 8, 9, 1, u32::MAX]);
        assert_eq!(out, b"15,14,7:9,1,4294967295");
    }

    #[test]
    fn a_line_tells_what_it_is_asked_to() {
        let mut out = Vec::new();
        let tag = Tag::new(b"a1").unwrap();
        let mailbox = SearchedMailbox {
            name: b"a b",
            uidvalidity: 7,
        };
        let mut line = EsearchLine::begin(&mut out, &tag, Some(mailbox), true);
        line.number("COUNT", 2);
        line.set("ALL", [3, 4]);
        line.change("ADDTO", &[(1, vec![5]), (3, vec![8, 9])]);
        line.relevancy([100, 50]);
        line.end();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "* ESEARCH (TAG \"a1\" MAILBOX \"a b\" UIDVALIDITY 7) UID COUNT 2 ALL 3:4 ADDTO (1 5 3 8:9) RELEVANCY (100 50)\r\n"
        );
    }
}
