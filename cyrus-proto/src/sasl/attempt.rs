//! Whom a client claims to be, read from what it sends: for the log, and for limits, before anything is verified.

use std::fmt;

/// One exchange as seen from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    mechanism: String,
    user: Option<String>,
    heard: bool,
}

impl Attempt {
    /// An exchange of this mechanism, of which nothing was heard yet. Names that are none are shortened.
    pub fn new(mechanism: &str) -> Self {
        Self {
            mechanism: cut(mechanism.as_bytes()).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// A plain password check for `user`.
    pub fn with_password(user: &[u8]) -> Self {
        Self {
            mechanism: "plaintext".to_owned(),
            user: cut(user),
            heard: true,
        }
    }

    /// Takes the client's next message, the initial response included.
    pub fn hear(&mut self, message: &[u8]) {
        // An empty message before the name is how some clients ask for a challenge.
        if self.user.is_none() && !(self.heard && message.is_empty()) {
            self.user = name_in(&self.mechanism, message, self.heard);
            self.heard = true;
        }
    }

    /// The mechanism, as the client wrote it.
    pub fn mechanism(&self) -> &str {
        &self.mechanism
    }

    /// Whose credentials the client says to have; empty while that is not known.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }
}

/// As the log of Cyrus has it: `PLAIN (fred)`.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref().unwrap_or("-notset-");
        // A reader of the log looks for one word here.
        let mechanism = self.mechanism.replace(' ', "?");
        write!(f, "{mechanism} ({user})")
    }
}

/// The name in a message of a mechanism; `later` if it is not the first.
fn name_in(mechanism: &str, message: &[u8], later: bool) -> Option<String> {
    let mechanism = mechanism.to_ascii_uppercase();
    match mechanism.as_str() {
        // RFC 4616: [authzid] NUL authcid NUL passwd
        "PLAIN" => cut(message.split(|&byte| byte == 0).nth(1)?),
        "LOGIN" if later => None,
        "LOGIN" => cut(message),
        // RFC 2195: name SP digest
        "CRAM-MD5" => {
            let end = message.iter().rposition(|&byte| byte == b' ')?;
            cut(message.get(..end)?)
        }
        "DIGEST-MD5" => quoted(message, b"username=\""),
        // RFC 6750 tokens say nothing to whoever cannot read them; the name beside them is a wish.
        "OAUTHBEARER" => gs2_name(message, b"a="),
        "XOAUTH2" => {
            let rest = message.strip_prefix(b"user=")?;
            cut(rest.split(|&byte| byte == 1).next()?)
        }
        "ANONYMOUS" => Some("anonymous".to_owned()),
        // RFC 4422, appendix A: who the client wants to be; the rest is in its certificate.
        "EXTERNAL" => cut(message),
        scram if scram.starts_with("SCRAM-") => gs2_name(message, b"n="),
        _ => None,
    }
}

/// The value that follows `key` in a comma-separated list (RFC 5802, section 7), with its escapes resolved.
fn gs2_name(message: &[u8], key: &[u8]) -> Option<String> {
    // What follows the first octet 1 is not the header's (RFC 7628).
    let header = message.split(|&byte| byte == 1).next()?;
    let mut parts = header.split(|&byte| byte == b',');
    // The first part says what the client thinks of channel bindings: `n`, `y`, `p=…`.
    parts.next()?;
    let name = parts.find_map(|part| part.strip_prefix(key))?;
    let name = String::from_utf8_lossy(name)
        .replace("=2C", ",")
        .replace("=3D", "=");
    cut(name.as_bytes())
}

fn quoted(message: &[u8], key: &[u8]) -> Option<String> {
    let at = message.windows(key.len()).position(|window| window == key)?;
    let rest = message.get(at + key.len()..)?;
    cut(rest.split(|&byte| byte == b'"').next()?)
}

/// A name as a line of the log can hold it; `None` for none.
fn cut(name: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(name.get(..LONGEST).unwrap_or(name));
    let clean = |c: char| {
        if c.is_control() || "()[]".contains(c) {
            '?'
        } else {
            c
        }
    };
    let name: String = name.chars().map(clean).collect();
    (!name.is_empty()).then_some(name)
}

/// Octets of a name that are kept.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(mechanism: &str, messages: &[&[u8]]) -> String {
        let mut attempt = Attempt::new(mechanism);
        for message in messages {
            attempt.hear(message);
        }
        attempt.user().to_owned()
    }

    #[test]
    fn each_mechanism_tells_its_user_in_its_own_way() {
        for (mechanism, messages, user) in [
            ("PLAIN", &[&b"bovik\0fred\0secret"[..]][..], "fred"),
            ("plain", &[b"\0fred\0secret"], "fred"),
            ("PLAIN", &[b"", b"\0fred\0secret"], "fred"),
            ("PLAIN", &[b"fred"], ""),
            ("LOGIN", &[b"fred", b"secret"], "fred"),
            ("LOGIN", &[b"", b"secret"], ""),
            ("CRAM-MD5", &[b"fred smith 0123456789"], "fred smith"),
            (
                "DIGEST-MD5",
                &[b"charset=utf-8,username=\"fred\",realm=\"x\""],
                "fred",
            ),
            ("SCRAM-SHA-256", &[b"n,a=bovik,n=fr=2Ced,r=abc"], "fr,ed"),
            (
                "SCRAM-SHA-256-PLUS",
                &[b"p=tls-exporter,,n=fred,r=abc", b"c=x,r=abc,p=y"],
                "fred",
            ),
            (
                "OAUTHBEARER",
                &[b"n,a=fred@x,\x01auth=Bearer n=y\x01\x01"],
                "fred@x",
            ),
            ("XOAUTH2", &[b"user=fred@x\x01auth=Bearer abc\x01\x01"], "fred@x"),
            ("EXTERNAL", &[b""], ""),
            ("GSSAPI", &[b"\x60\x82fred"], ""),
        ] {
            assert_eq!(heard(mechanism, messages), user, "{mechanism}");
        }
    }

    #[test]
    fn a_name_cannot_break_the_line_that_it_stands_in() {
        let attempt = Attempt::with_password(b"x) [SASL\r\nfake: line");
        assert_eq!(attempt.user(), "x? ?SASL??fake: line");
        assert_eq!(Attempt::with_password(&[b'a'; 5000]).user().len(), LONGEST);
        assert_eq!(Attempt::new("FOO\u{1b}[2J").mechanism(), "FOO??2J");
        assert_eq!(Attempt::new("GSSAPI").to_string(), "GSSAPI (-notset-)");
        assert_eq!(Attempt::with_password(b"fred").to_string(), "plaintext (fred)");
    }
}
