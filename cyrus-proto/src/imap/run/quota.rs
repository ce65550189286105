//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208, in the words of RFC 2087).

use cyrus_store::{MailboxError, Quota, QuotaRoot, Resource};

use super::{Request, completed};
use crate::imap::response::{Reply, put_quota, put_quota_root};

/// The limited resources of a root: name, usage and limit in the units of the protocol.
fn resources(quota: &Quota, name: fn(Resource) -> &'static str) -> Vec<(&'static str, u64, u64)> {
    let limited = |resource: Resource| {
        let limit = quota.limit(resource)?;
        Some((name(resource), quota.used(resource) / resource.unit(), limit))
    };
    Resource::ALL.into_iter().filter_map(limited).collect()
}

/// Tells a root. Where RFC 9208 (section 5) and Cyrus call a resource by different names, the root is told twice, first as
/// by Cyrus: its `cyradm` understands no more than one resource of a line, and other clients believe what comes last.
fn tell(request: &Request, root: &QuotaRoot, out: &mut Vec<u8>) -> Result<(), MailboxError> {
    let quota = request.service.store.quota(root)?;
    let quota = quota.ok_or(MailboxError::NoQuotaRoot)?;
    let shown = client_root(request, root);
    let cyrus = resources(&quota, Resource::imap_name);
    let registered = resources(&quota, Resource::registered_name);
    let differ = cyrus != registered;
    put_quota(out, shown.as_bytes(), cyrus);
    if differ {
        put_quota(out, shown.as_bytes(), registered);
    }
    Ok(())
}

/// A root as the client knows it.
fn client_root(request: &Request, root: &QuotaRoot) -> String {
    match root.mailbox() {
        Some(name) => request.client_name(&name),
        None => root.to_string(),
    }
}

pub(super) fn get(request: &Request, client: &[u8], out: &mut Vec<u8>) -> Result<Reply, MailboxError> {
    if !request.user.is_admin() {
        return Err(MailboxError::PermissionDenied);
    }
    let name = request.name(client).map_err(|_| MailboxError::NoQuotaRoot)?;
    tell(request, &QuotaRoot::at(&name), out)?;
    Ok(completed())
}

pub(super) fn root_of(request: &Request, client: &[u8], out: &mut Vec<u8>) -> Result<Reply, MailboxError> {
    let name = request.name(client)?;
    let store = &request.service.store;
    let rights = store.my_rights(&name, &request.user.auth)?;
    if !rights.contains(cyrus_acl::Rights::READ) && !request.user.is_admin() {
        return Err(MailboxError::PermissionDenied);
    }
    let root = store.quota_root(&name)?;
    let shown = root.as_ref().map(|root| client_root(request, root));
    put_quota_root(out, client, shown.as_deref().map(str::as_bytes));
    if let Some(root) = root {
        tell(request, &root, out)?;
    }
    Ok(completed())
}

/// Resources that are not named lose their limit (RFC 9208, section 4.1.3).
///
/// The root is not told as it is then, like Cyrus: its `cyradm` crashes at a QUOTA response that it did not ask for.
pub(super) fn set(
    request: &Request,
    client: &[u8],
    limits: &[(Vec<u8>, i64)],
    out: &mut Vec<u8>,
) -> Result<Reply, MailboxError> {
    if !request.user.is_admin() {
        return Err(MailboxError::PermissionDenied);
    }
    // Cyrus: a "+" before the name makes a root where there is no mailbox yet.
    let (force, client) = match client.strip_prefix(b"+") {
        Some(client) => (true, client),
        None => (false, client),
    };
    let name = request.name(client)?;
    let mut changes = Vec::with_capacity(limits.len());
    for (resource, limit) in limits {
        let known = std::str::from_utf8(resource)
            .ok()
            .and_then(Resource::from_imap_name);
        let Some(resource) = known else {
            return Ok(Reply::no("Unsupported quota resource"));
        };
        changes.push((resource, u64::try_from(*limit).ok()));
    }
    let root = QuotaRoot::at(&name);
    let store = &request.service.store;
    match force {
        true => store.make_quota_root(&root, &changes, &request.user.auth)?,
        false => store.set_quota(&root, &changes, &request.user.auth)?,
    }
    tell(request, &root, out)?;
    Ok(completed())
}
