//! Where else a mailbox or a user's mail is: the URLs of mailbox referrals (RFC 2193) and login referrals (RFC 2221).

use cyrus_store::{MailboxName, Store};

/// The URL of a server as a user sees it, or of a mailbox there (RFC 5092, section 11): `imap://user;AUTH=*@server/mailbox`.
pub(super) fn url(user: &str, server: &str, mailbox: &str) -> String {
    let mut url = "imap://".to_owned();
    encode(&mut url, user, b"");
    url.push_str(";AUTH=*@");
    encode(&mut url, server, b":[]");
    url.push('/');
    encode(&mut url, mailbox, b"/");
    url
}

/// The server that has the INBOX of a user, if another one has.
pub(super) fn home(store: &Store, user: &str) -> Option<String> {
    let inbox = MailboxName::inbox_of(user).ok()?;
    // A list that cannot be read is trouble enough for the commands that follow.
    let entry = store.lookup(&inbox).ok()??;
    let server = entry.mbtype.remote.then(|| entry.server.clone())??;
    Some(url(user, &server, ""))
}

/// Appends text with all but unreserved octets, and those of `also`, as `%xx` (RFC 3986, section 2.1).
fn encode(url: &mut String, text: &str, also: &[u8]) {
    for octet in text.bytes() {
        let plain = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) || also.contains(&octet);
        match plain {
            true => url.push(char::from(octet)),
            false => url.push_str(&format!("%{octet:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn what_a_url_cannot_hold_is_escaped() {
        assert_eq!(
            url("jo ann", "b.example:1143", "Other Users/x;y]\r"),
            "imap://jo%20ann;AUTH=*@b.example:1143/Other%20Users/x%3By%5D%0D"
        );
    }
}
