//! Parameters and modifiers by which clients synchronise: SELECT, FETCH and STORE of RFC 7162, and ENABLE of RFC 5161.

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::multi::many1;
use nom::sequence::preceded;

use super::lex::{Parsed, expect, is_atom_char, number64, printable, refuse, sp};

/// The parameters of SELECT and EXAMINE (RFC 4466, section 2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectParameters {
    /// `CONDSTORE` (RFC 7162, section 3.1.8).
    pub condstore: bool,
    /// `ANNOTATE`: changes of annotations are of interest (RFC 5257, section 4.7).
    pub annotate: bool,
}

/// The modifiers of FETCH (RFC 4466, section 2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchModifiers {
    /// `CHANGEDSINCE n`: only messages with a higher modification sequence (RFC 7162, section 3.1.4.1).
    pub changed_since: Option<u64>,
}

impl SelectParameters {
    fn write(&self, out: &mut Vec<u8>, list: &mut List) {
        if self.condstore {
            list.item(out, "CONDSTORE");
        }
        if self.annotate {
            list.item(out, "ANNOTATE");
        }
    }

    /// Appends ` (CONDSTORE ...)`, or nothing.
    pub(super) fn write_list(&self, out: &mut Vec<u8>) {
        let mut list = List::default();
        self.write(out, &mut list);
        list.end(out);
    }
}

impl FetchModifiers {
    /// Appends ` (CHANGEDSINCE n ...)`, or nothing.
    pub(super) fn write_list(&self, out: &mut Vec<u8>) {
        let mut list = List::default();
        if let Some(since) = self.changed_since {
            list.item(out, &format!("CHANGEDSINCE {since}"));
        }
        list.end(out);
    }
}

/// A parenthesized list that is left out when it is empty.
#[derive(Default)]
struct List {
    open: bool,
}

impl List {
    fn item(&mut self, out: &mut Vec<u8>, text: &str) {
        out.extend_from_slice(if self.open { b" " } else { b" (" });
        self.open = true;
        out.extend_from_slice(text.as_bytes());
    }

    fn end(self, out: &mut Vec<u8>) {
        if self.open {
            out.push(b')');
        }
    }
}

/// The most names in one ENABLE.
const MAX_EXTENSIONS: usize = 256;

/// `enable = "ENABLE" 1*(SP capability)` after its name (RFC 5161, section 4).
pub(super) fn enable<'i>(
    input: &'i [u8],
    missing: impl Fn() -> Cow<'static, str>,
) -> Parsed<'i, Vec<Vec<u8>>> {
    let capability = take_while1(|c| is_atom_char(c) || c == b']');
    let (rest, names) = expect(many1(preceded(sp, capability)), missing).parse(input)?;
    if names.len() > MAX_EXTENSIONS {
        return refuse(input, "Too many capabilities in Enable");
    }
    Ok((rest, names.into_iter().map(<[u8]>::to_vec).collect()))
}

/// `select-params = SP "(" select-param *(SP select-param) ")"` (RFC 4466, section 6), or nothing.
pub(super) fn select_params<'i>(input: &'i [u8], command: &str) -> Parsed<'i, SelectParameters> {
    let mut parameters = SelectParameters::default();
    if input.is_empty() {
        return Ok((input, parameters));
    }
    let Some(mut rest) = input.strip_prefix(b" (").filter(|rest| !rest.starts_with(b")")) else {
        return refuse(input, format!("Invalid modifier list in {command}"));
    };
    loop {
        let (after, name) = modifier_name(rest)?;
        let after = match name.to_ascii_uppercase().as_slice() {
            b"CONDSTORE" => {
                parameters.condstore = true;
                after
            }
            b"ANNOTATE" => {
                parameters.annotate = true;
                after
            }
            _ => {
                let name = printable(&name.to_ascii_uppercase());
                return refuse(rest, format!("Invalid {command} modifier {name}"));
            }
        };
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, parameters)),
            _ => return refuse(after, format!("Missing close parenthesis in {command}")),
        }
    }
}

/// `fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")"` (RFC 4466, section 6), or nothing.
pub(super) fn fetch_modifiers<'i>(input: &'i [u8], command: &str) -> Parsed<'i, FetchModifiers> {
    let mut modifiers = FetchModifiers::default();
    if input.is_empty() {
        return Ok((input, modifiers));
    }
    let Some(mut rest) = input.strip_prefix(b" (") else {
        return refuse(
            input,
            format!("Missing required open parenthesis in {command} modifiers"),
        );
    };
    loop {
        let (after, name) = modifier_name(rest)?;
        let upper = name.to_ascii_uppercase();
        let after = match upper.as_slice() {
            b"CHANGEDSINCE" => {
                let (after, since) = mod_sequence(after, command, "CHANGEDSINCE")?;
                modifiers.changed_since = Some(since);
                after
            }
            name => {
                let name = printable(name);
                return refuse(rest, format!("Invalid {command} modifier {name}"));
            }
        };
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, modifiers)),
            _ => return refuse(after, format!("Missing close parenthesis in {command}")),
        }
    }
}

/// `store-modifiers = "(" store-modifier *(SP store-modifier) ")" SP` (RFC 4466, section 6), or nothing: what
/// UNCHANGEDSINCE says (RFC 7162, section 3.1.3).
pub(super) fn store_modifiers<'i>(input: &'i [u8], command: &str) -> Parsed<'i, Option<u64>> {
    let Some(mut rest) = input.strip_prefix(b"(") else {
        return Ok((input, None));
    };
    loop {
        let (after, name) = modifier_name(rest)?;
        let upper = name.to_ascii_uppercase();
        let (after, since) = match upper.as_slice() {
            b"UNCHANGEDSINCE" => mod_sequence(after, command, "UNCHANGEDSINCE")?,
            name => {
                let name = printable(name);
                return refuse(rest, format!("Invalid {command} modifier {name}"));
            }
        };
        match after.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => {
                let (rest, ()) = sp(more)?;
                return Ok((rest, Some(since)));
            }
            _ => return refuse(after, format!("Missing close parenthesis in {command}")),
        }
    }
}

/// The name of a parameter or modifier; perhaps nothing.
fn modifier_name(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(is_atom_char).parse(input)
}

/// `SP mod-sequence-valzer` (RFC 7162, section 7), the argument of a modifier.
fn mod_sequence<'i>(input: &'i [u8], command: &str, modifier: &str) -> Parsed<'i, u64> {
    let invalid = || Cow::Owned(format!("Invalid argument to {command} {modifier}"));
    let (rest, (_, since)) = expect((tag(&b" "[..]), number64), invalid).parse(input)?;
    Ok((rest, since))
}
