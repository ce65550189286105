//! Reading a twoskip file, with or without the changes of an unfinished transaction.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::path::Path;

use super::super::{DbError, Each, Entry};
use super::Patches;
use crate::format::twoskip::{DUMMY, Damage, Header, Kind, MAX_LEVEL, Record};

/// A database as of the last commit plus what a transaction has appended and repointed.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    path: &'a Path,
    /// The file up to the last commit.
    base: &'a [u8],
    /// What comes after it.
    tail: &'a [u8],
    patches: &'a Patches,
}

/// A record, its place and its pointers.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) offset: u64,
    pub(super) record: Record<'a>,
    patched: Option<&'a [u64]>,
}

impl<'a> Node<'a> {
    pub(super) fn pointer(&self, index: usize) -> u64 {
        match self.patched {
            Some(pointers) => pointers.get(index).copied().unwrap_or(0),
            None => self.record.pointer(index),
        }
    }

    pub(super) fn pointers(&self) -> Vec<u64> {
        self.patched
            .map_or_else(|| self.record.pointers(), <[u64]>::to_vec)
    }

    /// In how many lists the record is.
    pub(super) fn level(&self) -> usize {
        usize::from(self.record.level)
    }
}

/// The place of a key in every list.
pub(super) struct Found<'a> {
    /// The record of the key.
    pub(super) hit: Option<Node<'a>>,
    /// The first record that is not before the key.
    pub(super) from: Option<Node<'a>>,
    /// The last record before the key, list by list.
    pub(super) before: [u64; LISTS],
    /// What each of those points to in its list.
    pub(super) after: [u64; LISTS],
}

pub(super) const LISTS: usize = MAX_LEVEL as usize;

impl<'a> View<'a> {
    /// The database as of the last commit.
    pub(super) fn committed(path: &'a Path, file: &'a [u8], header: &Header, patches: &'a Patches) -> Self {
        let end = usize::try_from(header.current_size).unwrap_or(usize::MAX);
        Self {
            path,
            base: file.get(..end).unwrap_or(file),
            tail: &[],
            patches,
        }
    }

    /// The same with the octets that a transaction will append.
    pub(super) fn with_tail(self, tail: &'a [u8]) -> Self {
        Self { tail, ..self }
    }

    /// Where the last commit ends.
    fn commit_end(&self) -> u64 {
        self.base.len() as u64
    }

    fn end(&self) -> u64 {
        self.commit_end() + self.tail.len() as u64
    }

    pub(super) fn damaged(&self, at: u64, damage: Damage) -> DbError {
        DbError::damaged(self.path, at, damage.to_string())
    }

    fn misplaced(&self, at: u64, what: &'static str) -> DbError {
        DbError::damaged(self.path, at, what)
    }

    pub(super) fn node(&self, offset: u64) -> Result<Node<'a>, DbError> {
        if offset < DUMMY || !offset.is_multiple_of(8) {
            return Err(self.misplaced(offset, "a pointer to where no record can be"));
        }
        let (piece, at) = match offset.checked_sub(self.commit_end()) {
            None => (self.base, offset),
            Some(at) => (self.tail, at),
        };
        let bytes = usize::try_from(at)
            .ok()
            .and_then(|at| piece.get(at..))
            .unwrap_or_default();
        let record = Record::parse(bytes).map_err(|damage| self.damaged(offset, damage))?;
        Ok(Node {
            offset,
            record,
            patched: self.patches.get(&offset).map(Vec::as_slice),
        })
    }

    /// What the record points to in a list, as far as that may be trusted; 0 at the end.
    pub(super) fn link(&self, node: &Node<'a>, list: usize) -> u64 {
        let end = self.end();
        let trusted = |index| {
            Some(node.pointer(index))
                .filter(|pointer| *pointer < end)
                .unwrap_or(0)
        };
        if list == 0 && node.level() > 0 {
            trusted(0).max(trusted(1))
        } else {
            trusted(list + 1)
        }
    }

    /// The live record that a link leads to: the one it names, or the one after a deletion.
    pub(super) fn live(&self, link: u64) -> Result<Option<Node<'a>>, DbError> {
        let mut link = link;
        for _ in 0..MOST_DELETIONS {
            if link == 0 {
                return Ok(None);
            }
            let node = self.node(link)?;
            match node.record.kind {
                Kind::Live => return Ok(Some(node)),
                Kind::Delete => link = node.pointer(0),
                Kind::Dummy | Kind::Commit => {
                    return Err(self.misplaced(link, "a list leads to a record that is in none"));
                }
            }
        }
        Err(self.misplaced(link, "a list goes in a circle"))
    }

    /// The start of all lists.
    pub(super) fn dummy(&self) -> Result<Node<'a>, DbError> {
        let node = self.node(DUMMY)?;
        if node.record.kind != Kind::Dummy || node.record.level != MAX_LEVEL {
            return Err(self.misplaced(DUMMY, "the first record is not the dummy"));
        }
        Ok(node)
    }

    /// The record after this one in the lowest list.
    ///
    /// Keys must rise, so following this from anywhere comes to an end.
    pub(super) fn next(&self, node: &Node<'a>) -> Result<Option<Node<'a>>, DbError> {
        let next = self.live(self.link(node, 0))?;
        if let Some(next) = &next {
            self.rises(node, next)?;
        }
        Ok(next)
    }

    pub(super) fn rises(&self, node: &Node<'a>, next: &Node<'a>) -> Result<(), DbError> {
        if node.record.kind == Kind::Live && next.record.key <= node.record.key {
            return Err(self.misplaced(next.offset, "keys are not in order"));
        }
        Ok(())
    }

    /// Looks a key up in every list.
    pub(super) fn find(&self, key: &[u8]) -> Result<Found<'a>, DbError> {
        let mut found = Found {
            hit: None,
            from: None,
            before: [DUMMY; LISTS],
            after: [0; LISTS],
        };
        let mut node = self.dummy()?;
        // The link last seen to lead to the key or past it; higher lists often share it with lower ones.
        let mut past = 0;
        for (list, (before, after)) in found.before.iter_mut().zip(&mut found.after).enumerate().rev() {
            loop {
                *before = node.offset;
                *after = self.link(&node, list);
                if *after == 0 || *after == past {
                    break;
                }
                let Some(next) = self.live(*after)? else { break };
                if next.level() <= list {
                    return Err(self.misplaced(next.offset, "a record is in more lists than it has pointers"));
                }
                match next.record.key.cmp(key) {
                    Ordering::Less => {
                        self.rises(&node, &next)?;
                        node = next;
                    }
                    order => {
                        past = *after;
                        found.from = Some(next);
                        if order == Ordering::Equal {
                            found.hit = Some(next);
                        }
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        match self.find(key)?.hit {
            Some(node) => {
                self.check_tail(&node)?;
                Ok(Some(node.record.value.to_vec()))
            }
            None => Ok(None),
        }
    }

    pub(super) fn scan(&self, prefix: &[u8], each: Each<'_>) -> Result<(), DbError> {
        self.scan_from(prefix, &mut |key, value| {
            if key.starts_with(prefix) {
                each(key, value)
            } else {
                ControlFlow::Break(())
            }
        })
    }

    pub(super) fn scan_from(&self, start: &[u8], each: Each<'_>) -> Result<(), DbError> {
        let mut next = if start.is_empty() {
            self.next(&self.dummy()?)?
        } else {
            self.find(start)?.from
        };
        while let Some(node) = next {
            self.check_tail(&node)?;
            if each(node.record.key, node.record.value).is_break() {
                break;
            }
            next = self.next(&node)?;
        }
        Ok(())
    }

    /// All keys and values.
    pub(super) fn entries(&self) -> Result<Vec<Entry<'a>>, DbError> {
        let mut entries = Vec::new();
        let mut next = self.next(&self.dummy()?)?;
        while let Some(node) = next {
            self.check_tail(&node)?;
            entries.push((node.record.key, node.record.value));
            next = self.next(&node)?;
        }
        Ok(entries)
    }

    fn check_tail(&self, node: &Node<'a>) -> Result<(), DbError> {
        node.record
            .check_tail()
            .map_err(|damage| self.damaged(node.offset, damage))
    }
}

/// Deletions that may follow each other before a live record; one is all that is ever written.
const MOST_DELETIONS: usize = 64;
