//! Commands about rights and quotas: SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314), GETQUOTA, GETQUOTAROOT and
//! SETQUOTA (RFC 9208).

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::opt;
use nom::multi::separated_list0;

use super::CommandBody;
use super::lex::{Parsed, expect, is_atom_char, mismatch, number64, refuse, sp, take_one};
use super::parse::Arguments;

impl Arguments<'_> {
    /// `setacl = "SETACL" SP mailbox SP identifier SP mod-rights` (RFC 4314, section 7).
    pub(super) fn setacl<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        let (rest, identifier) = self.text(rest)?;
        let (rest, rights) = self.text(rest)?;
        Ok((
            rest,
            CommandBody::SetAcl {
                mailbox,
                identifier,
                rights,
            },
        ))
    }

    /// `deleteacl = "DELETEACL" SP mailbox SP identifier` (RFC 4314, section 7).
    pub(super) fn deleteacl<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        let (rest, identifier) = self.text(rest)?;
        Ok((rest, CommandBody::DeleteAcl { mailbox, identifier }))
    }

    /// `getacl = "GETACL" SP mailbox` (RFC 4314, section 7).
    pub(super) fn getacl<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        Ok((rest, CommandBody::GetAcl { mailbox }))
    }

    /// `listrights = "LISTRIGHTS" SP mailbox SP identifier` (RFC 4314, section 7).
    pub(super) fn listrights<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        let (rest, identifier) = self.text(rest)?;
        Ok((rest, CommandBody::ListRights { mailbox, identifier }))
    }

    /// `myrights = "MYRIGHTS" SP mailbox` (RFC 4314, section 7).
    pub(super) fn myrights<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        Ok((rest, CommandBody::MyRights { mailbox }))
    }

    /// `getquota = "GETQUOTA" SP quota-root-name` (RFC 9208, section 6).
    pub(super) fn getquota<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, root) = self.text(input)?;
        Ok((rest, CommandBody::GetQuota { root }))
    }

    /// `getquotaroot = "GETQUOTAROOT" SP mailbox` (RFC 9208, section 6).
    pub(super) fn getquotaroot<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        Ok((rest, CommandBody::GetQuotaRoot { mailbox }))
    }

    /// `setquota = "SETQUOTA" SP quota-root-name SP setquota-list` (RFC 9208, section 6); -1 for no limit, as Cyrus reads it.
    pub(super) fn setquota<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        const INVALID: &str = "Invalid quota list in Setquota";
        const MAX_RESOURCES: usize = 64;
        let (rest, root) = self.text(input)?;
        let (rest, ()) = expect(sp, || self.missing()).parse(rest)?;
        let limit = |input| {
            let (rest, resource) = take_while1(is_atom_char).parse(input)?;
            let (rest, ()) = sp(rest)?;
            let (rest, minus) = opt(take_one(|c| c == b'-')).parse(rest)?;
            let (rest, limit) = number64(rest)?;
            match i64::try_from(limit) {
                Ok(1) if minus.is_some() => Ok((rest, (resource.to_vec(), -1))),
                Ok(limit) if minus.is_none() => Ok((rest, (resource.to_vec(), limit))),
                _ => mismatch(input),
            }
        };
        let (rest, _) = expect(tag(&b"("[..]), || INVALID.into()).parse(rest)?;
        let (rest, limits) = separated_list0(sp, limit).parse(rest)?;
        let (rest, _) = expect(tag(&b")"[..]), || INVALID.into()).parse(rest)?;
        if limits.len() > MAX_RESOURCES {
            return refuse(input, INVALID);
        }
        Ok((rest, CommandBody::SetQuota { root, limits }))
    }
}
