//! What CREATE may say of the new mailbox: partition and special uses (RFC 4466, section 2.2; RFC 6154, section 3).

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::tag;
use nom::multi::separated_list0;

use super::lex::{Parsed, astring, expect, mismatch, printable, refuse, sp, word};
use super::write::put_astring;

/// The parameters of one CREATE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CreateParams {
    /// The partition, which administrators may name.
    pub(super) partition: Option<Vec<u8>>,
    /// `USE (...)`
    pub(super) special_use: Option<Vec<Vec<u8>>>,
}

/// `create-params = SP "(" create-param *(SP create-param) ")"` (RFC 4466, section 3).
pub(super) fn create_params(input: &[u8]) -> Parsed<'_, CreateParams> {
    let mut params = CreateParams::default();
    let (mut rest, _) = expect((sp, tag(&b"("[..])), invalid).parse(input)?;
    loop {
        let (after, name) = word(rest)?;
        rest = match name.to_ascii_uppercase().as_slice() {
            b"USE" => {
                let (after, (_, uses)) = expect((sp, use_attrs), invalid).parse(after)?;
                params.special_use = Some(uses);
                after
            }
            b"PARTITION" => {
                let (after, (_, partition)) = expect((sp, astring), invalid).parse(after)?;
                params.partition = Some(partition.into_owned());
                after
            }
            b"" => return refuse(rest, invalid()),
            name => {
                let name = printable(name);
                return refuse(rest, format!("Unrecognized Create parameter {name}"));
            }
        };
        match rest.split_first() {
            Some((b' ', more)) => rest = more,
            Some((b')', more)) => return Ok((more, params)),
            _ => return refuse(rest, invalid()),
        }
    }
}

/// `"(" [use-attr *(SP use-attr)] ")"` (RFC 6154, section 6).
fn use_attrs(input: &[u8]) -> Parsed<'_, Vec<Vec<u8>>> {
    let (rest, _) = tag(&b"("[..]).parse(input)?;
    let (rest, uses) = separated_list0(sp, use_attr).parse(rest)?;
    let (rest, _) = tag(&b")"[..]).parse(rest)?;
    if uses.len() > MAX_USES {
        return refuse(input, "Too many special uses in Create");
    }
    Ok((rest, uses.into_iter().map(<[u8]>::to_vec).collect()))
}

/// `use-attr = "\All" / ... / use-attr-ext` (RFC 6154, section 6): a backslash and an atom. The backslash may be missing, as
/// `cyradm` loses it.
fn use_attr(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, name) = word(input)?;
    match !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
        true => Ok((rest, name)),
        false => mismatch(input),
    }
}

fn invalid() -> Cow<'static, str> {
    Cow::Borrowed("Invalid partition name in Create")
}

pub(super) fn write_create_params(
    out: &mut Vec<u8>,
    partition: Option<&[u8]>,
    special_use: Option<&[Vec<u8>]>,
) {
    let Some(uses) = special_use else {
        if let Some(partition) = partition {
            out.push(b' ');
            put_astring(out, partition);
        }
        return;
    };
    out.extend_from_slice(b" (");
    if let Some(partition) = partition {
        out.extend_from_slice(b"PARTITION ");
        put_astring(out, partition);
        out.push(b' ');
    }
    out.extend_from_slice(b"USE (");
    out.extend_from_slice(&uses.join(&b' '));
    out.extend_from_slice(b"))");
}

/// The most special uses of one mailbox.
const MAX_USES: usize = 32;
