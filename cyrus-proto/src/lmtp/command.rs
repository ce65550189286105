//! The command grammar (RFC 5321 section 4.1, RFC 2033, and the extensions' parameters).

use std::borrow::Cow;

use super::response::{self, Reply};

/// A command line, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Lhlo(String),
    Mail(Mail),
    Rcpt(Rcpt),
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
    StartTls,
    Auth {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
}

/// `MAIL FROM:<path> [SP parameters]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mail {
    /// As written, source route and all, without the brackets; empty for `<>`.
    pub(super) return_path: String,
    /// SIZE (RFC 1870), 0 if not told.
    pub(super) size: u64,
    /// AUTH (RFC 4954), decoded; `None` if not told, or `<>`.
    pub(super) submitter: Option<String>,
}

/// `RCPT TO:<path> [SP parameters]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rcpt {
    /// As written, without a source route.
    pub(super) address: String,
    pub(super) ignore_quota: bool,
}

/// Octets of a path (RFC 5321 asks for 256 at least).
const MAX_PATH: usize = 1024;

/// Octets of the name in LHLO.
const MAX_HOST: usize = 1024;

/// Parses one line. `size_limit` is what SIZE may announce; 0 for anything.
///
/// # Errors
/// The reply to send instead.
pub(super) fn parse(line: &[u8], size_limit: u64) -> Result<Command, Reply> {
    let space = line.iter().position(|&byte| byte == b' ');
    let (verb, argument) = match space {
        Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..)),
        None => (line, None),
    };
    match (verb.to_ascii_uppercase().as_slice(), argument) {
        (b"LHLO", Some(host)) if !host.is_empty() && host.len() <= MAX_HOST => {
            Ok(Command::Lhlo(printable(host)))
        }
        (b"MAIL", Some(argument)) => mail(argument, size_limit).map(Command::Mail),
        (b"RCPT", Some(argument)) => rcpt(argument).map(Command::Rcpt),
        (b"DATA", None) => Ok(Command::Data),
        (b"RSET", None) => Ok(Command::Rset),
        (b"NOOP", None) => Ok(Command::Noop),
        (b"VRFY", Some(_)) => Ok(Command::Vrfy),
        (b"QUIT", None) => Ok(Command::Quit),
        (b"STARTTLS", None) => Ok(Command::StartTls),
        (b"AUTH", Some(argument)) => auth(argument),
        _ => Err(response::SYNTAX),
    }
}

/// A MAIL or RCPT line with an `X` for every 8-bit octet of the address's local part.
///
/// Those who take such addresses from others can then still hand over their bounces (`lmtp_strict_rfc2821: no`).
pub(super) fn tolerated(line: &[u8]) -> Cow<'_, [u8]> {
    let is_path = is_mail(line) || is_rcpt(line);
    if line.is_ascii() || !is_path {
        return Cow::Borrowed(line);
    }
    let end = line.iter().position(|&byte| byte == b'>').unwrap_or(line.len());
    let local = line.get(..end).unwrap_or(line);
    let local = local.iter().rposition(|&byte| byte == b'@').unwrap_or(end);
    let mut line = line.to_vec();
    for byte in line.iter_mut().take(local).filter(|byte| !byte.is_ascii()) {
        *byte = b'X';
    }
    Cow::Owned(line)
}

/// Whether the line is a RCPT command, well formed or not.
pub(super) fn is_rcpt(line: &[u8]) -> bool {
    line.get(..5)
        .is_some_and(|verb| verb.eq_ignore_ascii_case(b"RCPT "))
}

/// Whether the line is a MAIL command, well formed or not.
pub(super) fn is_mail(line: &[u8]) -> bool {
    line.get(..5)
        .is_some_and(|verb| verb.eq_ignore_ascii_case(b"MAIL "))
}

fn mail(argument: &[u8], size_limit: u64) -> Result<Mail, Reply> {
    let (return_path, parameters) = path_after(argument, b"FROM:")?;
    let mut mail = Mail {
        return_path: return_path.to_owned(),
        ..Mail::default()
    };
    for parameter in parameters {
        let (name, value) = split_parameter(parameter);
        match name.to_ascii_uppercase().as_slice() {
            b"SIZE" => mail.size = size(value, size_limit)?,
            b"BODY" => {
                let known = [&b"7BIT"[..], b"8BITMIME"];
                if !value.is_some_and(|value| known.iter().any(|body| body.eq_ignore_ascii_case(value))) {
                    return Err(response::UNKNOWN_BODY);
                }
            }
            b"AUTH" => mail.submitter = submitter(value.unwrap_or_default())?,
            _ => return Err(response::UNKNOWN_PARAMETERS),
        }
    }
    Ok(mail)
}

fn rcpt(argument: &[u8]) -> Result<Rcpt, Reply> {
    let (path, parameters) = path_after(argument, b"TO:")?;
    let mut ignore_quota = false;
    for parameter in parameters {
        if !parameter.eq_ignore_ascii_case(b"IGNOREQUOTA") {
            return Err(response::UNKNOWN_PARAMETERS);
        }
        ignore_quota = true;
    }
    // RFC 5321, appendix C: source routes are taken and ignored.
    let address = match path.strip_prefix('@').and_then(|route| route.split_once(':')) {
        Some((_, address)) => address,
        None => path,
    };
    Ok(Rcpt {
        address: address.to_owned(),
        ignore_quota,
    })
}

/// The path after `keyword`, and the parameters that follow it, each after exactly one space.
fn path_after<'a>(
    argument: &'a [u8],
    keyword: &[u8],
) -> Result<(&'a str, impl Iterator<Item = &'a [u8]> + use<'a>), Reply> {
    let rest = argument
        .split_at_checked(keyword.len())
        .filter(|(word, _)| word.eq_ignore_ascii_case(keyword))
        .map(|(_, rest)| rest)
        .ok_or(response::PARAMETERS)?;
    let end = path_end(rest)
        .filter(|end| *end <= MAX_PATH)
        .ok_or(response::PARAMETERS)?;
    let path = rest
        .get(1..end)
        .and_then(|path| std::str::from_utf8(path).ok())
        .ok_or(response::PARAMETERS)?;
    let parameters = match rest.get(end + 1..) {
        None | Some([]) => &b""[..],
        Some([b' ']) => return Err(response::UNKNOWN_PARAMETERS),
        Some([b' ', parameters @ ..]) => parameters,
        Some(_) => return Err(response::PARAMETERS),
    };
    // Splitting nothing yields one empty part.
    let none = parameters.is_empty();
    Ok((
        path,
        parameters.split(|&byte| byte == b' ').filter(move |_| !none),
    ))
}

/// `"<" [A-d-l ":"] [local-part ["@" domain]] ">"` (RFC 5321, section 4.1.2, leniently): the place of the `>`.
///
/// Quoted strings and quoted characters may hold anything printable and spaces; domain literals anything printable.
fn path_end(path: &[u8]) -> Option<usize> {
    let mut bytes = path.iter().copied().enumerate();
    if bytes.next()?.1 != b'<' {
        return None;
    }
    let mut quoted = false;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes
                    .next()
                    .filter(|(_, escaped)| (b' '..=b'~').contains(escaped))?;
            }
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            b' ' if quoted => {}
            b'!'..=b'~' => {}
            _ => return None,
        }
    }
    None
}

fn split_parameter(parameter: &[u8]) -> (&[u8], Option<&[u8]>) {
    match parameter.iter().position(|&byte| byte == b'=') {
        Some(at) => (parameter.get(..at).unwrap_or_default(), parameter.get(at + 1..)),
        None => (parameter, None),
    }
}

fn size(value: Option<&[u8]>, limit: u64) -> Result<u64, Reply> {
    let value = value.unwrap_or_default();
    if !value.first().is_some_and(u8::is_ascii_digit) {
        return Err(response::SIZE_VALUE);
    }
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(response::PARAMETERS);
    }
    let size = std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok());
    size.filter(|size| limit == 0 || *size <= limit)
        .ok_or_else(|| response::size_too_large(limit))
}

/// `xtext / "<>"` (RFC 4954, section 5; RFC 3461, section 4).
fn submitter(value: &[u8]) -> Result<Option<String>, Reply> {
    if value.is_empty() || value == b"<>" {
        return Ok(None);
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => {
                let (digits, after) = rest.split_at_checked(2).ok_or(response::PARAMETERS)?;
                let digit = |byte: u8| match byte {
                    b'0'..=b'9' => Some(byte - b'0'),
                    b'A'..=b'F' => Some(byte - b'A' + 10),
                    _ => None,
                };
                let octet = match digits {
                    [high, low] => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
                    _ => None,
                };
                decoded.push(octet.ok_or(response::PARAMETERS)?);
                rest = after;
            }
            b'!'..=b'~' if byte != b'=' => decoded.push(byte),
            _ => return Err(response::PARAMETERS),
        }
    }
    Ok(Some(printable(&decoded)))
}

fn auth(argument: &[u8]) -> Result<Command, Reply> {
    let mut words = argument.splitn(2, |&byte| byte == b' ');
    let mechanism = words
        .next()
        .filter(|word| !word.is_empty() && word.is_ascii())
        .ok_or(response::SYNTAX)?;
    let initial = words.next().map(<[u8]>::to_vec);
    Ok(Command::Auth {
        mechanism: printable(mechanism),
        initial,
    })
}

/// Text from the peer that will stand in a header or a log: what could break a line becomes `?`.
fn printable(text: &[u8]) -> String {
    text.iter()
        .map(|&byte| {
            if byte == b'\t' || (b' '..=b'~').contains(&byte) {
                char::from(byte)
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mail(line: &str) -> Result<Mail, Reply> {
        match parse(line.as_bytes(), 2000)? {
            Command::Mail(mail) => Ok(mail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn eight_bit_local_parts_become_ascii_where_they_are_tolerated() {
        let tolerated = |line: &[u8]| tolerated(line).into_owned();
        assert_eq!(
            tolerated(b"MAIL FROM:<b\xe4r@x.org> SIZE=1"),
            b"MAIL FROM:<bXr@x.org> SIZE=1"
        );
        assert_eq!(tolerated(b"rcpt TO:<us\xc3\xa4r>"), b"rcpt TO:<usXXr>");
        assert_eq!(tolerated(b"RCPT TO:<a@\xe4.org>"), b"RCPT TO:<a@\xe4.org>");
        assert_eq!(tolerated(b"LHLO \xe4"), b"LHLO \xe4");
        assert!(parse(b"MAIL FROM:<b\xe4r@x.org>", 0).is_err());
    }

    #[test]
    fn paths_may_be_quoted_routed_or_empty() {
        for path in [
            "",
            "a@b",
            "plain",
            "\"a b\"@c",
            "\"a>b\"@c",
            "a\\>b@c",
            "@x,@y:a@b",
            "a@b.c.",
            "a@[1.2.3.4]",
        ] {
            assert_eq!(mail(&format!("mail from:<{path}>")).unwrap().return_path, path);
        }
        for path in [
            "<a b@c>",
            "<\"unterminated@b>",
            "<a\u{e9}@b>",
            "<x",
            "x",
            " <a@b>",
            "<a@b>x",
            "<a\x01@b>",
        ] {
            assert_eq!(
                mail(&format!("MAIL FROM:{path}")).unwrap_err(),
                response::PARAMETERS,
                "{path}"
            );
        }
    }

    #[test]
    fn parameters_are_checked_one_by_one() {
        assert_eq!(
            mail("MAIL FROM:<a@b> SIZE=2000 body=8bitmime").unwrap().size,
            2000
        );
        assert_eq!(mail("MAIL FROM:<a@b> SIZE=2001").unwrap_err().code(), 552);
        assert_eq!(
            mail("MAIL FROM:<a@b> SIZE=99999999999999999999")
                .unwrap_err()
                .code(),
            552
        );
        assert_eq!(mail("MAIL FROM:<a@b> SIZE=").unwrap_err(), response::SIZE_VALUE);
        assert_eq!(
            mail("MAIL FROM:<a@b> SIZE=10k").unwrap_err(),
            response::PARAMETERS
        );
        assert_eq!(
            mail("MAIL FROM:<a@b> BODY=BINARYMIME").unwrap_err(),
            response::UNKNOWN_BODY
        );
        assert_eq!(
            mail("MAIL FROM:<a@b>  SIZE=1").unwrap_err(),
            response::UNKNOWN_PARAMETERS
        );
        assert_eq!(
            mail("MAIL FROM:<a@b> ").unwrap_err(),
            response::UNKNOWN_PARAMETERS
        );
        assert_eq!(
            mail("MAIL FROM:<a@b> AUTH=a+2Bb").unwrap().submitter.as_deref(),
            Some("a+b")
        );
        assert_eq!(mail("MAIL FROM:<a@b> AUTH=<>").unwrap().submitter, None);
        assert_eq!(
            mail("MAIL FROM:<a@b> AUTH=a+0D+0Ab")
                .unwrap()
                .submitter
                .as_deref(),
            Some("a??b")
        );
        assert_eq!(
            mail("MAIL FROM:<a@b> AUTH=bad+XX").unwrap_err(),
            response::PARAMETERS
        );
    }

    #[test]
    fn a_recipient_loses_its_source_route() {
        let rcpt = |line: &[u8]| parse(line, 0).unwrap();
        let expected = |address: &str, ignore_quota| {
            Command::Rcpt(Rcpt {
                address: address.to_owned(),
                ignore_quota,
            })
        };
        assert_eq!(rcpt(b"RCPT TO:<@a,@b:fred>"), expected("fred", false));
        assert_eq!(
            rcpt(b"rcpt to:<+shared.x> ignorequota"),
            expected("+shared.x", true)
        );
        assert_eq!(parse(b"RCPT TO:<fred> FOO", 0), Err(response::UNKNOWN_PARAMETERS));
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_a_reply(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line, 0);
        }

        #[test]
        fn any_mail_argument_is_fine_or_refused(argument in "(FROM|TO):[<a-c>@ \"\\\\=+0-9A-Z]{0,30}") {
            let _ = parse(format!("MAIL {argument}").as_bytes(), 100);
            let _ = parse(format!("RCPT {argument}").as_bytes(), 100);
        }
    }
}
