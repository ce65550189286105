//! Message ids in header fields, as the conversations database knows them.

/// Message ids that are looked at in one header field.
pub(crate) const MAX_IDS: usize = 20;

/// The message ids in the value of a field, in their order, in lower case and without quotes: whatever looks like
/// `<local@domain>`. Nothing after the first [`MAX_IDS`] is looked at.
pub(crate) fn message_ids(field: &[u8]) -> Vec<Vec<u8>> {
    let mut ids = Vec::new();
    let mut rest = field;
    while ids.len() < MAX_IDS {
        let Some((id, after)) = next_id(rest) else { break };
        ids.push(id);
        rest = after;
    }
    ids
}

/// Whether a value of In-Reply-To: holds message ids only, as far as its beginning tells. Some mailers put addresses and
/// prose there.
pub(crate) fn is_list_of_ids(field: &[u8]) -> bool {
    let first = field
        .iter()
        .find(|byte| !(byte.is_ascii_whitespace() || **byte == 0x0b || **byte == b','));
    first.is_none_or(|&byte| byte == b'<')
}

/// Whether a message id can be a key.
pub(crate) fn is_key(id: &[u8]) -> bool {
    let inside = id.strip_prefix(b"<").and_then(|id| id.strip_suffix(b">"));
    inside.is_some_and(|inside| !inside.is_empty() && inside.iter().all(u8::is_ascii_graphic))
}

/// The first message id, and what follows it.
fn next_id(field: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = field;
    loop {
        rest = rest.get(memchr::memchr(b'<', rest)? + 1..)?;
        match id_after_bracket(rest) {
            Ok((id, after)) => return Some((id, after)),
            Err(after) => rest = after,
        }
    }
}

/// The message id whose `<` was just passed, or where to look for another.
fn id_after_bracket(text: &[u8]) -> Result<(Vec<u8>, &[u8]), &[u8]> {
    let (local, rest) = match text.strip_prefix(b"\"") {
        Some(quoted) => unquoted(quoted).ok_or(&b""[..])?,
        None => {
            let (local, rest) = plain(text);
            (local.to_vec(), rest)
        }
    };
    let rest = match rest.strip_prefix(b"@") {
        Some(rest) if !local.is_empty() => rest,
        _ => return Err(rest),
    };
    let (domain, rest) = plain(rest);
    let Some(after) = rest.strip_prefix(b">").filter(|_| !domain.is_empty()) else {
        return Err(rest);
    };
    let mut id = Vec::with_capacity(local.len() + domain.len() + 3);
    id.push(b'<');
    id.extend_from_slice(&local);
    id.push(b'@');
    id.extend_from_slice(domain);
    id.push(b'>');
    id.make_ascii_lowercase();
    Ok((id, after))
}

/// What comes before the next special character.
fn plain(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| b"<> @\\".contains(byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// The content of a quoted string whose `"` was just passed.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        let (&byte, after) = rest.split_first()?;
        match byte {
            b'"' => return Some((out, after)),
            b'\\' => {
                let (&escaped, after) = after.split_first()?;
                out.push(escaped);
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(field: &str) -> Vec<String> {
        let ids = message_ids(field.as_bytes()).into_iter();
        ids.filter(|id| is_key(id))
            .map(|id| String::from_utf8(id).unwrap())
            .collect()
    }

    /// What Cyrus 3.6.1 made of these.
    #[test]
    fn whatever_looks_like_a_message_id_is_one() {
        for (field, expected) in [
            ("<1@x>", &["<1@x>"][..]),
            ("< a b@x >", &[]),
            ("<foo>", &[]),
            ("<a@b@c>", &[]),
            ("<UPPER@X>", &["<upper@x>"]),
            ("plain@x", &[]),
            ("(c) <cc@x>", &["<cc@x>"]),
            ("<t1@x> <t2@x>", &["<t1@x>", "<t2@x>"]),
            ("<\"a b\"@x>", &[]),
            ("<a@[1.2.3.4]>", &["<a@[1.2.3.4]>"]),
            ("<\"ab\"@x>", &["<ab@x>"]),
            ("<\"a b\"@x> <ok1@x>", &["<ok1@x>"]),
            ("<bad id@x> <ok2@x>", &["<ok2@x>"]),
            ("<foo> <ok3@x>", &["<ok3@x>"]),
            ("<a@b@c> <ok4@x>", &["<ok4@x>"]),
            ("<a<b@x>", &["<b@x>"]),
            ("<a@b", &[]),
            ("<@x>", &[]),
            ("<a@>", &[]),
            ("<a\\b@x>", &[]),
            ("<a@b<c@d>", &["<c@d>"]),
            ("x<y@z>w<v@u>", &["<y@z>", "<v@u>"]),
            ("<\"a\\\"b\"@x>", &["<a\"b@x>"]),
            ("<a\"b@x>", &["<a\"b@x>"]),
            ("<a;b,c(d)@x>", &["<a;b,c(d)@x>"]),
        ] {
            assert_eq!(found(field), expected, "{field}");
        }
    }

    #[test]
    fn of_many_only_the_first_are_looked_at() {
        let many: Vec<String> = (0..25).map(|n| format!("<r{n}@x>")).collect();
        assert_eq!(found(&many.join(" ")).len(), MAX_IDS);
    }

    #[test]
    fn in_reply_to_begins_with_an_id_or_is_not_used() {
        assert!(is_list_of_ids(b" , \r\n\t<q@x> whatever"));
        assert!(is_list_of_ids(b""));
        assert!(!is_list_of_ids(b"message of Monday <q@x>"));
    }
}
