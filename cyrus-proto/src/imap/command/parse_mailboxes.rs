//! Commands about mailboxes by name: CREATE, DELETE, RENAME, SUBSCRIBE, LIST, STATUS, APPEND and their like (RFC 9051, section
//! 6.3).

use nom::Parser;

use super::append::Literals;
use super::create::{CreateParams, create_params};
use super::lex::{Parsed, expect, mismatch, refuse, sp, word};
use super::list::{list, list_mailbox, rlist, status_items};
use super::parse::Arguments;
use super::{CommandBody, ListForm, Numbering, Verb};
use crate::imap::sequence::sequence_set;

impl Arguments<'_> {
    /// `create = "CREATE" SP mailbox [create-params]` (RFC 4466, section 6); also with a partition, as Cyrus has it.
    pub(super) fn create<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        let (rest, params) = match rest.starts_with(b" (") {
            true => create_params(rest)?,
            false => {
                let (rest, partition) = self.optional_text(rest)?;
                (
                    rest,
                    CreateParams {
                        partition,
                        special_use: None,
                    },
                )
            }
        };
        let CreateParams {
            partition,
            special_use,
        } = params;
        Ok((
            rest,
            CommandBody::Create {
                mailbox,
                partition,
                special_use,
            },
        ))
    }

    /// `delete = "DELETE" SP mailbox` (RFC 9051, section 9).
    pub(super) fn delete<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        Ok((rest, CommandBody::Delete { mailbox }))
    }

    /// `rename = "RENAME" SP mailbox SP mailbox` (RFC 9051, section 9); also with a partition, as Cyrus has it.
    pub(super) fn rename<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, from) = self.text(input)?;
        let (rest, to) = self.text(rest)?;
        let (rest, partition) = self.optional_text(rest)?;
        Ok((rest, CommandBody::Rename { from, to, partition }))
    }

    /// `subscribe = "SUBSCRIBE" SP mailbox` (RFC 9051, section 9).
    pub(super) fn subscribe<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        Ok((rest, CommandBody::Subscribe { mailbox }))
    }

    /// `unsubscribe = "UNSUBSCRIBE" SP mailbox` (RFC 9051, section 9).
    pub(super) fn unsubscribe<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        Ok((rest, CommandBody::Unsubscribe { mailbox }))
    }

    /// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]` (RFC 9051, section 9).
    pub(super) fn list<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, ()) = expect(sp, || self.missing()).parse(input)?;
        let (rest, command) = list(rest)?;
        Ok((rest, CommandBody::List(command)))
    }

    /// `rlist = "RLIST" SP mailbox SP list-mailbox` (RFC 2193, section 6), and XLIST.
    pub(super) fn rlist<'i>(&self, input: &'i [u8], form: ListForm) -> Parsed<'i, CommandBody> {
        let (rest, command) = self.argument(input, |input| rlist(input, form))?;
        Ok((rest, CommandBody::List(command)))
    }

    /// `lsub = "LSUB" SP mailbox SP list-mailbox` (RFC 3501, section 9), and RLSUB (RFC 2193, section 6).
    pub(super) fn lsub<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, reference) = self.text(input)?;
        let (rest, pattern) = self.argument(rest, list_mailbox)?;
        let pattern = pattern.into_owned();
        Ok(match self.verb {
            Verb::Rlsub => (rest, CommandBody::Rlsub { reference, pattern }),
            _ => (rest, CommandBody::Lsub { reference, pattern }),
        })
    }

    /// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"` (RFC 9051, section 9).
    pub(super) fn status<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        let (rest, items) = self.argument(rest, status_items)?;
        Ok((rest, CommandBody::Status { mailbox, items }))
    }

    /// `xwarmup = "XWARMUP" SP mailbox SP "(" [item *(SP item)] ")"`, as Cyrus has it: what of a mailbox is to be in memory.
    pub(super) fn xwarmup<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        const INVALID: &str = "syntax error in Xwarmup";
        let (rest, mailbox) = self.text(input)?;
        let Some(mut rest) = rest.strip_prefix(b" (") else {
            return refuse(rest, INVALID);
        };
        loop {
            if let Some(rest) = rest.strip_prefix(b")") {
                return Ok((rest, CommandBody::Xwarmup { mailbox }));
            }
            let (mut after, item) = word(rest)?;
            match item.to_ascii_lowercase().as_slice() {
                b"all" | b"index" | b"conversations" | b"annotations" | b"search" => {}
                b"uids" => {
                    let set = |input| (sp, sequence_set).parse(input);
                    (after, _) = expect(set, || INVALID.into()).parse(after)?;
                }
                _ => return refuse(rest, INVALID),
            }
            rest = match after.split_first() {
                Some((b' ', more)) => more,
                Some((b')', _)) => after,
                _ => return refuse(after, INVALID),
            };
        }
    }

    /// `append = "APPEND" SP mailbox 1*append-message` (RFC 4466, section 6).
    pub(super) fn append<'i>(&self, input: &'i [u8]) -> Parsed<'i, CommandBody> {
        let (rest, mailbox) = self.text(input)?;
        if rest.is_empty() {
            return mismatch(rest);
        }
        let (rest, messages) = Literals::new(self.staged).append_messages(rest)?;
        Ok((rest, CommandBody::Append { mailbox, messages }))
    }

    /// `replace = "REPLACE" SP seq-number SP mailbox append-message` (RFC 8508, section 5).
    pub(super) fn replace<'i>(&self, input: &'i [u8], numbering: Numbering) -> Parsed<'i, CommandBody> {
        let (rest, number) = self.argument(input, word)?;
        let message = match number {
            b"*" => None,
            _ => match super::lex::number(number) {
                Ok((&[], number)) if number > 0 => std::num::NonZeroU32::new(number),
                _ => return refuse(rest, self.invalid_sequence()),
            },
        };
        let (rest, mailbox) = self.text(rest)?;
        if rest.is_empty() {
            return mismatch(rest);
        }
        let (rest, replacement) = Literals::new(self.staged).append_message(rest)?;
        let body = CommandBody::Replace {
            numbering,
            message,
            mailbox,
            replacement: Box::new(replacement),
        };
        Ok((rest, body))
    }
}
