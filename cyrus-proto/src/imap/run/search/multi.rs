//! ESEARCH: one search in many mailboxes (RFC 7377).

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use cyrus_acl::Rights;
use cyrus_store::{Mailbox, MailboxError, MailboxName};

use super::answer::{Results, saved};
use super::context::Found;
use super::program::{Program, Terms};
use super::scan::Scan;
use super::{Order, now};
use crate::imap::command::{MultiSearch, Numbering, SearchProgram, SearchReturn, SearchSource};
use crate::imap::response::{Code, Reply, SearchedMailbox};
use crate::imap::run::{Chain, Pieces, Request, Stage, completed, seconds};
use crate::imap::selected::{News, Selected, View};
use crate::job::Job;
use crate::output::Output;

/// The job of an ESEARCH.
pub(in crate::imap::run) fn job(request: Request, search: MultiSearch) -> Job {
    Job::new(Chain::new(Multi {
        request: Some(request),
        search,
        left: None,
        goal: 0,
        current: None,
        unreadable: 0,
        limited: false,
        count: 0,
        started: Instant::now(),
    }))
}

struct Multi {
    request: Option<Request>,
    search: MultiSearch,
    /// The mailboxes still to be searched; from the first piece on.
    left: Option<VecDeque<MailboxName>>,
    /// How many they were.
    goal: usize,
    current: Option<Current>,
    /// Mailboxes that could not be searched whole.
    unreadable: u32,
    /// Whether of some mailbox not all results were told.
    limited: bool,
    count: usize,
    started: Instant,
}

/// A mailbox that is being searched.
struct Current {
    mailbox: Mailbox,
    view: View,
    scan: Scan,
    /// Whether more was found than one command tells of (RFC 9738).
    limited: bool,
    /// How much was found.
    found: usize,
}

impl Pieces for Multi {
    fn piece(&mut self, output: &mut Output, _budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = &mut self.request else {
            return Ok(Some(completed()));
        };
        if self.left.is_none() {
            let selected = request
                .mailbox
                .as_ref()
                .map(|selected| selected.mailbox.name().clone());
            if let Err(reply) = check(&self.search, selected.is_some()) {
                return Ok(Some(reply));
            }
            let names = sources(request, &self.search.sources, selected)?;
            if names.len() > request.service.options.max_searched_mailboxes {
                return Ok(Some(Reply::no("Too many mailboxes to search").with(Code::Limit)));
            }
            if let (Some(selected), true) = (&mut request.mailbox, saves(&self.search)) {
                selected.view.saved = cyrus_store::UidSet::new();
            }
            self.goal = names.len();
            self.left = Some(names.into_iter().collect());
        }
        let limit = request.service.options.search_maxtime;
        if limit.is_some_and(|limit| self.started.elapsed() >= limit) {
            return Ok(Some(Reply::no("Search takes too long").with(Code::Limit)));
        }
        if self.current.is_none() {
            let Some(name) = self.left.as_mut().and_then(VecDeque::pop_front) else {
                let limit = request.service.options.message_limit;
                let limit = self.limited.then_some(Code::MessageLimit(limit, None));
                return Ok(Some(match limit {
                    Some(limit) => self.finished().or_code(limit),
                    None => self.finished(),
                }));
            };
            match Current::begin(request, &name, &self.search.program) {
                Ok(Ok(current)) => self.current = Some(current),
                Ok(Err(reply)) => return Ok(Some(reply)),
                // Nothing is told of what the user may not see, or what went away.
                Err(MailboxError::NotFound | MailboxError::NotAMailbox | MailboxError::PermissionDenied) => {}
                Err(error) => {
                    self.unreadable += 1;
                    let _ = request.refusal(&error);
                }
            }
            return Ok(None);
        }
        let Some(current) = &mut self.current else {
            return Ok(None);
        };
        let mut out = Vec::new();
        match current.go_on(request, &self.search, &mut out) {
            Ok(false) => return Ok(None),
            Ok(true) => {
                self.count += current.found;
                self.unreadable += u32::from(current.scan.unreadable.reply().is_some());
                self.limited |= current.limited;
            }
            Err(error) => {
                self.unreadable += 1;
                let _ = request.refusal(&error);
            }
        }
        output.put_vec(out);
        self.current = None;
        Ok(None)
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn news(&self) -> News<'_> {
        News::after(Numbering::Uid)
    }

    fn stage(&self) -> Option<Stage> {
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let left = self.left.as_ref()?.len();
        Some(Stage {
            tag: self.request.as_ref()?.tag.clone(),
            done: narrow(self.goal.saturating_sub(left)),
            goal: narrow(self.goal),
        })
    }
}

impl Multi {
    fn finished(&self) -> Reply {
        if self.unreadable > 0 {
            let count = self.unreadable;
            return Reply::no(format!("{count} mailboxes could not be searched")).with(Code::Unavailable);
        }
        let (count, time) = (self.count, seconds(self.started));
        Reply::ok(format!("Completed ({count} msgs in {time} secs)"))
    }
}

impl Current {
    /// Opens a mailbox and makes the program ready for it; a reply if the program cannot be run anywhere.
    fn begin(
        request: &Request,
        name: &MailboxName,
        program: &SearchProgram,
    ) -> Result<Result<Self, Reply>, MailboxError> {
        let store = &request.service.store;
        let selected = request.mailbox.as_deref();
        let selected = selected.filter(|selected| selected.mailbox.name() == name);
        let mut mailbox = store.open_mailbox(name, &request.user.auth)?;
        let rights = mailbox.rights();
        if !rights.contains(Rights::READ) {
            return Err(MailboxError::PermissionDenied);
        }
        let view = {
            let read = mailbox.read()?;
            View::new(&read, true, rights)
        };
        // Numbers and `$` mean what the client knows of its own mailbox.
        let known = selected.map_or(&view, |selected| &selected.view);
        let terms = Terms {
            view: known,
            mailbox: name,
            store,
            auth: &request.user.auth,
            comparison: request.comparison(),
            fuzzy: request.service.options.search_fuzzy_always,
            now: now(),
            left: Cell::new(SearchProgram::MAX_KEYS),
        };
        let mut program = match Program::compile(program, &terms) {
            Ok(program) => program,
            Err(why) => return why.reply().map(Err),
        };
        let is_large = known.uids().len() >= request.service.options.search_index_least;
        let narrowed = match program.wants_index(is_large) {
            true => mailbox.search_index()?.and_then(|index| program.consult(&index)),
            false => None,
        };
        let scan = Scan::new(program, known, narrowed);
        Ok(Ok(Self {
            mailbox,
            view,
            scan,
            limited: false,
            found: 0,
        }))
    }

    /// Looks on; whether the mailbox is done, and told of if anything was found.
    fn go_on(
        &mut self,
        request: &mut Request,
        search: &MultiSearch,
        out: &mut Vec<u8>,
    ) -> Result<bool, MailboxError> {
        let name = request.client_name(self.mailbox.name());
        let comparison = request.comparison();
        let own = request.mailbox.as_deref_mut();
        let own = own.filter(|selected| selected.mailbox.name() == self.mailbox.name());
        let read = self.mailbox.read()?;
        read.load_seen()?;
        let view = own.as_deref().map_or(&self.view, |selected| &selected.view);
        if !self.scan.go_on(&read, view, &request.service)? {
            return Ok(false);
        }
        let returns = search.returns.clone().unwrap_or(SearchReturn {
            all: true,
            ..SearchReturn::default()
        });
        if returns.relevancy {
            self.scan.rate();
        }
        self.limited |= self.scan.limit(request.service.options.message_limit).is_some();
        let hits = std::mem::take(&mut self.scan.hits);
        self.found = hits.len();
        let hits = &hits;
        if let Some(Selected { view, contexts, .. }) = own {
            if returns.save {
                view.saved = saved(hits, &returns);
            }
            if returns.update {
                let options = &request.service.options;
                let found = Found {
                    tag: request.tag.clone(),
                    numbering: Numbering::Uid,
                    program: std::mem::take(&mut self.scan.program),
                    order: &Order::Mailbox,
                    hits,
                    comparison,
                    fetch: returns.fetch.clone().map(|wanted| Arc::new(*wanted)),
                };
                let kept = contexts.add(options.max_updated_searches, found);
                if !kept {
                    Reply::no("Too many searches are updated")
                        .with(Code::NoUpdate(request.tag.to_string()))
                        .put_untagged(out);
                }
            }
        }
        if !hits.is_empty() && returns.tells() {
            let modseq = Some(self.scan.modseq).filter(|_| search.program.names_modseq());
            let results = Results {
                hits,
                numbering: Numbering::Uid,
                modseq,
            };
            let mailbox = SearchedMailbox {
                name: name.as_bytes(),
                uidvalidity: read.uidvalidity().0,
            };
            results.put(out, &request.tag, Some(mailbox), &returns, &read);
        }
        Ok(true)
    }
}

fn saves(search: &MultiSearch) -> bool {
    search.returns.as_ref().is_some_and(|returns| returns.save)
}

fn updates(search: &MultiSearch) -> bool {
    search.returns.as_ref().is_some_and(|returns| returns.update)
}

/// What a client may not ask of several mailboxes at once.
fn check(search: &MultiSearch, is_selected: bool) -> Result<(), Reply> {
    let only_selected = search
        .sources
        .iter()
        .all(|source| *source == SearchSource::Selected);
    if only_selected && !is_selected {
        return Err(Reply::bad("Please select a mailbox first"));
    }
    if !only_selected && saves(search) {
        // RFC 7377, section 2.2: `$` belongs to one mailbox.
        return Err(Reply::bad("Results of several mailboxes cannot be saved"));
    }
    if updates(search) && !is_selected {
        // They are of the selected mailbox alone (RFC 7377, section 2.2).
        return Err(Reply::bad("Please select a mailbox first"));
    }
    Ok(())
}

/// The mailboxes that are meant, each once, in the order of their names.
fn sources(
    request: &Request,
    sources: &[SearchSource],
    selected: Option<MailboxName>,
) -> Result<BTreeSet<MailboxName>, MailboxError> {
    let mut names = BTreeSet::new();
    if sources.is_empty() {
        names.extend(selected.clone());
    }
    let inbox = MailboxName::inbox_of(&request.user.name).ok();
    for source in sources {
        match source {
            SearchSource::Selected => names.extend(selected.clone()),
            SearchSource::Inboxes => names.extend(inbox.clone()),
            SearchSource::Personal => {
                if let Some(inbox) = &inbox {
                    below(request, inbox, &mut names, &|_| true)?;
                }
            }
            SearchSource::Subscribed => {
                let store = &request.service.store;
                for name in store.subscriptions(&request.user.auth)? {
                    let entry = store.lookup(&name)?;
                    let rights = entry.map(|entry| store.rights(&entry, &request.user.auth));
                    // Not named one by one, so that it must be visible (RFC 7377, section 2.2).
                    if rights.is_some_and(|rights| rights.contains(Rights::LOOKUP)) {
                        names.insert(name);
                    }
                }
            }
            SearchSource::Subtree(tops) => {
                for top in tops.iter().filter_map(|top| request.name(top).ok()) {
                    below(request, &top, &mut names, &|_| true)?;
                }
            }
            SearchSource::SubtreeOne(tops) => {
                for top in tops.iter().filter_map(|top| request.name(top).ok()) {
                    let is_child = |name: &MailboxName| *name == top || name.parent().as_ref() == Some(&top);
                    below(request, &top, &mut names, &is_child)?;
                }
            }
            SearchSource::Mailboxes(wanted) => {
                names.extend(wanted.iter().filter_map(|name| request.name(name).ok()));
            }
        }
    }
    Ok(names)
}

/// Adds a mailbox and those below it for which `wanted` holds, as far as the user may read them.
fn below(
    request: &Request,
    top: &MailboxName,
    names: &mut BTreeSet<MailboxName>,
    wanted: &dyn Fn(&MailboxName) -> bool,
) -> Result<(), MailboxError> {
    let store = Arc::clone(&request.service);
    let most = store.options.max_searched_mailboxes;
    let prefix = top.to_dbname();
    store
        .store
        .list(&prefix, &request.user.auth, &mut |entry, rights| {
            let is_within = entry.name == *top || top.is_ancestor_of(&entry.name);
            if is_within && rights.contains(Rights::READ) && wanted(&entry.name) {
                names.insert(entry.name);
            }
            match names.len() > most {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
}
