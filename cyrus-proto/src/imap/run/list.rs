//! LIST and LSUB (RFC 3501, sections 6.3.8 and 6.3.9; RFC 3348; RFC 5258 as far as RFC 6154 needs it).

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Instant;

use cyrus_store::{MailboxError, MailboxKind, MailboxName, Pattern};

use super::{Request, seconds};
use crate::imap::command::ListCommand;
use crate::imap::response::{Reply, put_list};

pub(super) fn list(
    request: &Request,
    command: &ListCommand,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let started = Instant::now();
    let separator = request.service.options.namespace.separator.as_char();
    if command.patterns.iter().all(Vec::is_empty) {
        put_list(out, "LIST", "\\Noselect", Some(separator), b"");
        return Ok(done(started, 0));
    }
    let subscribed: HashSet<MailboxName> = match command.select.subscribed || command.returns.subscribed {
        true => request
            .service
            .store
            .subscriptions(&request.user.auth)?
            .into_iter()
            .collect(),
        false => HashSet::new(),
    };
    let mut listing = Listing::new(request, &command.reference, &command.patterns)?;
    for (name, listed) in request.visible(&listing.patterns)? {
        listing.add(name, |name| {
            listed && (!command.select.subscribed || subscribed.contains(name))
        });
    }
    let calls = listing.calls;
    for row in listing.rows {
        let mut attributes = Vec::new();
        match &row.mailbox {
            None => attributes.push("\\Noselect".to_owned()),
            Some(name) if subscribed.contains(name) => attributes.push("\\Subscribed".to_owned()),
            Some(_) => {}
        }
        attributes.push(match row.has_children {
            true => "\\HasChildren".to_owned(),
            false => "\\HasNoChildren".to_owned(),
        });
        let special = request.special_use(row.mailbox.as_ref())?;
        if command.select.special_use && special.is_empty() {
            continue;
        }
        attributes.extend(special);
        put_list(
            out,
            "LIST",
            &attributes.join(" "),
            Some(separator),
            row.name.as_bytes(),
        );
    }
    Ok(done(started, calls))
}

pub(super) fn lsub(
    request: &Request,
    reference: &[u8],
    pattern: &[u8],
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let started = Instant::now();
    let separator = request.service.options.namespace.separator.as_char();
    if pattern.is_empty() {
        put_list(out, "LSUB", "\\Noselect", Some(separator), b"");
        return Ok(done(started, 0));
    }
    let mut listing = Listing::new(request, reference, &[pattern.to_vec()])?;
    let mut names = request.service.store.subscriptions(&request.user.auth)?;
    request.sort(&mut names, |name| name);
    for name in names {
        // One that is gone stays in the list of subscriptions, but is not shown until it comes back.
        let namespace = &request.service.options.namespace;
        if !namespace.in_reach(&name, Some(&request.user.name), request.user.is_admin()) {
            continue;
        }
        if request.service.options.allowallsubscribe || request.service.store.lookup(&name)?.is_some() {
            listing.add(name, |_| true);
        }
    }
    let calls = listing.calls;
    for row in listing.rows {
        let mut attributes: Vec<String> = match (&row.mailbox, row.has_children) {
            (Some(_), false) => Vec::new(),
            (Some(_), true) => vec!["\\HasChildren".to_owned()],
            (None, _) => vec!["\\Noselect".to_owned(), "\\HasChildren".to_owned()],
        };
        attributes.extend(request.special_use(row.mailbox.as_ref())?);
        put_list(
            out,
            "LSUB",
            &attributes.join(" "),
            Some(separator),
            row.name.as_bytes(),
        );
    }
    Ok(done(started, calls))
}

fn done(started: Instant, calls: usize) -> Reply {
    let time = seconds(started);
    match calls {
        0 => Reply::ok(format!("Completed ({time} secs)")),
        calls => Reply::ok(format!("Completed ({time} secs {calls} calls)")),
    }
}

/// One line of the answer.
struct Row {
    /// As the client knows it.
    name: String,
    /// The mailbox; none for a level that only has mailboxes below.
    mailbox: Option<MailboxName>,
    has_children: bool,
}

/// Matches names against patterns and finds out who has children.
struct Listing<'r> {
    request: &'r Request,
    patterns: Vec<Pattern>,
    /// Whether each pattern ends in `%`.
    by_level: Vec<bool>,
    separator: char,
    rows: Vec<Row>,
    /// Where each listed name is in `rows`.
    known: HashMap<String, usize>,
    calls: usize,
}

impl<'r> Listing<'r> {
    fn new(request: &'r Request, reference: &[u8], patterns: &[Vec<u8>]) -> Result<Self, MailboxError> {
        let namespace = &request.service.options.namespace;
        let reference = String::from_utf8_lossy(reference);
        let mut compiled = Vec::with_capacity(patterns.len());
        let mut by_level = Vec::with_capacity(patterns.len());
        for pattern in patterns.iter().filter(|pattern| !pattern.is_empty()) {
            let mut pattern = String::from_utf8_lossy(pattern).into_owned();
            if request.service.options.foolstupidclients && pattern == "*" && reference.is_empty() {
                pattern = "INBOX*".to_owned();
            }
            by_level.push(pattern.ends_with('%'));
            let pattern = namespace
                .pattern(&reference, &pattern)
                .map_err(MailboxError::BadName)?;
            compiled.push(pattern);
        }
        Ok(Self {
            request,
            patterns: compiled,
            by_level,
            separator: namespace.separator.as_char(),
            rows: Vec::new(),
            known: HashMap::new(),
            calls: 0,
        })
    }

    /// One visible mailbox, in order; `selected` says whether it may be listed itself.
    fn add(&mut self, mailbox: MailboxName, selected: impl Fn(&MailboxName) -> bool) {
        let name = self.request.client_name(&mailbox);
        let in_reach = |pattern: &Pattern| name.starts_with(pattern.literal_prefix());
        if !self.patterns.iter().any(in_reach) {
            return;
        }
        self.calls += 1;
        // Levels above it that are no mailboxes, but that a pattern asks for: `*` is content with the mailboxes.
        let ancestors: Vec<String> = self
            .patterns
            .iter()
            .zip(&self.by_level)
            .filter_map(|(pattern, by_level)| by_level.then_some(pattern))
            .flat_map(|pattern| pattern.matching_ancestors(&name))
            .map(str::to_owned)
            .collect();
        if selected(&mailbox) {
            for ancestor in ancestors {
                self.row(ancestor, None);
            }
            if self.patterns.iter().any(|pattern| pattern.matches(&name)) {
                self.row(name.clone(), Some(mailbox));
            }
        }
        for (at, _) in name.match_indices(self.separator) {
            if let Some(&row) = name.get(..at).and_then(|above| self.known.get(above))
                && let Some(row) = self.rows.get_mut(row)
            {
                row.has_children = true;
            }
        }
    }

    fn row(&mut self, name: String, mailbox: Option<MailboxName>) {
        if let Some(&row) = self.known.get(&name) {
            if let Some(row) = self.rows.get_mut(row)
                && row.mailbox.is_none()
            {
                row.mailbox = mailbox;
            }
            return;
        }
        self.known.insert(name.clone(), self.rows.len());
        self.rows.push(Row {
            name,
            mailbox,
            has_children: false,
        });
    }
}

impl Request {
    /// The mailboxes that the user may see and that the patterns can match, in the order in which they are listed, and
    /// whether each is listed itself.
    fn visible(&self, patterns: &[Pattern]) -> Result<Vec<(MailboxName, bool)>, MailboxError> {
        let options = &self.service.options;
        let admin = self.user.is_admin();
        let mut prefixes: Vec<String> = patterns
            .iter()
            .flat_map(|pattern| {
                options
                    .namespace
                    .scan_prefixes(pattern.literal_prefix(), Some(&self.user.name), admin)
            })
            .collect();
        prefixes.sort();
        prefixes.dedup_by(|later, earlier| later.starts_with(earlier.as_str()));
        let mut names = Vec::new();
        for prefix in prefixes {
            self.service
                .store
                .list(&prefix, &self.user.auth, &mut |entry, _rights| {
                    if options
                        .namespace
                        .in_reach(&entry.name, Some(&self.user.name), admin)
                    {
                        // Scripts, calendars and the like are not for mail clients, but count as children.
                        let listed = admin || entry.mbtype.kind == MailboxKind::Email;
                        names.push((entry.name.clone(), listed));
                    }
                    ControlFlow::Continue(())
                })?;
        }
        self.sort(&mut names, |(name, _)| name);
        Ok(names)
    }

    /// The special uses that the user gave to a mailbox of his.
    fn special_use(&self, name: Option<&MailboxName>) -> Result<Vec<String>, MailboxError> {
        let store = &self.service.store;
        match name.filter(|name| self.owns(name)) {
            Some(name) => match store.lookup(name)? {
                Some(entry) => store.special_use(&entry),
                None => Ok(Vec::new()),
            },
            None => Ok(Vec::new()),
        }
    }

    /// Whether a mailbox is the user's own.
    fn owns(&self, name: &MailboxName) -> bool {
        name.owner().is_some_and(|owner| owner == self.user.name)
    }

    /// The user's own mailboxes first, INBOX and what is below it leading; then other users', then shared ones, deleted
    /// ones last.
    fn sort<T>(&self, names: &mut [T], name: impl Fn(&T) -> &MailboxName) {
        let deleted = &self.service.store.options().deleted_prefix;
        let separator = self.service.options.namespace.separator.as_char();
        names.sort_by_cached_key(|item| {
            let name = name(item);
            let class = match name {
                name if self.owns(name) => 0,
                name if name.owner().is_some() => 1,
                name if name.is_deleted(deleted) => 3,
                _ => 2,
            };
            let client = self.client_name(name);
            let inbox = client.split(separator).next() == Some("INBOX");
            (class, !inbox, name.to_dbname())
        });
    }
}
