//! COMPRESS (RFC 4978).

use nom::Parser;
use nom::bytes::complete::take_while1;

use super::CommandBody;
use super::lex::{Parsed, expect, is_atom_char};

/// `compress = "COMPRESS" SP algorithm` after its first space; any atom, the session knows those that there are.
pub(super) fn compress(input: &[u8]) -> Parsed<'_, CommandBody> {
    let missing = || "Missing required argument to Compress".into();
    let (rest, algorithm) = expect(take_while1(is_atom_char), missing).parse(input)?;
    let algorithm = algorithm.to_vec();
    Ok((rest, CommandBody::Compress { algorithm }))
}
