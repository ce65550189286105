//! LIST, XLIST, RLIST, LSUB and RLSUB (RFC 3501, sections 6.3.8 and 6.3.9; RFC 3348; RFC 2193; RFC 5258 and what builds
//! upon it): first all names are found, then they are told piece by piece.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use cyrus_acl::Rights;
use cyrus_store::{
    AnnotationScope, ErrorClass, MailboxError, MailboxId, MailboxKind, MailboxName, Pattern, Step,
};

use super::metadata::Wanted;
use super::{Chain, Pieces, Request, mailboxes, seconds};
use crate::imap::command::{ListCommand, ListForm, ListReturns, ListSelection, MetadataDepth};
use crate::imap::response::{
    Reply, put_list, put_list_with_children, put_metadata, put_my_rights, put_status,
};
use crate::imap::selected::News;
use crate::job::Job;
use crate::output::Output;

/// The job of LIST, XLIST or RLIST.
pub(super) fn job(request: Request, command: ListCommand) -> Job {
    let kind = match command.form {
        ListForm::Plain | ListForm::Rlist => Kind::List,
        ListForm::Extended => Kind::Extended,
        ListForm::Xlist => Kind::Xlist,
    };
    new(request, command, kind)
}

/// The job of LSUB or RLSUB.
pub(super) fn lsub_job(request: Request, reference: Vec<u8>, pattern: Vec<u8>) -> Job {
    let command = ListCommand {
        form: ListForm::Plain,
        select: ListSelection::default(),
        reference,
        patterns: vec![pattern],
        returns: ListReturns::default(),
    };
    new(request, command, Kind::Lsub)
}

/// Appends the whole answer to a LIST about a few names.
pub(super) fn put_all(
    request: &Request,
    command: &ListCommand,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let Found { rows, special, .. } = find(request, command, Kind::Extended)?;
    for row in rows {
        tell(request, command, Kind::Extended, &row, &special, out)?;
    }
    Ok(())
}

fn new(request: Request, command: ListCommand, kind: Kind) -> Job {
    Job::new(Chain::new(List {
        request: Some(request),
        command,
        kind,
        found: None,
        started: Instant::now(),
    }))
}

/// What the answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    List,
    Extended,
    Xlist,
    Lsub,
}

struct List {
    request: Option<Request>,
    command: ListCommand,
    kind: Kind,
    /// What is left to tell, once it has been looked up.
    found: Option<Found>,
    started: Instant,
}

/// The names to tell, and what is known of all of them.
struct Found {
    rows: std::vec::IntoIter<Row>,
    special: HashMap<MailboxId, Vec<String>>,
    calls: usize,
}

/// One line of the answer.
struct Row {
    /// As the client knows it.
    name: String,
    /// The mailbox; none for a level that only has mailboxes below, or for a name of which only the subscription is left.
    mailbox: Option<Listed>,
    subscribed: bool,
    has_children: bool,
    /// Whether a name below it is selected.
    has_selected_child: bool,
}

/// A mailbox that the user may see.
#[derive(Clone)]
struct Listed {
    name: MailboxName,
    id: Option<MailboxId>,
    rights: Rights,
}

impl Pieces for List {
    fn piece(&mut self, output: &mut Output, budget: usize) -> Result<Option<Reply>, MailboxError> {
        let Some(request) = &self.request else {
            return Ok(Some(Reply::ok("Completed")));
        };
        let separator = request.service.options.namespace.separator.as_char();
        let mut found = match self.found.take() {
            Some(found) => found,
            None if self.command.patterns.iter().all(Vec::is_empty) => {
                if self.kind != Kind::Extended {
                    let mut out = Vec::new();
                    put_list(&mut out, self.kind.name(), "\\Noselect", Some(separator), b"");
                    output.put_vec(out);
                }
                return Ok(Some(done(self.started, 0)));
            }
            None => find(request, &self.command, self.kind)?,
        };
        let mut out = Vec::new();
        for row in found.rows.by_ref() {
            tell(request, &self.command, self.kind, &row, &found.special, &mut out)?;
            if out.len() >= budget.min(PIECE) {
                output.put_vec(out);
                self.found = Some(found);
                return Ok(None);
            }
        }
        output.put_vec(out);
        Ok(Some(done(self.started, found.calls)))
    }

    fn request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn news(&self) -> News<'_> {
        News::ALL
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::List | Self::Extended => "LIST",
            Self::Xlist => "XLIST",
            Self::Lsub => "LSUB",
        }
    }
}

fn done(started: Instant, calls: usize) -> Reply {
    let time = seconds(started);
    match calls {
        0 => Reply::ok(format!("Completed ({time} secs)")),
        calls => Reply::ok(format!("Completed ({time} secs {calls} calls)")),
    }
}

/// Looks up all names that the answer is about.
fn find(request: &Request, command: &ListCommand, kind: Kind) -> Result<Found, MailboxError> {
    let store = &request.service.store;
    let select = command.select;
    let mut listing = Listing::new(request, command)?;
    let by_subscription = kind == Kind::Lsub || select.subscribed;
    let mut subscribed = Vec::new();
    if by_subscription || command.returns.subscribed {
        subscribed = store.subscriptions(&request.user.auth)?;
    }
    if by_subscription {
        let (user, admin) = (Some(request.user.name.as_str()), request.user.is_admin());
        let namespace = &request.service.options.namespace;
        subscribed.retain(|name| namespace.in_reach(name, user, admin));
        request.sort(&mut subscribed, |name| name);
        find_subscribed(request, &mut listing, subscribed, select, kind)?;
    } else {
        let subscribed: HashSet<MailboxName> = subscribed.into_iter().collect();
        for (listed, shown) in request.visible(&listing.patterns)? {
            let is_subscribed = subscribed.contains(&listed.name);
            let client = request.client_name(&listed.name);
            listing.add(client, Some(listed), is_subscribed, shown);
        }
    }
    let own = listing
        .rows
        .iter()
        .filter_map(|row| row.mailbox.as_ref())
        .filter(|listed| request.owns(&listed.name) && !listed.name.is_user_inbox())
        .filter_map(|listed| listed.id.as_ref());
    let always = request.service.options.specialusealways || kind == Kind::Xlist;
    let wanted = select.special_use || command.returns.special_use || always;
    let special = match wanted {
        true => store.special_uses(own)?,
        false => HashMap::new(),
    };
    Ok(Found {
        rows: listing.rows.into_iter(),
        special,
        calls: listing.calls,
    })
}

/// Adds the names that the user is subscribed to, and in an extended LIST what is known of those that exist.
fn find_subscribed(
    request: &Request,
    listing: &mut Listing<'_>,
    subscribed: Vec<MailboxName>,
    select: ListSelection,
    kind: Kind,
) -> Result<(), MailboxError> {
    let store = &request.service.store;
    let auth = &request.user.auth;
    let allow_all = request.service.options.allowallsubscribe;
    for name in subscribed {
        let entry = store.lookup(&name)?.filter(|entry| !entry.mbtype.intermediate);
        let listed = entry.map(|entry| Listed {
            rights: store.rights(&entry, auth),
            id: entry.id.clone(),
            name: name.clone(),
        });
        // One that is gone stays in the list of subscriptions; LSUB does not show it until it comes back.
        if listed.is_none() && kind == Kind::Lsub && !allow_all {
            continue;
        }
        let listed = listed.filter(|listed| kind == Kind::Lsub || !listed.rights.is_empty());
        let client = request.client_name(&name);
        if select.recursive_match {
            listing.selected.push(client.clone());
        }
        let missing = listed.is_none() && kind == Kind::Lsub;
        let listed = match missing {
            true => Some(Listed {
                name,
                id: None,
                rights: Rights::NONE,
            }),
            false => listed,
        };
        listing.add(client, listed, true, true);
    }
    if kind == Kind::Extended {
        // Whether a mailbox has children does not depend on subscriptions.
        for row in &mut listing.rows {
            if let Some(listed) = &row.mailbox {
                row.has_children = request.has_children(&listed.name)?;
            }
        }
    }
    if select.recursive_match {
        listing.complete_levels()?;
    }
    Ok(())
}

/// Tells one name, and what was asked of it.
fn tell(
    request: &Request,
    command: &ListCommand,
    kind: Kind,
    row: &Row,
    special: &HashMap<MailboxId, Vec<String>>,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let id = row.mailbox.as_ref().and_then(|listed| listed.id.as_ref());
    let uses = id.and_then(|id| special.get(id));
    if command.select.special_use && uses.is_none() {
        return Ok(());
    }
    let mut attributes = Vec::new();
    if row.mailbox.is_none() {
        attributes.push(match kind {
            Kind::Extended => "\\NonExistent",
            Kind::List | Kind::Xlist | Kind::Lsub => "\\Noselect",
        });
    }
    if row.subscribed && kind == Kind::Extended {
        attributes.push("\\Subscribed");
    }
    match row.has_children {
        true => attributes.push("\\HasChildren"),
        false if kind == Kind::Lsub => {}
        false => attributes.push("\\HasNoChildren"),
    }
    let is_inbox = |listed: &Listed| listed.name.is_user_inbox() && request.owns(&listed.name);
    if kind == Kind::Xlist && row.mailbox.as_ref().is_some_and(is_inbox) {
        attributes.push("\\Inbox");
    }
    attributes.extend(uses.into_iter().flatten().map(String::as_str));
    let separator = request.service.options.namespace.separator.as_char();
    let child_info = row.has_selected_child && command.select.recursive_match;
    let attributes = attributes.join(" ");
    let name = row.name.as_bytes();
    match child_info {
        true => put_list_with_children(out, &attributes, Some(separator), name, "SUBSCRIBED"),
        false => put_list(out, kind.name(), &attributes, Some(separator), name),
    }
    match &row.mailbox {
        Some(listed) if kind == Kind::Extended => tell_more(request, &command.returns, row, listed, out),
        _ => Ok(()),
    }
}

/// Tells the status, rights and metadata that were asked for. What cannot be found out is left out (RFC 5819, section 2).
fn tell_more(
    request: &Request,
    returns: &ListReturns,
    row: &Row,
    listed: &Listed,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    let name = row.name.as_bytes();
    if let Some(items) = returns.status {
        match mailboxes::status_data(request, &listed.name, items) {
            Ok(data) => put_status(out, name, items, &data),
            Err(error) if error.class() == ErrorClass::Impossible => {}
            Err(error) => drop(request.refusal(&error)),
        }
    }
    if returns.my_rights && !listed.rights.is_empty() {
        put_my_rights(out, name, &listed.rights.to_string());
    }
    if let Some(entries) = &returns.metadata {
        let Some(wanted) = Wanted::new(entries, MetadataDepth::Zero) else {
            return Ok(());
        };
        match wanted.find(request, AnnotationScope::Mailbox(&listed.name)) {
            Ok(found) => put_metadata(out, name, &found),
            Err(error) if error.class() == ErrorClass::Impossible => {}
            Err(error) => drop(request.refusal(&error)),
        }
    }
    Ok(())
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
    /// All selected names, matching or not, for RECURSIVEMATCH.
    selected: Vec<String>,
    calls: usize,
}

impl<'r> Listing<'r> {
    fn new(request: &'r Request, command: &ListCommand) -> Result<Self, MailboxError> {
        let namespace = &request.service.options.namespace;
        // Wildcards stand for what the client sees: for characters, and not for pieces of modified UTF-7.
        let reference = String::from_utf8_lossy(&command.reference);
        let mut compiled = Vec::with_capacity(command.patterns.len());
        let mut by_level = Vec::with_capacity(command.patterns.len());
        for pattern in command.patterns.iter().filter(|pattern| !pattern.is_empty()) {
            let mut pattern = String::from_utf8_lossy(pattern).into_owned();
            if request.service.options.foolstupidclients && pattern == "*" && reference.is_empty() {
                pattern = "INBOX*".to_owned();
            }
            // In an extended LIST a level is listed for what is selected below it only where that is asked for.
            by_level.push(pattern.ends_with('%') && !command.select.subscribed);
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
            selected: Vec::new(),
            calls: 0,
        })
    }

    /// One name, in order; `shown` says whether it may be listed itself.
    fn add(&mut self, name: String, mailbox: Option<Listed>, subscribed: bool, shown: bool) {
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
        for (at, _) in name.match_indices(self.separator) {
            if let Some(&row) = name.get(..at).and_then(|above| self.known.get(above))
                && let Some(row) = self.rows.get_mut(row)
            {
                row.has_children = true;
            }
        }
        if shown {
            for ancestor in ancestors {
                self.row(ancestor, None, false, true);
            }
            if self.patterns.iter().any(|pattern| pattern.matches(&name)) {
                self.row(name, mailbox, subscribed, false);
            }
        }
    }

    fn row(&mut self, name: String, mailbox: Option<Listed>, subscribed: bool, has_children: bool) {
        if let Some(&row) = self.known.get(&name) {
            if let Some(row) = self.rows.get_mut(row) {
                row.subscribed |= subscribed;
                if row.mailbox.is_none() {
                    row.mailbox = mailbox;
                }
            }
            return;
        }
        self.known.insert(name.clone(), self.rows.len());
        self.rows.push(Row {
            name,
            mailbox,
            subscribed,
            has_children,
            has_selected_child: false,
        });
    }

    /// Once all selected names are there: marks those that have selected names below them, and adds the levels that match
    /// without being selected, if something below them is not listed itself (RFC 5258, section 3.5).
    fn complete_levels(&mut self) -> Result<(), MailboxError> {
        let request = self.request;
        let mut missing: HashSet<&str> = HashSet::new();
        let selected = std::mem::take(&mut self.selected);
        for name in &selected {
            let is_listed = self.known.contains_key(name);
            let levels = name
                .match_indices(self.separator)
                .filter_map(|(at, _)| name.get(..at));
            for level in levels {
                match self.known.get(level) {
                    Some(&row) => {
                        if let Some(row) = self.rows.get_mut(row) {
                            row.has_selected_child = true;
                        }
                    }
                    None if is_listed => {}
                    None if self.patterns.iter().any(|pattern| pattern.matches(level)) => {
                        missing.insert(level);
                    }
                    None => {}
                }
            }
        }
        for level in missing {
            let name = request.name(level.as_bytes()).ok();
            let entry = match &name {
                Some(name) => request.service.store.lookup(name)?,
                None => None,
            };
            let rights = entry.map(|entry| request.service.store.rights(&entry, &request.user.auth));
            let mailbox = name
                .zip(rights)
                .filter(|(_, rights)| rights.contains(Rights::LOOKUP))
                .map(|(name, rights)| Listed {
                    name,
                    id: None,
                    rights,
                });
            self.rows.push(Row {
                name: level.to_owned(),
                mailbox,
                subscribed: false,
                has_children: true,
                has_selected_child: true,
            });
        }
        self.rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }
}

impl Request {
    /// The mailboxes that the user may see and that the patterns can match, in the order in which they are listed, and
    /// whether each is listed itself.
    fn visible(&self, patterns: &[Pattern]) -> Result<Vec<(Listed, bool)>, MailboxError> {
        let options = &self.service.options;
        let admin = self.user.is_admin();
        let mut prefixes: Vec<String> = patterns
            .iter()
            .flat_map(|pattern| {
                let literal = self.stored_prefix(pattern.literal_prefix());
                options
                    .namespace
                    .scan_prefixes(&literal, Some(&self.user.name), admin)
            })
            .collect();
        prefixes.sort();
        prefixes.dedup_by(|later, earlier| later.starts_with(earlier.as_str()));
        let separator = options.namespace.separator.as_char();
        let levels = patterns
            .iter()
            .map(Pattern::levels)
            .try_fold(0, |most, levels| levels.map(|levels| most.max(levels)));
        let mut names = Vec::new();
        for prefix in prefixes {
            self.service
                .store
                .walk(&prefix, &self.user.auth, &mut |entry, rights| {
                    if !options
                        .namespace
                        .in_reach(&entry.name, Some(&self.user.name), admin)
                    {
                        return Step::Next;
                    }
                    // What lies deeper than any name that matches only shows that something above it has children.
                    let deep = levels.is_some_and(|levels| {
                        self.stored_client_name(&entry.name).split(separator).count() > levels
                    });
                    // Scripts, calendars and the like are not for mail clients, but count as children.
                    let listed = admin || entry.mbtype.kind == MailboxKind::Email;
                    let mailbox = Listed {
                        name: entry.name,
                        id: entry.id,
                        rights,
                    };
                    names.push((mailbox, listed));
                    match deep {
                        true => Step::SkipSiblings,
                        false => Step::Next,
                    }
                })?;
        }
        self.sort(&mut names, |(listed, _)| &listed.name);
        Ok(names)
    }

    /// The names of the mailboxes that the user may see and that a pattern matches, as he knows them and as they are.
    pub(super) fn matching(&self, pattern: &[u8]) -> Result<Vec<(String, MailboxName)>, MailboxError> {
        let pattern = String::from_utf8_lossy(pattern);
        let pattern = self
            .service
            .options
            .namespace
            .pattern("", &pattern)
            .map_err(MailboxError::BadName)?;
        let patterns = [pattern];
        let visible = self.visible(&patterns)?.into_iter();
        let named = visible.map(|(listed, _)| (self.client_name(&listed.name), listed.name));
        let [pattern] = &patterns;
        Ok(named.filter(|(client, _)| pattern.matches(client)).collect())
    }

    /// What stored names begin with that begin like this for the client: less, where a run of modified UTF-7 may go on.
    fn stored_prefix<'t>(&self, shown: &'t str) -> Cow<'t, str> {
        match self.enabled.utf8_names() {
            true => self.stored_form(shown.trim_end_matches(|c: char| !c.is_ascii())),
            false => Cow::Borrowed(shown),
        }
    }

    /// Whether the user may see a mailbox below one.
    fn has_children(&self, name: &MailboxName) -> Result<bool, MailboxError> {
        let mut found = false;
        let store = &self.service.store;
        store.walk(&name.to_dbname(), &self.user.auth, &mut |entry, _| {
            found = name.is_ancestor_of(&entry.name);
            match entry.name == *name {
                true => Step::Next,
                false => Step::Stop,
            }
        })?;
        Ok(found)
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
            let client = self.stored_client_name(name);
            let inbox = client.split(separator).next() == Some("INBOX");
            (class, !inbox, name.to_dbname())
        });
    }
}

/// Octets of an answer after which the session gets a turn.
const PIECE: usize = 64 * 1024;
