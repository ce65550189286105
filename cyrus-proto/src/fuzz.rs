//! Entry points for fuzzing: each takes any bytes, and panics only if something is broken.

use std::convert::Infallible;
use std::io;

use crate::frame::{DataEvent, Event, Framer, Limits, LineEvent, LineFramer, Sink};
use crate::job::{Link, Peer};
use crate::lmtp::{Deliverer, Envelope, LmtpOptions, LmtpService, Reply};

/// Commands with literals, in pieces whose size the first byte chooses.
pub fn framer(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else {
        return;
    };
    let mut framer = Framer::<Infallible>::new(Limits {
        line: 200,
        command: 1000,
        literals: 5,
    });
    for piece in data.chunks(usize::from(cut).max(1)) {
        framer.push(piece);
        loop {
            match framer.next() {
                Event::NeedInput => break,
                Event::Literal(literal) if literal.size % 3 == 0 => framer.refuse(),
                Event::Literal(_) => framer.accept_in_memory(),
                Event::Command(command) => assert!(command.text.len() <= 1000 + 2),
                Event::Refused(refused) => assert!(refused.start.len() <= 200),
            }
        }
    }
}

/// Lines and message data in turn.
pub fn lines(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else {
        return;
    };
    let mut framer = LineFramer::new(100);
    let mut in_data = false;
    for piece in data.chunks(usize::from(cut).max(1)) {
        framer.push(piece);
        loop {
            if in_data {
                match framer.next_data(&mut |piece| assert!(!piece.octets().is_empty())) {
                    DataEvent::NeedInput => break,
                    DataEvent::End => in_data = false,
                }
            }
            match framer.next() {
                LineEvent::NeedInput => break,
                LineEvent::Line(line) => in_data = line == b"DATA",
                LineEvent::TooLong(start) => assert!(start.len() <= LineFramer::START),
            }
        }
    }
}

/// A whole LMTP session, whose recipients all exist.
pub fn lmtp(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let options = LmtpOptions {
        preauthorised: choice & 1 == 0,
        max_message_size: if choice & 2 == 0 { 0 } else { 1000 },
        ..LmtpOptions::new("localhost")
    };
    let mut session = LmtpService::new(Everybody, None, options).session();
    let link = Link::detached(Peer::Unix);
    let mut output = Vec::new();
    let result = crate::drive::drive(&mut session, data, &mut output, &link);
    assert!(result.is_ok(), "memory neither fails nor speaks TLS");
    assert!(output.ends_with(b"\r\n"), "replies are lines");
}

/// What comes from clients, issuers and their servers when somebody logs in by a token.
#[cfg(feature = "oauth")]
pub fn oauth(data: &[u8]) {
    crate::sasl::oauth::fuzz(data);
    let mechanisms = [
        "PLAIN",
        "LOGIN",
        "CRAM-MD5",
        "DIGEST-MD5",
        "OAUTHBEARER",
        "XOAUTH2",
        "SCRAM-SHA-256",
    ];
    for mechanism in mechanisms {
        let mut attempt = crate::sasl::Attempt::new(mechanism);
        attempt.hear(data);
        assert!(
            !attempt.to_string().contains(char::is_control),
            "it is a line of the log"
        );
    }
}

struct Everybody;

impl Deliverer for Everybody {
    type Recipient = ();
    type Stage = Count;

    fn may_submit(&self, _user: &str) -> bool {
        true
    }

    fn resolve(&self, _envelope: &Envelope, _address: &str, _ignore_quota: bool) -> Result<(), Reply> {
        Ok(())
    }

    fn stage(&self, _envelope: &Envelope, _recipients: &[()]) -> Result<Count, Reply> {
        Ok(Count { nul: false })
    }

    fn deliver(&self, _envelope: &Envelope, message: Count, recipients: Vec<()>) -> Vec<Reply> {
        assert!(!message.nul, "messages with NUL are refused");
        recipients.iter().map(|()| Reply::delivered()).collect()
    }
}

struct Count {
    nul: bool,
}

impl Sink for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.nul |= bytes.contains(&0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn noise_breaks_nothing(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            super::framer(&data);
            super::lines(&data);
            super::lmtp(&data);
        }
    }
}
