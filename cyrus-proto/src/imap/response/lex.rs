//! The lexical forms of responses: numbers, atoms, quoted strings, literals, NIL (RFC 3501, section 4).

/// Strings up to this size are quoted when their octets allow it; longer ones are literals.
const MAX_QUOTED: usize = 1_024;

/// Appends a decimal number.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        }
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Appends an astring: an atom if it can be one, else a string.
pub fn put_astring(out: &mut Vec<u8>, text: &[u8]) {
    let is_char =
        |&c: &u8| c.is_ascii_graphic() && !matches!(c, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\');
    if !text.is_empty() && text.iter().all(is_char) && !text.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(text);
    } else {
        put_string(out, text);
    }
}

/// Appends the name of a mailbox: an astring, or, where the client has switched names in UTF-8 on, a quoted string in UTF-8
/// (RFC 9051, section 9, `mailbox`; RFC 9755).
pub fn put_mailbox(out: &mut Vec<u8>, name: &[u8]) {
    let can_be_quoted = |text: &str| !text.is_ascii() && !text.contains(['\0', '\r', '\n']);
    match std::str::from_utf8(name) {
        Ok(text) if can_be_quoted(text) => {
            out.push(b'"');
            for &c in name {
                if matches!(c, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(c);
            }
            out.push(b'"');
        }
        _ => put_astring(out, name),
    }
}

/// Appends a string, quoted if that can hold it, else as a literal.
///
/// A literal cannot hold NUL (RFC 3501, section 9, `CHAR8`): it becomes a space.
pub fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    let is_plain = |&c: &u8| c != 0 && c < 0x80 && !matches!(c, b'\r' | b'\n' | b'"' | b'\\');
    if text.len() < MAX_QUOTED && text.iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else {
        put_literal(out, text.len() as u64);
        out.extend(text.iter().map(|&c| if c == 0 { b' ' } else { c }));
    }
}

/// Appends a string, or `NIL` for none.
pub fn put_nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends the announcement of a literal of `size` octets: `{size}` CRLF.
pub fn put_literal(out: &mut Vec<u8>, size: u64) {
    out.push(b'{');
    put_number(out, size);
    out.extend_from_slice(b"}\r\n");
}

/// Appends the announcement of a literal of any octets: `~{size}` CRLF (RFC 3516, section 7, `literal8`).
pub fn put_literal8(out: &mut Vec<u8>, size: u64) {
    out.push(b'~');
    put_literal(out, size);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(writer: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        writer(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn astrings_take_the_shortest_form_that_can_hold_them() {
        for (text, form) in [
            ("INBOX", "INBOX"),
            ("#foo", "#foo"),
            ("]x", "]x"),
            ("a b", "\"a b\""),
            ("", "\"\""),
            ("nil", "\"nil\""),
            ("bad*foo", "\"bad*foo\""),
            ("quo\"te", "{6}\r\nquo\"te"),
            ("\u{fc}", "{2}\r\n\u{fc}"),
        ] {
            assert_eq!(put(|out| put_astring(out, text.as_bytes())), form);
        }
        assert_eq!(put(|out| put_string(out, &[b'x'; 1_024])).len(), 1_024 + 8);
        assert_eq!(put(|out| put_string(out, b"a\0b\r\n")), "{5}\r\na b\r\n");
    }

    #[test]
    fn numbers_are_decimal() {
        assert_eq!(put(|out| put_number(out, 0)), "0");
        assert_eq!(put(|out| put_number(out, u64::MAX)), u64::MAX.to_string());
    }
}
