//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS and NAMESPACE (RFC 3501, section 6.3; RFC 2342).

use std::time::Instant;

use cyrus_store::{ConversationCounts, CreateOptions, MailboxError, MailboxName, Partition, Step, utf7};

use super::{Request, completed, explain, seconds};
use crate::imap::command::StatusItems;
use crate::imap::response::{Code, Reply, StatusData, put_namespace, put_status};

pub(super) fn create(
    request: &Request,
    client: &[u8],
    partition: Option<&[u8]>,
    special_use: &[Vec<u8>],
) -> Result<Reply, MailboxError> {
    if let Some(refused) = no_net_unicode(request, client) {
        return Ok(refused);
    }
    let name = request.new_name(client)?;
    let partition = partition_argument(request, partition)?;
    let special_use = special_use
        .iter()
        .map(|used| String::from_utf8_lossy(used).into_owned());
    let options = CreateOptions {
        partition,
        special_use: special_use.collect(),
        ..CreateOptions::default()
    };
    let created = request
        .service
        .store
        .create_with(&name, &options, &request.user.auth);
    let entry = match created {
        // RFC 6154, section 3: the client must learn that the use is the reason.
        Err(error @ MailboxError::Refused(_)) if !options.special_use.is_empty() => {
            return Ok(request.refusal(&error).with(Code::UseAttr));
        }
        created => created?,
    };
    Ok(match &entry.id {
        Some(id) => completed().with(Code::MailboxId(id.to_string())),
        None => completed(),
    })
}

/// The refusal of a new name in UTF-8 that is not what such names must be (RFC 9051, section 6.3.4).
fn no_net_unicode(request: &Request, client: &[u8]) -> Option<Reply> {
    let fits = !request.enabled.utf8_names() || std::str::from_utf8(client).is_ok_and(utf7::is_net_unicode);
    (!fits).then(|| {
        let text = "Mailbox names must be composed Unicode (NFC) without control characters";
        Reply::no(text).with(Code::Cannot)
    })
}

/// The partition argument of CREATE and RENAME, which only administrators may give (S137, S142).
fn partition_argument(
    request: &Request,
    partition: Option<&[u8]>,
) -> Result<Option<Partition>, MailboxError> {
    let Some(partition) = partition else {
        return Ok(None);
    };
    if !request.user.is_admin() {
        return Err(MailboxError::PermissionDenied);
    }
    let name = std::str::from_utf8(partition).ok().and_then(Partition::new);
    name.map(Some).ok_or(MailboxError::InvalidPartition)
}

pub(super) fn delete(request: &Request, client: &[u8]) -> Result<Reply, MailboxError> {
    let name = request.name(client)?;
    let store = &request.service.store;
    if !name.is_user_inbox() {
        // Said before anything about rights, as in Cyrus.
        let mut has_children = false;
        store.walk(&name.to_dbname(), &request.user.auth, &mut |entry, _rights| {
            has_children = name.is_ancestor_of(&entry.name);
            if has_children { Step::Stop } else { Step::Next }
        })?;
        if has_children && store.my_rights(&name, &request.user.auth).is_ok() {
            return Err(MailboxError::HasInferiors);
        }
    }
    store.delete(&name, &request.user.auth)?;
    if request.service.options.delete_unsubscribe {
        store.unsubscribe(&name, &request.user.auth)?;
    }
    Ok(completed())
}

pub(super) fn rename(
    request: &Request,
    from: &[u8],
    to: &[u8],
    partition: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let partition = partition_argument(request, partition)?;
    if let Some(refused) = no_net_unicode(request, to) {
        return Ok(refused);
    }
    let from = request.name(from)?;
    let to = request.new_name(to)?;
    if partition.is_some() && from != to {
        let text = "Cross-server or cross-partition move w/rename not supported";
        return Ok(Reply::no(text));
    }
    // Renaming one's own INBOX moves its messages, and gives nothing another name.
    let moves_inbox = from.is_user_inbox() && from.owner().as_deref() == Some(request.user.auth.userid());
    let renamed = request
        .service
        .store
        .rename(&from, &to, partition, &request.user.auth)?;
    if !moves_inbox {
        for (old, new) in renamed {
            let (old, new) = (request.client_name(&old), request.client_name(&new));
            Reply::ok(format!("rename {old} {new}")).put_untagged(out);
        }
    }
    Ok(completed())
}

pub(super) fn subscribe(request: &Request, client: &[u8]) -> Result<Reply, MailboxError> {
    let subscribed = request
        .name(client)
        .and_then(|name| request.service.store.subscribe(&name, &request.user.auth));
    Ok(match subscribed {
        Ok(()) => completed(),
        Err(error) => {
            let mut reply = request.refusal(&error);
            reply.text.insert_str(0, "Subscribe: ");
            reply
        }
    })
}

pub(super) fn unsubscribe(request: &Request, client: &[u8]) -> Result<Reply, MailboxError> {
    if let Ok(name) = request.name(client) {
        request.service.store.unsubscribe(&name, &request.user.auth)?;
    }
    Ok(completed())
}

pub(super) fn status(
    request: &Request,
    client: &[u8],
    items: StatusItems,
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let name = request.name(client)?;
    let data = match status_data(request, &name, items) {
        Err(error @ MailboxError::NotFound) => {
            return explain::missing_inbox(request, &name).ok_or(error);
        }
        data => data?,
    };
    put_status(out, client, items, &data);
    Ok(completed())
}

/// XWARMUP: indexes are mapped, and read as fast as they can be; nothing is there to be prepared but their first look.
pub(super) fn warm_up(request: &Request, client: &[u8]) -> Reply {
    let started = Instant::now();
    let looked = request.name(client).and_then(|name| {
        let mut mailbox = request.service.store.open_mailbox(&name, &request.user.auth)?;
        mailbox.read().map(drop)
    });
    let reply = match looked {
        Ok(()) => completed(),
        Err(error) => request.refusal(&error),
    };
    let text = format!("{} ({} sec)", reply.text, seconds(started));
    Reply { text, ..reply }
}

/// What STATUS tells of a mailbox.
pub(super) fn status_data(
    request: &Request,
    name: &MailboxName,
    items: StatusItems,
) -> Result<StatusData, MailboxError> {
    let store = &request.service.store;
    let mut mailbox = store.open_mailbox(name, &request.user.auth)?;
    let status = mailbox.status()?;
    let deleted_storage = match items.contains(StatusItems::DELETED_STORAGE) && status.deleted > 0 {
        true => mailbox.read()?.deleted_size(),
        false => 0,
    };
    let created = match items.contains(StatusItems::CREATEDMODSEQ) {
        true => store.lookup(name)?.map(|entry| entry.created_modseq.0),
        false => None,
    };
    let conversations = match items.intersects(StatusItems::OF_CONVERSATIONS) {
        true => store.conversation_counts(name)?.unwrap_or_default(),
        false => ConversationCounts::default(),
    };
    Ok(StatusData {
        createdmodseq: created.unwrap_or_default(),
        xconvexists: conversations.exists,
        xconvunseen: conversations.unseen,
        xconvmodseq: conversations.modseq.0,
        messages: status.messages,
        recent: status.recent,
        uidnext: status.uidnext,
        uidvalidity: status.uidvalidity.0,
        mailboxid: status.id.to_string(),
        unseen: status.unseen,
        size: status.size,
        deleted: status.deleted,
        highestmodseq: status.highestmodseq.0,
        deleted_storage,
        appendlimit: request.service.options.append_limit(),
    })
}

pub(super) fn namespace(request: &Request, out: &mut Vec<u8>) -> Result<Reply, MailboxError> {
    let namespace = &request.service.options.namespace;
    let has_inbox = match MailboxName::inbox_of(&request.user.name) {
        Ok(inbox) => request.service.store.lookup(&inbox)?.is_some(),
        Err(_) => false,
    };
    let classes = namespace.namespace_response(has_inbox, request.user.is_admin());
    let prefixes = [&classes.personal, &classes.other, &classes.shared]
        .map(|prefix| prefix.as_deref().into_iter().collect::<Vec<_>>());
    let [personal, other, shared] = &prefixes;
    put_namespace(out, [personal, other, shared], classes.separator.as_char());
    Ok(completed())
}
