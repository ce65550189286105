//! Reading a skiplist file by its lists, with or without the changes of an unfinished transaction.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::super::{DbError, Each};
use crate::format::skiplist::{DUMMY, Header, Kind, LISTS, Record, compare};

/// Pointers of records that differ from those in the file, by the record's offset.
pub(super) type Patches = BTreeMap<u32, Vec<u32>>;

/// A file, what a transaction will append to it, and the pointers it will change.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    path: &'a Path,
    base: &'a [u8],
    tail: &'a [u8],
    lists: usize,
    patches: &'a Patches,
}

/// A record, its place and its pointers.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) offset: u32,
    pub(super) record: Record<'a>,
    patched: Option<&'a [u32]>,
}

impl Node<'_> {
    pub(super) fn pointer(&self, list: usize) -> u32 {
        match self.patched {
            Some(pointers) => pointers.get(list).copied().unwrap_or(0),
            None => self.record.pointer(list),
        }
    }

    pub(super) fn pointers(&self) -> Vec<u32> {
        self.patched
            .map_or_else(|| self.record.pointers(), <[u32]>::to_vec)
    }
}

/// The place of a key in every list.
pub(super) struct Found<'a> {
    /// The record of the key.
    pub(super) hit: Option<Node<'a>>,
    /// The first record that is not before the key.
    pub(super) from: Option<Node<'a>>,
    /// The last record before the key, list by list.
    pub(super) before: [u32; LISTS],
    /// What each of those points to in its list.
    pub(super) after: [u32; LISTS],
}

impl<'a> View<'a> {
    pub(super) fn new(
        path: &'a Path,
        base: &'a [u8],
        tail: &'a [u8],
        header: &Header,
        patches: &'a Patches,
    ) -> Self {
        Self {
            path,
            base,
            tail,
            lists: (header.level as usize).min(LISTS),
            patches,
        }
    }

    pub(super) fn damaged(&self, at: u32, what: impl Into<std::borrow::Cow<'static, str>>) -> DbError {
        DbError::damaged(self.path, u64::from(at), what)
    }

    pub(super) fn node(&self, offset: u32) -> Result<Node<'a>, DbError> {
        if offset < DUMMY || !offset.is_multiple_of(4) {
            return Err(self.damaged(offset, "a pointer to where no record can be"));
        }
        let at = offset as usize;
        let bytes = match at.checked_sub(self.base.len()) {
            None => self.base.get(at..),
            Some(at) => self.tail.get(at..),
        };
        let record = Record::parse(bytes.unwrap_or_default())
            .map_err(|damage| self.damaged(offset, damage.to_string()))?;
        Ok(Node {
            offset,
            record,
            patched: self.patches.get(&offset).map(Vec::as_slice),
        })
    }

    pub(super) fn dummy(&self) -> Result<Node<'a>, DbError> {
        let node = self.node(DUMMY)?;
        if node.record.kind != Kind::Dummy || node.record.level() < self.lists {
            return Err(self.damaged(DUMMY, "the first record is not the dummy"));
        }
        Ok(node)
    }

    /// The record that a record points to in a list. Keys must rise, so no list goes on for ever.
    pub(super) fn next(&self, node: &Node<'a>, list: usize) -> Result<Option<Node<'a>>, DbError> {
        let link = node.pointer(list);
        if link == 0 {
            return Ok(None);
        }
        let next = self.node(link)?;
        if !matches!(next.record.kind, Kind::InOrder | Kind::Add) {
            return Err(self.damaged(link, "a list leads to a record that is in none"));
        }
        if next.record.level() <= list {
            return Err(self.damaged(link, "a record is in more lists than it has pointers"));
        }
        if node.record.kind != Kind::Dummy && compare(node.record.key, next.record.key).is_ge() {
            return Err(self.damaged(link, "keys are not in order"));
        }
        Ok(Some(next))
    }

    pub(super) fn find(&self, key: &[u8]) -> Result<Found<'a>, DbError> {
        let mut found = Found {
            hit: None,
            from: None,
            before: [DUMMY; LISTS],
            after: [0; LISTS],
        };
        let mut node = self.dummy()?;
        let lists = found
            .before
            .iter_mut()
            .zip(&mut found.after)
            .enumerate()
            .take(self.lists);
        // The record last seen that is not before the key; higher lists often share it with lower ones.
        let mut past = 0;
        for (list, (before, after)) in lists.rev() {
            loop {
                *before = node.offset;
                *after = node.pointer(list);
                if *after == 0 || *after == past {
                    break;
                }
                let Some(next) = self.next(&node, list)? else {
                    break;
                };
                match compare(next.record.key, key) {
                    Ordering::Less => node = next,
                    order => {
                        past = next.offset;
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
        Ok(self.find(key)?.hit.map(|node| node.record.value.to_vec()))
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
            self.next(&self.dummy()?, 0)?
        } else {
            self.find(start)?.from
        };
        while let Some(node) = next {
            if each(node.record.key, node.record.value).is_break() {
                break;
            }
            next = self.next(&node, 0)?;
        }
        Ok(())
    }
}
