//! LIST and STATUS: what of mailboxes is asked (RFC 3501, sections 6.3.8 and 6.3.10; RFC 5258 and what builds upon it).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::opt;
use nom::multi::separated_list1;

use super::fetch::one_or_list;
use super::lex::{
    Parsed, astring, expect, is_atom_char, keyword, mismatch, printable, refuse, sp, string, word,
};
use super::write::{put_astring, put_astring_list, put_string};

/// `LIST [selection] reference patterns [RETURN (...)]`, `XLIST` or `RLIST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCommand {
    /// Which of the three commands, and whether it uses what RFC 5258 adds.
    pub form: ListForm,
    /// Which mailboxes, of those that match.
    pub select: ListSelection,
    /// The reference name.
    pub reference: Vec<u8>,
    /// The patterns.
    pub patterns: Vec<Vec<u8>>,
    /// What to say of each.
    pub returns: ListReturns,
}

/// The ways to ask for a list of mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    /// LIST of RFC 3501: reference and pattern.
    Plain,
    /// LIST with options or several patterns (RFC 5258, section 3).
    Extended,
    /// XLIST, a predecessor of RFC 6154.
    Xlist,
    /// RLIST: with mailboxes on other servers (RFC 2193).
    Rlist,
}

/// Selection options (RFC 5258, section 3.1; RFC 6154, section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListSelection {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `REMOTE`
    pub remote: bool,
    /// `RECURSIVEMATCH`: never without `SUBSCRIBED`.
    pub recursive_match: bool,
    /// `SPECIAL-USE`
    pub special_use: bool,
}

impl ListSelection {
    fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.subscribed, "SUBSCRIBED"),
            (self.remote, "REMOTE"),
            (self.recursive_match, "RECURSIVEMATCH"),
            (self.special_use, "SPECIAL-USE"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
    }
}

/// Return options (RFC 5258, section 3.2; RFC 5819; RFC 6154; RFC 8440; RFC 9590).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReturns {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `CHILDREN`
    pub children: bool,
    /// `SPECIAL-USE`
    pub special_use: bool,
    /// `MYRIGHTS`
    pub my_rights: bool,
    /// `STATUS (...)`
    pub status: Option<StatusItems>,
    /// `METADATA (...)`: entry names, `/shared/...` or `/private/...`.
    pub metadata: Option<Vec<Vec<u8>>>,
}

impl ListCommand {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let extended = self.form == ListForm::Extended;
        let words = |out: &mut Vec<u8>, names: Vec<&'static str>| {
            out.extend_from_slice(names.join(" ").as_bytes());
        };
        if extended {
            out.extend_from_slice(b" (");
            words(out, self.select.names().collect());
            out.push(b')');
        }
        out.push(b' ');
        put_astring(out, &self.reference);
        out.push(b' ');
        match self.patterns.as_slice() {
            [one] if !extended => put_string(out, one),
            many => {
                for (i, pattern) in many.iter().enumerate() {
                    out.push(if i == 0 { b'(' } else { b' ' });
                    put_string(out, pattern);
                }
                out.push(b')');
            }
        }
        if extended {
            out.extend_from_slice(b" RETURN (");
            self.returns.write(out);
            out.push(b')');
        }
    }
}

impl ListReturns {
    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let next = |out: &mut Vec<u8>, name: &str| {
            if out.len() > start {
                out.push(b' ');
            }
            out.extend_from_slice(name.as_bytes());
        };
        for (set, name) in [
            (self.subscribed, "SUBSCRIBED"),
            (self.children, "CHILDREN"),
            (self.special_use, "SPECIAL-USE"),
            (self.my_rights, "MYRIGHTS"),
        ] {
            if set {
                next(out, name);
            }
        }
        if let Some(items) = self.status {
            next(out, "STATUS ");
            items.write(out);
        }
        if let Some(entries) = &self.metadata {
            next(out, "METADATA ");
            put_astring_list(out, entries);
        }
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

    /// `DELETED-STORAGE` (RFC 9208)
    pub const DELETED_STORAGE: Self = Self(1 << 9);
    /// `APPENDLIMIT` (RFC 7889)
    pub const APPENDLIMIT: Self = Self(1 << 10);
    /// `CREATEDMODSEQ`: the modification sequence with which the mailbox came.
    pub const CREATEDMODSEQ: Self = Self(1 << 11);
    /// `XCONVEXISTS`: conversations.
    pub const XCONVEXISTS: Self = Self(1 << 12);
    /// `XCONVUNSEEN`: conversations with unseen messages.
    pub const XCONVUNSEEN: Self = Self(1 << 13);
    /// `XCONVMODSEQ`: the highest modification sequence of a conversation.
    pub const XCONVMODSEQ: Self = Self(1 << 14);
    /// What conversations tell.
    pub(crate) const OF_CONVERSATIONS: Self =
        Self(Self::XCONVEXISTS.0 | Self::XCONVUNSEEN.0 | Self::XCONVMODSEQ.0);

    /// Each item and its name, in the order in which replies carry them.
    pub(crate) const NAMES: [(Self, &'static str); 15] = [
        (Self::MESSAGES, "MESSAGES"),
        (Self::RECENT, "RECENT"),
        (Self::UIDNEXT, "UIDNEXT"),
        (Self::UIDVALIDITY, "UIDVALIDITY"),
        (Self::MAILBOXID, "MAILBOXID"),
        (Self::UNSEEN, "UNSEEN"),
        (Self::SIZE, "SIZE"),
        (Self::DELETED, "DELETED"),
        (Self::CREATEDMODSEQ, "CREATEDMODSEQ"),
        (Self::HIGHESTMODSEQ, "HIGHESTMODSEQ"),
        (Self::XCONVEXISTS, "XCONVEXISTS"),
        (Self::XCONVUNSEEN, "XCONVUNSEEN"),
        (Self::XCONVMODSEQ, "XCONVMODSEQ"),
        (Self::DELETED_STORAGE, "DELETED-STORAGE"),
        (Self::APPENDLIMIT, "APPENDLIMIT"),
    ];

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in the set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The items of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn names_conversations(self) -> Option<String> {
        let asked = Self::NAMES
            .iter()
            .find(|(item, _)| self.contains(*item) && Self::OF_CONVERSATIONS.contains(*item));
        asked.map(|(_, name)| format!("Invalid Status attributes {}", name.to_ascii_lowercase()))
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
pub(super) const MAX_PATTERNS: usize = 128;

/// `list` after its first space (RFC 3501, section 9; RFC 5258, section 6).
pub(super) fn list(input: &[u8]) -> Parsed<'_, ListCommand> {
    let missing = || Cow::Borrowed("Missing required argument to List");
    let (rest, select) = match input.first() {
        Some(b'(') => {
            let (rest, select) = list_select_opts(input)?;
            let (rest, ()) = expect(sp, missing).parse(rest)?;
            (rest, Some(select))
        }
        _ => (input, None),
    };
    let (rest, reference) = expect(astring, missing).parse(rest)?;
    let (rest, ()) = expect(sp, missing_pattern).parse(rest)?;
    let several = rest.starts_with(b"(");
    let (rest, patterns) = mbox_or_pat(rest)?;
    let (rest, returns) = match opt((sp, keyword("RETURN"))).parse(rest)? {
        (rest, Some(_)) => {
            let (rest, returns) = list_return_opts(rest)?;
            (rest, Some(returns))
        }
        (rest, None) => (rest, None),
    };
    if let Some(extra) = rest.strip_prefix(b" ") {
        let extra = printable(&word(extra)?.1.to_ascii_lowercase());
        return refuse(rest, format!("Unexpected extra argument to List: \"{extra}\""));
    }
    let extended = select.is_some() || several || returns.is_some();
    let list = ListCommand {
        form: if extended {
            ListForm::Extended
        } else {
            ListForm::Plain
        },
        select: select.unwrap_or_default(),
        reference: reference.into_owned(),
        patterns,
        returns: returns.unwrap_or_default(),
    };
    Ok((rest, list))
}

/// `XLIST` and `RLIST` (RFC 2193, section 6) after their first space: reference and pattern.
pub(super) fn rlist(input: &[u8], form: ListForm) -> Parsed<'_, ListCommand> {
    let (rest, (reference, (), pattern)) = (astring, sp, list_mailbox).parse(input)?;
    let list = ListCommand {
        form,
        select: ListSelection::default(),
        reference: reference.into_owned(),
        patterns: vec![pattern.into_owned()],
        returns: ListReturns::default(),
    };
    Ok((rest, list))
}

fn missing_pattern() -> Cow<'static, str> {
    Cow::Borrowed("Missing required argument to List: mailbox pattern")
}

/// `mbox-or-pat = list-mailbox / patterns`, `patterns = "(" list-mailbox *(SP list-mailbox) ")"` (RFC 5258, section 6).
fn mbox_or_pat(input: &[u8]) -> Parsed<'_, Vec<Vec<u8>>> {
    let Some(inner) = input.strip_prefix(b"(") else {
        let (rest, pattern) = expect(list_mailbox, missing_pattern).parse(input)?;
        return Ok((rest, vec![pattern.into_owned()]));
    };
    let invalid = || Cow::Borrowed("Invalid syntax in List command");
    let (rest, patterns) = expect(separated_list1(sp, list_mailbox), invalid).parse(inner)?;
    let (rest, _) = expect(tag(&b")"[..]), invalid).parse(rest)?;
    if patterns.len() > MAX_PATTERNS {
        return refuse(input, "Too many patterns in List");
    }
    Ok((rest, patterns.into_iter().map(Cow::into_owned).collect()))
}

/// `list-select-opts = "(" [...] ")"` (RFC 5258, section 6).
fn list_select_opts(input: &[u8]) -> Parsed<'_, ListSelection> {
    let mut select = ListSelection::default();
    let (rest, ()) = options(input, "selection", |name, rest| {
        match name {
            b"SUBSCRIBED" => select.subscribed = true,
            b"REMOTE" => select.remote = true,
            b"RECURSIVEMATCH" => select.recursive_match = true,
            b"SPECIAL-USE" => select.special_use = true,
            _ => return mismatch(rest),
        }
        Ok((rest, ()))
    })?;
    // `list-select-base-opt` has nothing but SUBSCRIBED, and a modifier wants one.
    if select.recursive_match && !select.subscribed {
        return refuse(input, "Invalid combination of selection options");
    }
    Ok((rest, select))
}

/// `SP return-opts`, `return-opts = "(" [return-option *(SP return-option)] ")"` (RFC 5258, section 6).
fn list_return_opts(input: &[u8]) -> Parsed<'_, ListReturns> {
    let Some(input) = input.strip_prefix(b" ").filter(|rest| rest.starts_with(b"(")) else {
        return refuse(input, "Missing return argument list");
    };
    let mut returns = ListReturns::default();
    let (rest, ()) = options(input, "return", |name, rest| {
        match name {
            b"SUBSCRIBED" => returns.subscribed = true,
            b"CHILDREN" => returns.children = true,
            b"SPECIAL-USE" => returns.special_use = true,
            b"MYRIGHTS" => returns.my_rights = true,
            b"STATUS" => {
                let Some(items) = rest.strip_prefix(b" ") else {
                    return refuse(rest, "Bad status string");
                };
                let (rest, items) = status_items(items)?;
                returns.status = Some(items);
                return Ok((rest, ()));
            }
            b"METADATA" => {
                let missing = || Cow::Borrowed("Missing metadata entry");
                let (rest, (_, entries)) = expect((sp, one_or_list), missing).parse(rest)?;
                returns.metadata = Some(entries);
                return Ok((rest, ()));
            }
            _ => return mismatch(rest),
        }
        Ok((rest, ()))
    })?;
    Ok((rest, returns))
}

/// `"(" [option *(SP option)] ")"` (RFC 5258, section 6); `each` takes the name in capitals and what follows, and leaves
/// what it does not use.
fn options<'i>(
    input: &'i [u8],
    kind: &str,
    mut each: impl FnMut(&[u8], &'i [u8]) -> Parsed<'i, ()>,
) -> Parsed<'i, ()> {
    let mut rest = input.strip_prefix(b"(").unwrap_or_default();
    if let Some(rest) = rest.strip_prefix(b")") {
        return Ok((rest, ()));
    }
    loop {
        let (after, name) = word(rest)?;
        let after = match each(&name.to_ascii_uppercase(), after) {
            Ok((after, ())) => after,
            Err(nom::Err::Error(_)) => {
                let name = printable(&name.to_ascii_lowercase());
                return refuse(rest, format!("Invalid List {kind} option \"{name}\""));
            }
            Err(error) => return Err(error),
        };
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, ())),
            _ => {
                let words = format!("Missing close parenthesis for List {kind} options");
                return refuse(after, words);
            }
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
