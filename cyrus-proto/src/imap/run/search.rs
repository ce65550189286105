//! SEARCH, SORT and THREAD: index fields first, then the cache, then bodies, each message once (RFC 3501, section 6.4.4;
//! RFC 5256; RFC 5267).

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use cyrus_store::{MailboxError, UidSet};

use self::answer::Results;
use self::context::Found;
use self::program::{Program, Terms};
use self::scan::Scan;
use super::{Chain, Pieces, Request, Stage, completed, seconds};
use crate::imap::command::{Numbering, SearchProgram, SearchReturn, SortCriterion, SortKey, ThreadAlgorithm};
use crate::imap::enabled::Enabled;
use crate::imap::response::{Code, Reply, put_search, put_sort, put_thread};
use crate::imap::selected::{News, Selected};
use crate::job::Job;
use crate::output::Output;

mod answer;
pub(crate) mod context;
mod gather;
pub(super) mod multi;
mod program;
mod scan;
mod sort;
mod subject;
mod text;
mod thread;

/// A search as a client asked for it.
pub(super) struct Asked {
    numbering: Numbering,
    returns: Option<SearchReturn>,
    program: SearchProgram,
    order: Order,
}

/// What becomes of the results.
enum Order {
    /// They are told in the order of the mailbox.
    Mailbox,
    Sorted(Vec<SortCriterion>),
    Threads(ThreadAlgorithm),
}

impl Asked {
    pub(super) fn search(
        numbering: Numbering,
        returns: Option<SearchReturn>,
        program: SearchProgram,
    ) -> Self {
        Self {
            numbering,
            returns,
            program,
            order: Order::Mailbox,
        }
    }

    pub(super) fn sort(
        numbering: Numbering,
        returns: Option<SearchReturn>,
        criteria: Vec<SortCriterion>,
        program: SearchProgram,
    ) -> Self {
        Self {
            numbering,
            returns,
            program,
            order: Order::Sorted(criteria),
        }
    }

    /// Whether it matters how relevant results are.
    fn rates(&self) -> bool {
        let by_relevancy = match &self.order {
            Order::Sorted(criteria) => criteria
                .iter()
                .any(|criterion| criterion.key == SortKey::Relevancy),
            Order::Mailbox | Order::Threads(_) => false,
        };
        by_relevancy || self.returns.as_ref().is_some_and(|returns| returns.relevancy)
    }

    /// Whether the client wants to hear of changes to the results.
    fn updates(&self) -> bool {
        self.returns.as_ref().is_some_and(|returns| returns.update)
    }

    pub(super) fn thread(numbering: Numbering, algorithm: ThreadAlgorithm, program: SearchProgram) -> Self {
        Self {
            numbering,
            returns: None,
            program,
            order: Order::Threads(algorithm),
        }
    }
}

/// A message that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hit {
    seqno: u32,
    uid: u32,
    /// From 1 to 100; see [`Scan::rate`].
    relevancy: u8,
}

impl Hit {
    fn number(self, numbering: Numbering) -> u32 {
        match numbering {
            Numbering::Sequence => self.seqno,
            Numbering::Uid => self.uid,
        }
    }
}

/// The job of a SEARCH, SORT or THREAD.
pub(super) fn job(request: Request, mut asked: Asked) -> Job {
    if request.enabled.contains(Enabled::IMAP4REV2) && matches!(asked.order, Order::Mailbox) {
        // There is no SEARCH response any more (RFC 9051, section 6.4.4).
        asked.returns.get_or_insert(SearchReturn {
            all: true,
            ..SearchReturn::default()
        });
    }
    Job::new(Chain::new(Search {
        request: Some(request),
        asked,
        scan: None,
        started: Instant::now(),
    }))
}

struct Search {
    request: Option<Request>,
    asked: Asked,
    /// From the first piece on.
    scan: Option<Scan>,
    started: Instant,
}

impl Pieces for Search {
    fn piece(&mut self, output: &mut Output, _budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = &mut self.request else {
            return Ok(Some(completed()));
        };
        let service = Arc::clone(&request.service);
        let (user, tag, comparison) = (request.user.clone(), request.tag.clone(), request.comparison());
        let Selected {
            mailbox,
            view,
            contexts,
            ..
        } = request.selected()?;
        let scan = match &mut self.scan {
            Some(scan) => scan,
            None => {
                if self.asked.updates() && contexts.has(&tag) {
                    return Ok(Some(Reply::bad("Tag reuse")));
                }
                let terms = Terms {
                    view,
                    mailbox: mailbox.name(),
                    store: &service.store,
                    auth: &user.auth,
                    comparison,
                    fuzzy: service.options.search_fuzzy_always,
                    now: now(),
                    left: Cell::new(SearchProgram::MAX_KEYS),
                };
                let mut program = match Program::compile(&self.asked.program, &terms) {
                    Ok(program) => program,
                    Err(why) => return why.reply().map(Some),
                };
                let narrowed =
                    match program.wants_index(view.uids().len() >= service.options.search_index_least) {
                        true => mailbox.search_index()?.and_then(|index| program.consult(&index)),
                        false => None,
                    };
                if self.asked.returns.as_ref().is_some_and(|returns| returns.save) {
                    // Until the search has succeeded there is no result (RFC 5182, section 2.1).
                    view.saved = UidSet::new();
                }
                self.scan.insert(Scan::new(program, view, narrowed))
            }
        };
        let read = mailbox.read()?;
        read.load_seen()?;
        if !scan.go_on(&read, view, &service)? {
            if service
                .options
                .search_maxtime
                .is_some_and(|limit| self.started.elapsed() >= limit)
            {
                return Ok(Some(Reply::no("Search takes too long").with(Code::Limit)));
            }
            return Ok(None);
        }
        // What could be read is told all the same; a result that is kept or kept true would be a wrong one.
        let unreadable = scan.unreadable.reply();
        let most = service.options.message_limit;
        let limited = scan.limit(most);
        if limited.is_some() && !matches!(self.asked.order, Order::Mailbox) {
            // The order of some results is not that of all.
            let reply = Reply::no(format!("No more than {most} messages at once"));
            return Ok(Some(reply.with(Code::MessageLimit(most, None))));
        }
        let limited = limited.map(|lowest| Code::MessageLimit(most, Some(lowest)));
        let whole = unreadable.is_none();
        let count = scan.hits.len();
        if self.asked.rates() {
            scan.rate();
        }
        let modseq = Some(scan.modseq).filter(|&modseq| modseq > 0 && self.asked.program.names_modseq());
        let mut hits = std::mem::take(&mut scan.hits);
        let mut out = Vec::with_capacity(count * 7 + 64);
        let numbering = self.asked.numbering;
        match &self.asked.order {
            Order::Threads(algorithm) => {
                let threads = gather::threads(&read, &hits, numbering, *algorithm, comparison)?;
                put_thread(&mut out, &threads, modseq);
            }
            Order::Sorted(criteria) => sort::sort(&read, &mut hits, criteria, comparison)?,
            Order::Mailbox => {}
        }
        let results = Results {
            hits: &hits,
            numbering,
            modseq,
        };
        match (&self.asked.order, &self.asked.returns) {
            (Order::Threads(_), _) => {}
            (_, Some(returns)) => {
                if returns.save && whole {
                    view.saved = answer::saved(&hits, returns);
                }
                if returns.tells() || returns.update || returns.context {
                    results.put(&mut out, &tag, None, returns, &read);
                }
            }
            (Order::Sorted(_), None) => put_sort(&mut out, results.numbers(), modseq),
            (Order::Mailbox, None) => put_search(&mut out, results.numbers(), modseq),
        }
        if whole
            && self.asked.updates()
            && let Some(scan) = self.scan.take()
        {
            let order = &self.asked.order;
            let most = service.options.max_updated_searches;
            let fetch = self
                .asked
                .returns
                .as_ref()
                .and_then(|returns| returns.fetch.clone());
            let fetch = fetch.map(|wanted| Arc::new(*wanted));
            let found = Found {
                tag: tag.clone(),
                numbering,
                program: scan.program,
                order,
                hits: &hits,
                comparison,
                fetch,
            };
            if !contexts.add(most, found) {
                let refusal = Reply::no("Too many searches are updated");
                refusal
                    .with(Code::NoUpdate(tag.to_string()))
                    .put_untagged(&mut out);
            }
        }
        output.put_vec(out);
        let time = seconds(self.started);
        let completed = || Reply::ok(format!("Completed ({count} msgs in {time} secs)"));
        let reply = unreadable.unwrap_or_else(completed);
        Ok(Some(match limited {
            Some(code) => reply.or_code(code),
            None => reply,
        }))
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn news(&self) -> News<'_> {
        News::after(self.asked.numbering)
    }

    fn stage(&self) -> Option<Stage> {
        let (request, scan) = (self.request.as_ref()?, self.scan.as_ref()?);
        let view = &request.mailbox.as_ref()?.view;
        Some(Stage {
            tag: request.tag.clone(),
            done: scan.done(view),
            goal: view.uids().len(),
        })
    }
}

/// The present, Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
