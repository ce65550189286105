//! SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314).

use cyrus_acl::ModifyMode;
use cyrus_store::MailboxError;

use super::{Request, completed, explain};
use crate::imap::response::{Reply, put_acl, put_list_rights, put_my_rights};

/// The rights that there are, and the macros of RFC 2086.
const RIGHTS: &str = "lrswipkxtecdan0123456789";

fn text(bytes: &[u8]) -> Result<&str, MailboxError> {
    std::str::from_utf8(bytes).map_err(|_| MailboxError::InvalidIdentifier)
}

pub(super) fn set(
    request: &Request,
    client: &[u8],
    identifier: &[u8],
    rights: &[u8],
) -> Result<Reply, MailboxError> {
    if !request.service.options.allowsetacl {
        return Ok(Reply::no("Command is disabled by configuration"));
    }
    let name = request.name(client)?;
    let (mode, rights) = ModifyMode::split(text(rights)?);
    if let Some(unknown) = rights.chars().find(|&right| !RIGHTS.contains(right)) {
        return Ok(Reply::bad(format!("The {unknown} right is not supported")));
    }
    let store = &request.service.store;
    let identifier = text(identifier)?;
    Ok(
        match store.set_acl(&name, identifier, mode, rights, &request.user.auth) {
            Ok(()) => completed(),
            Err(error) => explain::refused_identifier(request, identifier, &error),
        },
    )
}

pub(super) fn delete(request: &Request, client: &[u8], identifier: &[u8]) -> Result<Reply, MailboxError> {
    if !request.service.options.allowsetacl {
        return Ok(Reply::no("Command is disabled by configuration"));
    }
    let name = request.name(client)?;
    let store = &request.service.store;
    store.delete_acl(&name, text(identifier)?, &request.user.auth)?;
    Ok(completed())
}

pub(super) fn get(request: &Request, client: &[u8], out: &mut Vec<u8>) -> Result<Reply, MailboxError> {
    let name = request.name(client)?;
    let acl = request.service.store.acl(&name, &request.user.auth)?;
    let entries: Vec<(String, String)> = acl
        .entries()
        .map(|(identifier, rights)| (identifier.as_str().to_owned(), rights.to_string()))
        .collect();
    let entries = entries
        .iter()
        .map(|(identifier, rights)| (identifier.as_str(), rights.as_str()));
    put_acl(out, client, entries);
    Ok(completed())
}

pub(super) fn list_rights(
    request: &Request,
    client: &[u8],
    identifier: &[u8],
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    let name = request.name(client)?;
    let store = &request.service.store;
    let grantable = store.list_rights(&name, text(identifier)?, &request.user.auth)?;
    let required = grantable.required.to_string();
    let optional: Vec<String> = grantable.optional.iter().map(char::to_string).collect();
    put_list_rights(
        out,
        client,
        identifier,
        &required,
        optional.iter().map(String::as_str),
    );
    Ok(completed())
}

pub(super) fn my_rights(request: &Request, client: &[u8], out: &mut Vec<u8>) -> Result<Reply, MailboxError> {
    let name = request.name(client)?;
    let rights = request.service.store.my_rights(&name, &request.user.auth)?;
    put_my_rights(out, client, &rights.to_string());
    Ok(completed())
}
