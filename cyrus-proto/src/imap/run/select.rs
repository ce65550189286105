//! SELECT, EXAMINE and CLOSE (RFC 3501, sections 6.3.1, 6.3.2 and 6.4.2).

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use cyrus_acl::Rights;
use cyrus_store::{Expunge, Level, Mailbox, MailboxError, MailboxName, Resource, SystemFlags, Uid};

use super::fetch::Fetch;
use super::{Chain, Pieces, Request, completed, explain};
use crate::imap::command::{Access, FetchAttributes, FetchItems, FetchModifiers, Numbering, Qresync};
use crate::imap::enabled::Enabled;
use crate::imap::response::{Code, Reply, put_exists, put_flags_line, put_list, put_recent};
use crate::imap::selected::{News, Selected, View, flag_list};
use crate::job::Job;
use crate::output::Output;

/// Selects a mailbox; one that was selected before is closed without expunging, whatever happens.
pub(super) fn select(
    request: &mut Request,
    name: &[u8],
    access: Access,
    annotate: bool,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    if let Some(before) = request.mailbox.take() {
        before.close()?;
        Reply::ok("Ok").with(Code::Closed).put_untagged(out);
    }
    let name = request.name(name)?;
    let opened = request.service.store.open_mailbox(&name, &request.user.auth);
    if matches!(opened, Err(MailboxError::NotFound))
        && let Some(told) = explain::missing_inbox(request, &name)
    {
        return Ok(told);
    }
    let mut mailbox = opened?;
    let rights = mailbox.rights();
    let may_change = [
        Rights::SEEN,
        Rights::WRITE,
        Rights::DELETE_MESSAGES,
        Rights::EXPUNGE,
        Rights::INSERT,
    ];
    let may_change = may_change.into_iter().any(|right| rights.contains(right));
    let options = &request.service.options;
    let read_only = access == Access::ReadOnly || !may_change || options.readonly;
    if access == Access::ReadWrite && rights.contains(Rights::READ) && !read_only {
        mailbox.claim_recent()?;
    }
    let mut warnings = Vec::new();
    // A quota root that cannot be read is no reason not to read mail.
    if let Err(error) = warn_about_quota(request, &name, rights, &mut warnings) {
        let log = &request.service.log;
        log.record(Level::Error, format_args!("{error}"));
    }
    let read = mailbox.read()?;
    read.load_seen()?;
    let mut view = View::new(&read, read_only, rights);
    view.tells_annotations = annotate;
    out.append(&mut warnings);
    put_exists(out, read.exists());
    let enabled = request.enabled;
    if enabled.tells_recent() {
        put_recent(out, read.recent()?);
    }
    put_flags_line(out, &flag_list(&read, SystemFlags::ALL));
    let mut tell = |code| Reply::ok("Ok").with(code).put_untagged(out);
    tell(Code::PermanentFlags(view.permanent_flags(&read)));
    // A number, which RFC 9586 and RFC 9051 do without.
    if enabled.tells_recent()
        && !enabled.contains(Enabled::UIDONLY)
        && let Some(unseen) = read.first_unseen()?
    {
        tell(Code::Unseen(unseen));
    }
    tell(Code::UidValidity(read.uidvalidity().0));
    tell(Code::UidNext(read.uidnext()));
    tell(match read.highest_modseq().0 {
        0 => Code::NoModSeq,
        highest => Code::HighestModSeq(highest),
    });
    drop(read);
    tell(Code::MailboxId(mailbox.id().to_string()));
    tell(Code::UrlMech("INTERNAL"));
    tell(Code::Annotations(Mailbox::MAX_ANNOTATION));
    if enabled.contains(Enabled::IMAP4REV2) {
        // The name by which the server knows it (RFC 9051, section 6.3.2).
        let separator = request.service.options.namespace.separator.as_char();
        let known = request.client_name(&name);
        put_list(out, "LIST", "", Some(separator), known.as_bytes());
    }
    request.service.log.record(
        Level::Info,
        format_args!(
            "open: user {} opened {}",
            request.user.name,
            request.client_name(&name)
        ),
    );
    let mut selected = Selected::new(mailbox, view);
    selected.expunges_at_end =
        request.service.options.autoexpunge && !read_only && rights.contains(Rights::EXPUNGE);
    request.mailbox = Some(Box::new(selected));
    Ok(completed().with(if read_only {
        Code::ReadOnly
    } else {
        Code::ReadWrite
    }))
}

/// The job of a SELECT that tells what the client missed: selects, then fetches what changed, piece by piece.
pub(super) fn resync_job(
    request: Request,
    name: Vec<u8>,
    access: Access,
    annotate: bool,
    known: Qresync,
) -> Job {
    Job::new(Chain::new(Resync {
        annotate,
        request: Some(request),
        name,
        access,
        known,
        selected: None,
    }))
}

struct Resync {
    /// The request, until the mailbox is selected.
    request: Option<Request>,
    name: Vec<u8>,
    access: Access,
    /// Whether changes of annotations are to be told.
    annotate: bool,
    known: Qresync,
    /// The answer to SELECT, kept until all is told, and the FETCH that tells it.
    selected: Option<(Reply, Fetch)>,
}

impl Pieces for Resync {
    fn piece(&mut self, output: &mut Output, budget: usize) -> Result<Option<Reply>, MailboxError> {
        if let Some((reply, fetch)) = &mut self.selected {
            let done = fetch.piece(output, budget)?;
            return Ok(done.map(|_| reply.clone()));
        }
        let Some(request) = &mut self.request else {
            return Ok(None);
        };
        let mut out = Vec::new();
        let reply = select(request, &self.name, self.access, self.annotate, &mut out);
        output.put_vec(out);
        let reply = reply?;
        let ranges = match &request.mailbox {
            Some(selected) if selected.mailbox.uidvalidity().0 == self.known.uidvalidity => {
                known_uids(&selected.view, &self.known)
            }
            _ => return Ok(Some(reply)),
        };
        let modifiers = FetchModifiers {
            changed_since: Some(self.known.modseq),
            vanished: true,
            partial: None,
        };
        let wanted = FetchAttributes {
            items: FetchItems::FLAGS.with(FetchItems::UID),
            ..FetchAttributes::default()
        };
        let Some(request) = self.request.take() else {
            return Ok(None);
        };
        let mut fetch = Fetch::new(request, Numbering::Uid, ranges, wanted, &modifiers);
        if let Some((numbers, uids)) = &self.known.matching {
            fetch.in_step_through(numbers, uids);
        }
        self.selected = Some((reply, fetch));
        Ok(None)
    }

    fn request(&mut self) -> Option<Request> {
        match &mut self.selected {
            Some((_, fetch)) => fetch.request(),
            None => self.request.take(),
        }
    }

    fn news(&self) -> News<'_> {
        News::after(Numbering::Uid)
    }
}

/// The UIDs that a client may know.
fn known_uids(view: &View, known: &Qresync) -> Vec<(Uid, Uid)> {
    match &known.known {
        Some(set) => view.resolve(set, Numbering::Uid),
        None => vec![(Uid::MIN, Uid::MAX)],
    }
}

/// `NO [ALERT]` to those who could make room, when a quota is nearly used up (S114 to S116), and `NO [OVERQUOTA]` when it is.
fn warn_about_quota(
    request: &Request,
    name: &MailboxName,
    rights: Rights,
    out: &mut Vec<u8>,
) -> Result<(), MailboxError> {
    if !rights.contains(Rights::EXPUNGE) {
        return Ok(());
    }
    let store = &request.service.store;
    let Some(root) = store.quota_root(name)? else {
        return Ok(());
    };
    let Some(quota) = store.quota(&root)? else {
        return Ok(());
    };
    let options = &request.service.options;
    let mut warned = request.user.warned.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((before, when)) = &*warned
        && *before == root
        && when.elapsed() < BETWEEN_WARNINGS
    {
        return Ok(());
    }
    for resource in Resource::ALL {
        let name = resource.imap_name();
        let limit = quota.limit_in_use_units(resource).filter(|&limit| limit > 0);
        let Some(limit) = limit else { continue };
        let used = quota.used(resource);
        // Of a large quota, a small part may be much room still.
        let little = match resource {
            Resource::Storage => options.quotawarn_kib.saturating_mul(1024),
            Resource::Message => options.quotawarn_messages,
            _ => 0,
        };
        let roomy = little > 0 && limit >= little && limit.saturating_sub(used) >= little;
        let percent = used.saturating_mul(100) / limit;
        let text = if used > limit {
            format!("Mailbox is over {name} quota")
        } else if percent > u64::from(options.quotawarn) && !roomy {
            format!("Mailbox is at {percent}% of {name} quota")
        } else {
            continue;
        };
        if used > limit {
            // For programs, as the alert is for people (RFC 9208, section 4.3.1).
            Reply::no(text.clone()).with(Code::OverQuota).put_untagged(out);
        }
        Reply::no(text).with(Code::Alert).put_untagged(out);
        *warned = Some((root.clone(), Instant::now()));
    }
    Ok(())
}

/// Somebody who goes from mailbox to mailbox is not told of the same quota each time (S117).
const BETWEEN_WARNINGS: Duration = Duration::from_secs(600);

/// Removes what is marked `\Deleted`, silently, and leaves the mailbox.
pub(super) fn close(request: &mut Request) -> Result<Reply, MailboxError> {
    if let Some(mut selected) = request.mailbox.take()
        && !selected.view.read_only
        && selected.mailbox.rights().contains(Rights::EXPUNGE)
    {
        let expunged = match selected.mailbox.expunge(Expunge::AllDeleted) {
            // What is gone needs no expunging.
            Err(MailboxError::Deleted) => return Ok(completed()),
            done => done?,
        };
        selected.note_expunge(&expunged);
        let highest = match expunged.is_empty() || !request.enabled.contains(Enabled::CONDSTORE) {
            true => None,
            false => selected.mailbox.peek_modseq().ok(),
        };
        selected.close()?;
        // So that the client need not hear of it when it selects the mailbox again (RFC 7162, section 3.2.8).
        if let Some(highest) = highest {
            return Ok(completed().with(Code::HighestModSeq(highest.0)));
        }
    }
    Ok(completed())
}

/// Leaves a mailbox that has something to tidy up.
pub(super) fn unselect(request: &mut Request) -> Result<Reply, MailboxError> {
    if let Some(selected) = request.mailbox.take() {
        selected.close()?;
    }
    Ok(completed())
}
