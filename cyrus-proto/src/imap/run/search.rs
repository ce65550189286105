//! SEARCH (RFC 3501, section 6.4.4): index fields first, then the cache, then bodies, each message once.

use std::sync::Arc;
use std::time::Instant;

use cyrus_store::MailboxError;

use self::program::Program;
use super::unreadable::Unreadable;
use super::{Chain, Pieces, Request, seconds};
use crate::imap::command::{Numbering, SearchProgram};
use crate::imap::response::{Code, Reply, put_search};
use crate::imap::selected::{News, Selected};
use crate::job::Job;
use crate::output::Output;

mod program;
mod text;

/// The charsets named in BADCHARSET; every other one that the message parser knows works as well.
const CHARSETS: &[&str] = &["US-ASCII", "UTF-8"];

/// Octets of bodies after which the locks are let go.
const PIECE: u64 = 32 * 1024 * 1024;

/// The job of a SEARCH.
pub(super) fn job(request: Request, numbering: Numbering, program: SearchProgram) -> Job {
    Job::new(Chain(Search {
        request: Some(request),
        numbering,
        source: program,
        compiled: None,
        next: 1,
        found: Vec::new(),
        modseq: 0,
        unreadable: Unreadable::default(),
        started: Instant::now(),
    }))
}

struct Search {
    request: Option<Request>,
    numbering: Numbering,
    source: SearchProgram,
    compiled: Option<Arc<Program>>,
    /// The sequence number to go on with.
    next: u32,
    found: Vec<u32>,
    /// The highest modification sequence of what was found.
    modseq: u64,
    unreadable: Unreadable,
    started: Instant,
}

impl Pieces for Search {
    fn piece(&mut self, output: &mut Output, _budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = &mut self.request else {
            return Ok(Some(Reply::ok("Completed")));
        };
        let service = Arc::clone(&request.service);
        let zone = &service.store;
        let Selected { mailbox, view, .. } = request.selected()?;
        let program = match &self.compiled {
            Some(program) => program.clone(),
            None => match Program::compile(&self.source, view, zone) {
                Some(program) => self.compiled.insert(Arc::new(program)).clone(),
                None => {
                    let reply = Reply::no("Unrecognized character set");
                    return Ok(Some(reply.with(Code::BadCharset(CHARSETS))));
                }
            },
        };
        let read = mailbox.read()?;
        read.load_seen()?;
        let mut octets = 0;
        let same = Arc::ptr_eq(read.uids(), view.uids());
        let start = view.uids().uid(self.next);
        if let Some((start, end)) = start.zip(view.uids().last()) {
            for message in read.range(start..=end) {
                let uid = message.uid();
                let seqno = match same {
                    true => self.next,
                    false => match view.uids().seqno(uid) {
                        Some(seqno) => seqno,
                        None => continue,
                    },
                };
                if octets >= PIECE {
                    self.next = seqno;
                    return Ok(None);
                }
                match program.matches(&read, &message, seqno, &mut octets) {
                    Ok(true) => {
                        self.modseq = self.modseq.max(message.modseq().0);
                        self.found.push(match self.numbering {
                            Numbering::Sequence => seqno,
                            Numbering::Uid => uid.get(),
                        });
                    }
                    Ok(false) | Err(MailboxError::MessageGone) => {}
                    Err(error) => self.unreadable.note(&service, error)?,
                }
                self.next = seqno.saturating_add(1);
            }
        }
        let mut out = Vec::with_capacity(self.found.len() * 7 + 16);
        // With a MODSEQ key, what is found tells how new it is (RFC 7162, section 3.1.5).
        let modseq = Some(self.modseq).filter(|&modseq| modseq > 0 && self.source.names_modseq());
        put_search(&mut out, self.found.iter().copied(), modseq);
        output.put_vec(out);
        if let Some(reply) = self.unreadable.reply() {
            return Ok(Some(reply));
        }
        let count = self.found.len();
        let time = seconds(self.started);
        Ok(Some(Reply::ok(format!(
            "Completed ({count} msgs in {time} secs)"
        ))))
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn news(&self) -> News<'_> {
        News::after(self.numbering)
    }
}
