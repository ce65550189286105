//! The base subject: what is left of a subject when the marks of replies and forwarding are taken off (RFC 5256, section 2.1).

/// A subject without its marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseSubject {
    /// The base subject, spaces collapsed; perhaps nothing.
    pub(super) text: String,
    /// Whether a mark of a reply or of forwarding was taken off.
    pub(super) is_reply: bool,
}

impl BaseSubject {
    /// The base of a decoded subject.
    pub(super) fn of(subject: &str) -> Self {
        if is_bare(subject) {
            return Self {
                text: subject.to_owned(),
                is_reply: false,
            };
        }
        let words: Vec<&str> = subject
            .split([' ', '\t', '\r', '\n'])
            .filter(|word| !word.is_empty())
            .collect();
        let whole = words.join(" ");
        let mut text = whole.as_str();
        let mut is_reply = false;
        loop {
            while let Some(shorter) = without_trailer(text) {
                is_reply |= !shorter.1;
                text = shorter.0;
            }
            loop {
                if let Some(shorter) = without_leader(text) {
                    is_reply = true;
                    text = shorter;
                } else if let Some(shorter) = without_blob(text).filter(|shorter| !shorter.is_empty()) {
                    text = shorter;
                } else {
                    break;
                }
            }
            match without_forward(text) {
                Some(inner) => {
                    is_reply = true;
                    text = inner;
                }
                None => break,
            }
        }
        Self {
            text: text.to_owned(),
            is_reply,
        }
    }
}

/// Whether a subject has no marks and only single spaces, as most have: then it is its own base.
fn is_bare(subject: &str) -> bool {
    let bytes = subject.as_bytes();
    let begins = bytes
        .first()
        .is_some_and(|first| !b"rRfF[ \t\r\n".contains(first));
    let ends = bytes.last().is_some_and(|last| !b")] ".contains(last));
    begins
        && ends
        && !bytes.iter().any(|byte| matches!(byte, b'\t' | b'\r' | b'\n'))
        && !subject.contains("  ")
}

/// `subj-trailer = "(fwd)" / WSP`: what stands before it, and whether it was only white space.
fn without_trailer(text: &str) -> Option<(&str, bool)> {
    if let Some(shorter) = text.strip_suffix(' ') {
        return Some((shorter, true));
    }
    let start = text.len().checked_sub(5)?;
    let (shorter, trailer) = text.split_at_checked(start)?;
    trailer.eq_ignore_ascii_case("(fwd)").then_some((shorter, false))
}

/// `subj-leader = (*subj-blob subj-refwd) / WSP`: what follows it.
///
/// White space alone is no mark, but it never begins a text whose spaces are collapsed, except after a mark.
fn without_leader(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches(' ');
    while let Some(after) = without_blob(rest) {
        rest = after;
    }
    let rest = without_refwd(rest)?;
    Some(rest.trim_start_matches(' '))
}

/// `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`: what follows it.
fn without_refwd(text: &str) -> Option<&str> {
    let rest = ["fwd", "fw", "re"].into_iter().find_map(|mark| {
        let (start, rest) = text.split_at_checked(mark.len())?;
        let rest = start.eq_ignore_ascii_case(mark).then_some(rest)?;
        let rest = rest.trim_start_matches(' ');
        rest.starts_with([':', '[']).then_some(rest)
    })?;
    let rest = without_blob(rest).unwrap_or(rest);
    rest.strip_prefix(':')
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`: what follows it.
fn without_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    let rest = inner.get(end..)?.strip_prefix(']')?;
    Some(rest.trim_start_matches(' '))
}

/// `subj-fwd = "[fwd:" subject "]"`: the subject within.
fn without_forward(text: &str) -> Option<&str> {
    let (start, rest) = text.split_at_checked(5)?;
    let inner = start
        .eq_ignore_ascii_case("[fwd:")
        .then_some(rest)?
        .strip_suffix(']')?;
    Some(inner.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_taken_off_as_the_rfc_says() {
        for (subject, base, is_reply) in [
            ("Alpha", "Alpha", false),
            ("Re: Alpha", "Alpha", true),
            ("re : Alpha  (fwd) (FWD)", "Alpha", true),
            ("Fwd: FW: [list] Re[2]: Alpha", "Alpha", true),
            ("[list] Alpha", "Alpha", false),
            ("[list] [other] Alpha", "Alpha", false),
            ("[only]", "[only]", false),
            ("Re: [only]", "[only]", true),
            ("[fwd: Re: Alpha]", "Alpha", true),
            ("[Fwd: [fwd: Alpha (fwd)]]", "Alpha", true),
            ("Re:", "", true),
            ("", "", false),
            (" \t a \r\n b ", "a b", false),
            ("Reply", "Reply", false),
            ("a  b", "a b", false),
            ("x Re: (fwd)", "x Re:", true),
            ("re", "re", false),
            ("Re[x: y", "Re[x: y", false),
        ] {
            let expected = BaseSubject {
                text: base.to_owned(),
                is_reply,
            };
            assert_eq!(BaseSubject::of(subject), expected, "{subject}");
        }
    }

    proptest! {
        #[test]
        fn the_base_of_a_base_is_itself(subject in "(re|fwd?|\\[|\\]|:|\\(fwd\\)| |[a-z]){0,20}") {
            let base = BaseSubject::of(&subject).text;
            prop_assert_eq!(&BaseSubject::of(&base).text, &base);
        }
    }
}
