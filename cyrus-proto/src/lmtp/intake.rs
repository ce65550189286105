//! Shapes a message while it streams in: trace fields first, header checked and completed, line ends as CRLF.
//!
//! ```text
//!   Start --SP/TAB--> (continuation, or a bad header)
//!     |  \--empty line--> add what is missing --> Body
//!     v
//!   Name --":"--> Value --line end--> Start
//! ```

use super::options::LmtpOptions;
use super::response::{self, Reply};
use crate::eight_bit::EightBitHeaders;
use crate::frame::{Piece, Sink};

/// One message on its way into a sink.
///
/// Once the message cannot be accepted any more, its octets are only counted.
pub(super) struct Intake<S> {
    sink: S,
    failure: Option<Reply>,
    size: u64,
    limit: u64,
    eight_bit: EightBitHeaders,
    state: State,
    /// The name of the field at hand, as far as it came.
    name: Vec<u8>,
    /// There was a field that a line could continue.
    in_field: bool,
    /// The field at hand is left out.
    dropping: bool,
    has_message_id: bool,
    has_date: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Name,
    Value,
    Body,
}

/// Octets of a field name; RFC 5322 lets a whole line have 998.
const MAX_NAME: usize = 998;

impl<S: Sink> Intake<S> {
    /// Starts a message with its trace fields.
    pub(super) fn new(sink: S, options: &LmtpOptions, trace: &str) -> Self {
        let mut intake = Self {
            sink,
            failure: None,
            size: 0,
            limit: options.max_message_size,
            eight_bit: options.eight_bit_headers,
            state: State::Start,
            name: Vec::new(),
            in_field: false,
            dropping: false,
            has_message_id: false,
            has_date: false,
        };
        intake.write(trace.as_bytes());
        intake
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: Piece<'_>, options: &LmtpOptions) {
        let text = match piece {
            Piece::Text(text) => text,
            // In a header it ends the line; in a body it is dropped.
            Piece::BareCr if self.state == State::Body => return,
            Piece::BareCr => b"\r\n",
        };
        if memchr::memchr(0, text).is_some() {
            // Counts before any other reason, whatever came first.
            self.failure = Some(response::NUL_IN_MESSAGE);
        }
        let mut rest = text;
        while !rest.is_empty() {
            if self.state == State::Body {
                return self.write(rest);
            }
            rest = match memchr::memchr(b'\r', rest) {
                // CR is followed by LF, or it would be a piece of its own.
                Some(end) => {
                    let (line, after) = rest.split_at(end);
                    self.header(line);
                    self.line_end(options);
                    after.get(2..).unwrap_or_default()
                }
                None => {
                    self.header(rest);
                    &[]
                }
            };
        }
    }

    /// The message is complete: the sink, or the reply to every recipient.
    pub(super) fn finish(mut self, options: &LmtpOptions) -> Result<S, Reply> {
        if self.state != State::Body {
            self.complete_header(options);
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.limit > 0 && self.size > self.limit {
            return Err(response::message_too_large(self.size, self.limit));
        }
        Ok(self.sink)
    }

    /// Part of a header line, without its end.
    fn header(&mut self, mut part: &[u8]) {
        if self.state == State::Start
            && let Some(&first) = part.first()
        {
            if first == b' ' || first == b'\t' {
                if !self.in_field {
                    self.fail(response::BAD_HEADER);
                }
                self.state = State::Value;
            } else {
                self.name.clear();
                self.state = State::Name;
            }
        }
        if self.state == State::Name {
            let colon = memchr::memchr(b':', part);
            let (name, after) = part.split_at(colon.unwrap_or(part.len()));
            if self.name.len() + name.len() > MAX_NAME {
                self.fail(response::BAD_HEADER);
            } else {
                self.name.extend_from_slice(name);
            }
            if colon.is_some() {
                self.named();
            }
            part = after;
        }
        if self.state == State::Value && !self.dropping {
            self.value(part);
        }
    }

    /// The name at hand is complete (the colon is part of the value).
    fn named(&mut self) {
        let name = self.name.trim_ascii_end();
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            self.fail(response::BAD_HEADER);
        }
        let name = self.name.trim_ascii_end();
        self.dropping = name.eq_ignore_ascii_case(b"Return-Path");
        self.has_message_id |= name.eq_ignore_ascii_case(b"Message-ID");
        self.has_date |= name.eq_ignore_ascii_case(b"Date");
        self.in_field = true;
        self.state = State::Value;
        if !self.dropping {
            let name = std::mem::take(&mut self.name);
            self.write(&name);
        }
    }

    fn value(&mut self, part: &[u8]) {
        match self.eight_bit.apply(part) {
            Some(part) => self.write(&part),
            None => self.fail(response::EIGHT_BIT),
        }
    }

    /// A header line ends.
    fn line_end(&mut self, options: &LmtpOptions) {
        match self.state {
            State::Start => {
                self.complete_header(options);
                self.write(b"\r\n");
                self.state = State::Body;
            }
            State::Name => {
                self.fail(response::BAD_HEADER);
                self.state = State::Start;
            }
            State::Value => {
                if !self.dropping {
                    self.write(b"\r\n");
                }
                self.state = State::Start;
            }
            State::Body => {}
        }
    }

    /// Adds the fields that every message should have (RFC 5322, section 3.6).
    fn complete_header(&mut self, options: &LmtpOptions) {
        let environment = &options.environment;
        if !self.has_message_id {
            self.write(format!("Message-ID: {}\r\n", environment.message_id()).as_bytes());
        }
        if !self.has_date {
            self.write(format!("Date: {}\r\n", environment.date()).as_bytes());
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        let too_large = self.limit > 0 && self.size > self.limit;
        if self.failure.is_none() && !too_large && !bytes.is_empty() && self.sink.write(bytes).is_err() {
            // The sink's own log says more; the peer is to try again.
            self.failure = Some(Reply::io_error());
        }
    }

    /// The first reason counts.
    fn fail(&mut self, reason: Reply) {
        self.failure.get_or_insert(reason);
    }
}
