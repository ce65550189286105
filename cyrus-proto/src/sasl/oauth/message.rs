//! What a client sends: a token, and the user it wants to be.

use std::str;

/// The content of a client's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    /// Whom the client wants to be, if it says so.
    pub(super) user: Option<String>,
    /// The token; empty if the client has none.
    pub(super) token: String,
}

impl Bearer {
    /// `client-resp = gs2-header kvsep *kvpair kvsep` (RFC 7628, section 3.1).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of_oauthbearer(message: &[u8]) -> Result<Self, String> {
        let message = text(message)?;
        let (header, pairs) = message
            .split_once(SEPARATOR)
            .ok_or("no separator follows the header")?;
        let user = gs2_user(header)?;
        let token = token(pairs)?.unwrap_or_default();
        Ok(Self { user, token })
    }

    /// `user=` name, `auth=Bearer ` token, each with an octet 1 behind it, and one more.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of_xoauth2(message: &[u8]) -> Result<Self, String> {
        let message = text(message)?;
        let rest = message
            .strip_prefix("user=")
            .ok_or("it does not begin with user=")?;
        let (user, pairs) = rest
            .split_once(SEPARATOR)
            .ok_or("no separator follows the user")?;
        if user.is_empty() {
            return Err("the user is empty".to_owned());
        }
        let token = token(pairs)?.ok_or("it has no auth=")?;
        Ok(Self {
            user: Some(user.to_owned()),
            token,
        })
    }
}

fn text(message: &[u8]) -> Result<&str, String> {
    let text = str::from_utf8(message).map_err(|_| "it is not UTF-8".to_owned())?;
    match text.contains('\0') {
        true => Err("it has a NUL".to_owned()),
        false => Ok(text),
    }
}

/// `gs2-header = gs2-cb-flag "," [ gs2-authzid ] ","` (RFC 5801, section 4); the user in it.
fn gs2_user(header: &str) -> Result<Option<String>, String> {
    let mut parts = header.splitn(3, ',');
    match parts.next() {
        Some("n" | "y") => {}
        Some(flag) if flag.starts_with("p=") => {
            return Err("it wants a channel binding, which this mechanism has not".to_owned());
        }
        _ => return Err("it does not begin with n, or y,".to_owned()),
    }
    let user = match parts.next() {
        Some("") => None,
        Some(user) => Some(saslname(
            user.strip_prefix("a=")
                .ok_or("what stands for a= is something else")?,
        )?),
        None => return Err("its header has one comma".to_owned()),
    };
    match parts.next() {
        Some("") => Ok(user),
        Some(_) => Err("something follows its header".to_owned()),
        None => Err("its header has one comma".to_owned()),
    }
}

/// `saslname` (RFC 5802, section 7): `=2C` and `=3D` stand for comma and equals sign.
fn saslname(text: &str) -> Result<String, String> {
    let mut name = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        rest = if let Some(rest) = after.strip_prefix("2C") {
            name.push(',');
            rest
        } else if let Some(rest) = after.strip_prefix("3D") {
            name.push('=');
            rest
        } else {
            return Err("a bare = in the user's name".to_owned());
        };
    }
    name.push_str(rest);
    match name.is_empty() {
        true => Err("the user is empty".to_owned()),
        false => Ok(name),
    }
}

/// The token in `*kvpair kvsep`; `None` without an `auth`.
fn token(pairs: &str) -> Result<Option<String>, String> {
    let pairs = pairs
        .strip_suffix(SEPARATOR)
        .ok_or("it does not end with a separator")?;
    let mut found = None;
    // The separator that ends the last pair leaves an empty one behind.
    let pairs: Vec<&str> = pairs.split(SEPARATOR).collect();
    for pair in pairs.iter().filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a pair has no =")?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err("a key is no word".to_owned());
        }
        if key != "auth" {
            continue;
        }
        if found.replace(bearer(value)?).is_some() {
            return Err("it has two auth=".to_owned());
        }
    }
    Ok(found)
}

/// `Bearer` and a `b64token` (RFC 6750, section 2.1); nothing for an empty value.
fn bearer(value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Ok(String::new());
    }
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err("its token is not of type Bearer".to_owned());
    }
    let token = token.trim_matches(' ');
    let stem = token.trim_end_matches('=');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if token.len() > LONGEST {
        return Err("its token is too long".to_owned());
    }
    match stem.bytes().all(known) {
        true => Ok(token.to_owned()),
        false => Err("its token has characters that no token has".to_owned()),
    }
}

const SEPARATOR: char = '\u{1}';

/// Octets of a token.
const LONGEST: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_7628_are_understood() {
        let message = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
            auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        assert_eq!(
            Bearer::of_oauthbearer(message),
            Ok(Bearer {
                user: Some("user@example.com".to_owned()),
                token: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".to_owned()
            })
        );
        let discovery = Bearer::of_oauthbearer(b"n,a=user@example.com,\x01auth=\x01\x01").unwrap();
        assert_eq!(discovery.token, "");
        assert_eq!(
            Bearer::of_oauthbearer(b"n,,\x01auth=bearer x\x01\x01")
                .unwrap()
                .user,
            None
        );
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_reason() {
        for (message, reason) in [
            (&b""[..], "no separator"),
            (b"\x01\x01", "does not begin"),
            (b"p=tls-unique,,\x01auth=Bearer x\x01\x01", "channel binding"),
            (b"n,fred,\x01auth=Bearer x\x01\x01", "stands for a="),
            (b"n,a=,\x01auth=Bearer x\x01\x01", "user is empty"),
            (b"n,a=x=y,\x01auth=Bearer x\x01\x01", "bare ="),
            (b"n,\x01auth=Bearer x\x01\x01", "one comma"),
            (b"n,,\x01auth=Bearer x", "end with a separator"),
            (b"n,,\x01auth=Basic x\x01\x01", "not of type Bearer"),
            (b"n,,\x01auth=Bearer x\"y\x01\x01", "characters"),
            (b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "two auth="),
            (b"n,,\x01auth\x01\x01", "no ="),
            (b"n,,\xff\x01auth=Bearer x\x01\x01", "UTF-8"),
            (b"n,a=fred\0,\x01auth=Bearer x\x01\x01", "NUL"),
        ] {
            let refused = Bearer::of_oauthbearer(message).unwrap_err();
            assert!(refused.contains(reason), "{message:?}: {refused}");
        }
        for message in [
            &b"user=\x01auth=Bearer x\x01\x01"[..],
            b"user=fred\x01\x01",
            b"fred",
        ] {
            Bearer::of_xoauth2(message).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn a_name_survives_its_escapes(name in "[^\\x00\\x01]{1,20}", token in "[A-Za-z0-9._~+/-]{1,40}={0,2}") {
            let escaped = name.replace('=', "=3D").replace(',', "=2C");
            let message = format!("n,a={escaped},\x01auth=Bearer {token}\x01\x01");
            let bearer = Bearer::of_oauthbearer(message.as_bytes()).unwrap();
            prop_assert_eq!(bearer.user.as_deref(), Some(name.as_str()));
            prop_assert_eq!(&bearer.token, &token);
            let plain = format!("user={name}\x01auth=Bearer {token}\x01\x01");
            let bearer = Bearer::of_xoauth2(plain.as_bytes()).unwrap();
            prop_assert_eq!(bearer.user.as_deref(), Some(name.as_str()));
        }

        #[test]
        fn noise_is_no_crash(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Bearer::of_oauthbearer(&noise);
            let _ = Bearer::of_xoauth2(&noise);
        }
    }
}
