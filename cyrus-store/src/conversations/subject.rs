//! Subjects as they are compared to find out whether a reply belongs to a conversation.

/// What is left of a decoded subject without what mailers add to it: text in brackets, `Re:` and the like in any
/// language, and white space.
///
/// In Cyrus's terms: `\[[^][\\]*\]`, `^[^[\\]*\]` and `\[[^]]*$` are removed as long as one of them is there, then
/// `^[ \t]*[^ \t\r\n\f]+:` as often as it is, then blanks, line ends and no-break spaces. One pass over the text does the
/// first of these: what a bracket closes goes as soon as it is closed.
pub(crate) fn normalized(subject: &[u8]) -> Vec<u8> {
    let text = without_brackets(subject);
    without_spaces(without_prefixes(&text))
}

fn without_brackets(subject: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(subject.len());
    // Where brackets are open in `out` that may still be closed.
    let mut open: Vec<usize> = Vec::new();
    let mut backslashes: Vec<usize> = Vec::new();
    // Something in `out` that will stay keeps text from being removed back to the beginning.
    let mut begins_anew = true;
    for &byte in subject {
        match byte {
            b'[' => {
                open.push(out.len());
                out.push(byte);
            }
            b'\\' => {
                backslashes.push(out.len());
                out.push(byte);
            }
            b']' => match open.pop() {
                Some(start) if backslashes.last().is_none_or(|&at| at < start) => out.truncate(start),
                Some(_) => {
                    // Neither this bracket nor one around it can be closed any more.
                    open.clear();
                    begins_anew = false;
                    out.push(byte);
                }
                None if begins_anew && backslashes.is_empty() => out.clear(),
                None => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    let closed = out.iter().rposition(|&byte| byte == b']').map_or(0, |at| at + 1);
    let tail = out.get(closed..).unwrap_or_default();
    if let Some(unclosed) = memchr::memchr(b'[', tail) {
        out.truncate(closed + unclosed);
    }
    out
}

fn without_prefixes(mut text: &[u8]) -> &[u8] {
    loop {
        let blanks = text.iter().take_while(|byte| b" \t".contains(byte)).count();
        let rest = text.get(blanks..).unwrap_or_default();
        let word = rest
            .iter()
            .take_while(|byte| !b" \t\r\n\x0c".contains(byte))
            .count();
        let word = rest.get(..word).unwrap_or_default();
        match memchr::memrchr(b':', word) {
            Some(colon) if colon > 0 => text = rest.get(colon + 1..).unwrap_or_default(),
            _ => return text,
        }
    }
}

fn without_spaces(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == 0xc2 && after.first() == Some(&0xa0) {
            rest = after.get(1..).unwrap_or_default();
        } else if !b" \t\r\n".contains(&byte) {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Cyrus 3.6.1 made of these.
    #[test]
    fn subjects_lose_what_mailers_add_to_them() {
        for (subject, expected) in [
            ("Hello", "Hello"),
            ("Re: Hello", "Hello"),
            ("RE[2]: Hello", "Hello"),
            ("Fwd: Re: Hello", "Hello"),
            ("[list] Hello", "Hello"),
            ("Re: [list] Hello", "Hello"),
            ("Hello [x] World", "HelloWorld"),
            ("[a] [b]", ""),
            ("[unclosed Hello", ""),
            ("Hello]x", "x"),
            ("a:b c", "bc"),
            ("Re : Hello", "Re:Hello"),
            ("x y: Hello", "xy:Hello"),
            ("Hel lo", "Hello"),
            ("Hello\t  there", "Hellothere"),
            ("Hello (fwd)", "Hello(fwd)"),
            ("Cafe\u{301}", "Cafe\u{301}"),
            ("a\u{a0}b", "ab"),
            ("Re:[x]Re: Hello", "Hello"),
            ("[[nested] x] Hello", "Hello"),
            ("Hello: Re: x", "x"),
            ("", ""),
            ("AW: SV: Hello", "Hello"),
            ("http://foo bar", "//foobar"),
        ] {
            let found = String::from_utf8(normalized(subject.as_bytes())).unwrap();
            assert_eq!(found, expected, "{subject:?}");
        }
    }

    #[test]
    fn a_backslash_keeps_brackets_around_it() {
        for (subject, expected) in [
            (r"[a\b] c", r"[a\b]c"),
            (r"a\b] c", r"a\b]c"),
            (r"[a\b] [c", r"[a\b]"),
            (r"[a [b\c] d] e]", r"[a[b\c]d]e]"),
            (r"x[y]\z", r"x\z"),
        ] {
            let found = String::from_utf8(normalized(subject.as_bytes())).unwrap();
            assert_eq!(found, expected, "{subject:?}");
        }
    }

    #[test]
    fn many_brackets_take_no_long_time() {
        let many = "[".repeat(200_000) + &"]".repeat(200_000) + &"[]:".repeat(100_000);
        assert_eq!(normalized(many.as_bytes()), b"");
    }
}
