//! Messages that look like mail, the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of numbers that looks random and never changes (splitmix64).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((word ^ (word >> 31)) >> 33).unwrap_or(0) % limit.max(1)
    }
}

const WORDS: [&str; 48] = [
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not",
    "his", "but", "at", "are", "this", "have", "from", "which", "mailbox", "harbour", "quarter", "meeting",
    "invoice", "tomorrow", "draft", "server", "window", "garden", "letter", "silver", "mountain", "question",
    "answer", "number", "message", "weather", "kitchen", "planet", "archive", "signal", "button", "library",
];

/// What stands where a fresh Message-ID goes.
const MARK: &[u8] = b"0000000000000000000000000000000000000000";

/// A set of messages of one size, of which each use gets a Message-ID never used before.
pub(super) struct Pool {
    messages: Vec<(Vec<u8>, usize)>,
}

impl Pool {
    /// Sixteen messages of about `size` octets.
    pub(super) fn new(size: usize) -> Self {
        let messages = (0..16).map(|seed| {
            let text = plain(size, &mut Numbers::new(seed));
            let at = text
                .windows(MARK.len())
                .position(|window| window == MARK)
                .unwrap_or(0);
            (text, at)
        });
        Self {
            messages: messages.collect(),
        }
    }

    /// The next message, with its own Message-ID, in a buffer that is used again.
    pub(super) fn fresh<'a>(&self, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(serial).unwrap_or(0) % self.messages.len().max(1);
        buffer.clear();
        if let Some((message, mark)) = self.messages.get(at) {
            buffer.extend_from_slice(message);
            let id = format!("{:020}{:08}{serial:012}", nanoseconds(), std::process::id());
            if let Some(place) = buffer.get_mut(*mark..*mark + MARK.len()) {
                place.copy_from_slice(id.as_bytes().get(..MARK.len()).unwrap_or(MARK));
            }
        }
        buffer
    }
}

fn nanoseconds() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0))
}

/// A plain-text message with the headers that mail has after some hops.
fn plain(size: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut text = header(
        numbers,
        std::str::from_utf8(MARK).unwrap_or_default(),
        "text/plain; charset=utf-8",
    );
    body(&mut text, size, numbers);
    text.into_bytes()
}

fn header(numbers: &mut Numbers, id: &str, content_type: &str) -> String {
    let (from, to) = (numbers.below(200), numbers.below(200));
    let day = 1 + numbers.below(28);
    let mut text = format!("Return-Path: <person{from}@site{}.example>\r\n", from % 17);
    for hop in 1..4 {
        text.push_str(&format!(
            "Received: from mx{hop}.example (mx{hop}.example [192.0.2.{hop}])\r\n\tby relay{hop}.example with ESMTPS id {:012}\r\n\
             \tfor <person{to}@site.example>; Thu, {day} Feb 2024 10:00:0{hop} +0000\r\n",
            numbers.below(1 << 30)
        ));
    }
    let subject: Vec<&str> = (0..5)
        .filter_map(|_| WORDS.get(numbers.below(WORDS.len())).copied())
        .collect();
    text.push_str(&format!(
        "From: Person Number{from} <person{from}@site{}.example>\r\nTo: Person Number{to} <person{to}@site.example>\r\n\
         Subject: {}\r\nDate: Thu, {day} Feb 2024 10:00:00 +0000\r\nMessage-ID: <{id}@bench.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: {content_type}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        from % 17,
        subject.join(" ")
    ));
    text
}

/// Lines of words up to `size` octets in all; no line begins with a dot.
fn body(text: &mut String, size: usize, numbers: &mut Numbers) {
    while text.len() < size {
        let mut line = 0;
        while line < 66 {
            let word = WORDS.get(numbers.below(WORDS.len())).copied().unwrap_or("word");
            text.push_str(word);
            text.push(' ');
            line += word.len() + 1;
        }
        text.push_str("end\r\n");
    }
}

/// Message `number` of the big mailbox: of various sizes, every fourth with an attachment.
pub(super) fn big(number: u32) -> Vec<u8> {
    let mut numbers = Numbers::new(u64::from(number));
    let id = format!("big.{number}");
    let size = [800, 1500, 2500, 4000, 7000]
        .get(numbers.below(5))
        .copied()
        .unwrap_or(800);
    if !number.is_multiple_of(4) {
        let mut text = header(&mut numbers, &id, "text/plain; charset=utf-8");
        body(&mut text, size, &mut numbers);
        return text.into_bytes();
    }
    let mut text = header(&mut numbers, &id, "multipart/mixed; boundary=\"=_b\"");
    text.push_str("--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
    let end = text.len() + size / 2;
    body(&mut text, end, &mut numbers);
    text.push_str("\r\n--=_b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    for _ in 0..size / 160 {
        text.push_str(&format!("{:076}\r\n", numbers.below(1 << 30)));
    }
    text.push_str("--=_b--\r\n");
    text.into_bytes()
}
