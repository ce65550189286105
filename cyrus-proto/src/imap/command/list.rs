//! LIST and STATUS: what of mailboxes is asked (RFC 3501, sections 6.3.8 and 6.3.10; RFC 5258).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::opt;
use nom::multi::separated_list1;

use super::lex::{Parsed, astring, expect, is_atom_char, keyword, printable, refuse, sp, string, word};

/// `LIST [selection] reference patterns [RETURN (...)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListCommand {
    /// Which mailboxes, of those that match.
    pub select: ListOptions,
    /// The reference name.
    pub reference: Vec<u8>,
    /// The patterns.
    pub patterns: Vec<Vec<u8>>,
    /// What to say of each.
    pub returns: ListOptions,
}

/// Selection and return options that are understood (RFC 5258, RFC 6154).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `SPECIAL-USE`
    pub special_use: bool,
    /// `CHILDREN`
    pub children: bool,
}

impl ListOptions {
    /// Whether no option is set.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.subscribed, "SUBSCRIBED"),
            (self.special_use, "SPECIAL-USE"),
            (self.children, "CHILDREN"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.push(b'(');
        out.extend_from_slice(self.names().collect::<Vec<_>>().join(" ").as_bytes());
        out.push(b')');
    }
}

/// The items of a STATUS command, as a set (RFC 3501, section 6.3.10, and later ones).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusItems(u32);

impl StatusItems {
    /// `MESSAGES`
    pub const MESSAGES: Self = Self(1);
    /// `RECENT`
    pub const RECENT: Self = Self(1 << 1);
    /// `UIDNEXT`
    pub const UIDNEXT: Self = Self(1 << 2);
    /// `UIDVALIDITY`
    pub const UIDVALIDITY: Self = Self(1 << 3);
    /// `MAILBOXID` (RFC 8474)
    pub const MAILBOXID: Self = Self(1 << 4);
    /// `UNSEEN`
    pub const UNSEEN: Self = Self(1 << 5);
    /// `SIZE` (RFC 8438)
    pub const SIZE: Self = Self(1 << 6);
    /// `DELETED` (RFC 9051)
    pub const DELETED: Self = Self(1 << 7);
    /// `HIGHESTMODSEQ` (RFC 7162)
    pub const HIGHESTMODSEQ: Self = Self(1 << 8);

    /// Each item and its name, in the order in which replies carry them.
    pub(crate) const NAMES: [(Self, &'static str); 9] = [
        (Self::MESSAGES, "MESSAGES"),
        (Self::RECENT, "RECENT"),
        (Self::UIDNEXT, "UIDNEXT"),
        (Self::UIDVALIDITY, "UIDVALIDITY"),
        (Self::MAILBOXID, "MAILBOXID"),
        (Self::UNSEEN, "UNSEEN"),
        (Self::SIZE, "SIZE"),
        (Self::DELETED, "DELETED"),
        (Self::HIGHESTMODSEQ, "HIGHESTMODSEQ"),
    ];

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The items of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let names = Self::NAMES.iter().filter(|(item, _)| self.contains(*item));
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        out.push(b'(');
        out.extend_from_slice(names.join(" ").as_bytes());
        out.push(b')');
    }
}

/// The most patterns in one LIST.
const MAX_PATTERNS: usize = 128;

/// `list` after its first space (RFC 3501, section 9; RFC 5258, section 6).
pub(super) fn list(input: &[u8]) -> Parsed<'_, ListCommand> {
    let missing = || Cow::Borrowed("Missing required argument to List");
    let missing_pattern = || Cow::Borrowed("Missing required argument to List: mailbox pattern");
    let (rest, select) = match input.first() {
        Some(b'(') => {
            let (rest, select) = options(input, "selection")?;
            let (rest, ()) = expect(sp, missing).parse(rest)?;
            (rest, select)
        }
        _ => (input, ListOptions::default()),
    };
    let (rest, reference) = expect(astring, missing).parse(rest)?;
    let (rest, ()) = expect(sp, missing_pattern).parse(rest)?;
    let (rest, patterns) = match rest.strip_prefix(b"(") {
        Some(inner) => {
            let (rest, patterns) = expect(separated_list1(sp, list_mailbox), missing_pattern).parse(inner)?;
            let (rest, _) = expect(tag(&b")"[..]), missing_pattern).parse(rest)?;
            (rest, patterns)
        }
        None => {
            let (rest, pattern) = expect(list_mailbox, missing_pattern).parse(rest)?;
            (rest, vec![pattern])
        }
    };
    if patterns.len() > MAX_PATTERNS {
        return refuse(input, "Too many patterns in List");
    }
    let (rest, returns) = match opt((sp, keyword("RETURN"), sp)).parse(rest)? {
        (rest, Some(_)) => options(rest, "return")?,
        (rest, None) => (rest, ListOptions::default()),
    };
    if let Some(extra) = rest.strip_prefix(b" ") {
        let extra = printable(word(extra)?.1);
        return refuse(rest, format!("Unexpected extra argument to List: \"{extra}\""));
    }
    let patterns = patterns.into_iter().map(Cow::into_owned).collect();
    let reference = reference.into_owned();
    Ok((
        rest,
        ListCommand {
            select,
            reference,
            patterns,
            returns,
        },
    ))
}

/// `"(" [option *(SP option)] ")"` (RFC 5258, section 6).
fn options<'i>(input: &'i [u8], kind: &str) -> Parsed<'i, ListOptions> {
    let mut options = ListOptions::default();
    let mut rest = input.strip_prefix(b"(").unwrap_or_default();
    if let Some(rest) = rest.strip_prefix(b")") {
        return Ok((rest, options));
    }
    loop {
        let (after, name) = word(rest)?;
        match name.to_ascii_uppercase().as_slice() {
            b"SUBSCRIBED" => options.subscribed = true,
            b"SPECIAL-USE" => options.special_use = true,
            b"CHILDREN" if kind == "return" => options.children = true,
            b"REMOTE" if kind == "selection" => {}
            name => {
                let name = printable(name);
                return refuse(rest, format!("Invalid List {kind} option: \"{name}\""));
            }
        }
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, options)),
            _ => return refuse(after, "Missing close parenthesis in List"),
        }
    }
}

/// `list-mailbox = 1*list-char / string` (RFC 3501, section 9), as lenient as astrings are.
pub(super) fn list_mailbox(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match input.first() {
        Some(b'"' | b'{') => string(input),
        _ => {
            let list_char =
                |c: u8| is_atom_char(c) || matches!(c, b'%' | b'*' | b']' | b'\\' | b'{' | 0x80..);
            let (rest, text) = take_while1(list_char).parse(input)?;
            Ok((rest, Cow::Borrowed(text)))
        }
    }
}

/// `"(" status-att *(SP status-att) ")"` (RFC 3501, section 9).
pub(super) fn status_items(input: &[u8]) -> Parsed<'_, StatusItems> {
    const BAD: &str = "Bad status string";
    let Some(mut rest) = input.strip_prefix(b"(") else {
        return refuse(input, BAD);
    };
    let mut items = StatusItems::default();
    loop {
        let (after, name) = word(rest)?;
        if name.is_empty() {
            return refuse(rest, BAD);
        }
        let known = StatusItems::NAMES
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        match known {
            Some(&(item, _)) => items = items.with(item),
            None => {
                let name = printable(&name.to_ascii_lowercase());
                return refuse(rest, format!("Invalid Status attributes {name}"));
            }
        }
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, items)),
            _ => return refuse(after, BAD),
        }
    }
}
