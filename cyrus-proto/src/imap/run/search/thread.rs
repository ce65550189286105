//! THREAD: messages into trees (RFC 5256, section 3; REFS as Cyrus has it).
//!
//! Chains of a hundred thousand replies are possible, so nothing here recurses.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::imap::command::ThreadAlgorithm;
use crate::imap::response::put_number;

/// What threads are made of: one message.
#[derive(Clone, Copy)]
pub(super) struct Mail<'a> {
    /// What the client calls it.
    pub(super) number: u32,
    /// When it was sent, Unix seconds.
    pub(super) date: i64,
    /// When it was received.
    pub(super) arrival: i64,
    /// The base subject, in the form that is compared.
    pub(super) subject: &'a str,
    /// Whether the subject had a mark of a reply.
    pub(super) is_reply: bool,
}

/// A message id with its hash under the key of [`Threads::hasher`].
#[derive(Clone, Copy)]
pub(super) struct MessageId<'a> {
    pub(super) hash: u64,
    pub(super) text: &'a [u8],
}

/// Messages on their way into threads.
pub(super) struct Threads<'a> {
    mails: Vec<Mail<'a>>,
    nodes: Vec<Node>,
    ids: HashMap<u64, Place<'a>, Identity>,
}

/// A message, or the place of one that is only referred to.
struct Node {
    /// Which message; `NONE` for none.
    mail: u32,
    parent: u32,
    children: Vec<u32>,
    /// Another one that it was linked with, or itself: see [`Threads::group`].
    group: u32,
}

const NONE: u32 = u32::MAX;

/// The threads of one subject.
struct Group {
    /// The one that the others join.
    first: u32,
    is_reply: bool,
    is_alone: bool,
}

/// How far a loop is looked for. Only messages that come after their replies, and contradict them, are looked at.
const MAX_CLIMB: usize = 4_096;

impl Node {
    fn is_message(&self) -> bool {
        self.mail != NONE
    }
}

/// Where a message id leads. Nobody can make hashes collide from outside, and two that do are still told apart.
#[derive(Clone, Copy)]
struct Place<'a> {
    node: u32,
    id: &'a [u8],
}

impl<'a> Threads<'a> {
    /// None yet; `mails` and `ids` are how many are to come.
    pub(super) fn with_room(mails: usize, ids: usize) -> Self {
        Self {
            mails: Vec::with_capacity(mails),
            nodes: Vec::with_capacity(mails.max(ids)),
            ids: HashMap::with_capacity_and_hasher(ids, Identity),
        }
    }

    /// The hasher of message ids, with a key that no other command has.
    pub(super) fn hasher() -> RandomState {
        RandomState::new()
    }

    fn node(&mut self) -> u32 {
        let index = u32::try_from(self.nodes.len()).unwrap_or(NONE - 1);
        self.nodes.push(Node {
            mail: NONE,
            parent: NONE,
            children: Vec::new(),
            group: index,
        });
        index
    }

    fn at(&mut self, index: u32) -> &mut Node {
        self.nodes
            .get_mut(index as usize)
            .expect("indices are handed out by node() alone, and nodes are never removed")
    }

    fn get(&self, index: u32) -> &Node {
        self.nodes
            .get(index as usize)
            .expect("indices are handed out by node() alone, and nodes are never removed")
    }

    /// The message that stands first in a node: its own, or that of its first child.
    fn first_mail(&self, node: u32) -> Option<&Mail<'a>> {
        let found = self.get(node);
        let node = match (found.is_message(), found.children.first()) {
            (false, Some(&first)) => self.get(first),
            _ => found,
        };
        self.mails.get(node.mail as usize)
    }

    /// Adds a message, in the order of the mailbox, with its id, and what it refers to, the oldest first.
    pub(super) fn add(
        &mut self,
        mail: Mail<'a>,
        id: Option<MessageId<'a>>,
        references: impl Iterator<Item = MessageId<'a>>,
    ) {
        // A second message with an id counts as one without.
        let known = id.map(|id| self.place_of(id));
        let known = known.filter(|&place| !self.get(place).is_message());
        let own = known.unwrap_or_else(|| self.node());
        self.at(own).mail = u32::try_from(self.mails.len()).unwrap_or(NONE - 1);
        self.mails.push(mail);
        let mut parent = NONE;
        for reference in references {
            let place = self.place_of(reference);
            if parent != NONE && self.get(place).parent == NONE {
                self.link(place, parent);
            }
            parent = place;
        }
        // What others said of its parent gives way to what the message itself says, even if that is nothing.
        if self.get(own).parent != parent {
            self.at(own).parent = NONE;
            self.link(own, parent);
        }
    }

    /// Makes `parent` the parent of `node`, unless that would be a loop.
    fn link(&mut self, node: u32, parent: u32) {
        if parent == NONE || node == parent {
            return;
        }
        let (group, other) = (self.group(node), self.group(parent));
        // Two that were never linked, however far round, cannot make a loop.
        if group != other {
            self.at(group).group = other;
        } else if self.is_within(parent, node) {
            return;
        }
        self.at(node).parent = parent;
    }

    /// One node that stands for all that were ever linked with this one.
    fn group(&mut self, node: u32) -> u32 {
        let mut at = node;
        while self.get(at).group != at {
            let next = self.get(self.get(at).group).group;
            self.at(at).group = next;
            at = next;
        }
        at
    }

    fn place_of(&mut self, id: MessageId<'a>) -> u32 {
        let mut slot = id.hash;
        while let Some(place) = self.ids.get(&slot) {
            if place.id == id.text {
                return place.node;
            }
            slot = slot.wrapping_add(1);
        }
        let node = self.node();
        let place = Place { node, id: id.text };
        self.ids.insert(slot, place);
        node
    }

    /// Whether `node` is `top`, or below it; yes if it is too deep down to tell.
    fn is_within(&self, node: u32, top: u32) -> bool {
        let mut at = node;
        for _ in 0..MAX_CLIMB {
            if at == top {
                return true;
            }
            if at == NONE {
                return false;
            }
            at = self.get(at).parent;
        }
        true
    }

    /// The threads, as the answer has them: `(1 2 (3)(4))(5)`.
    pub(super) fn finish(mut self, algorithm: ThreadAlgorithm, out: &mut Vec<u8>) {
        let mut roots = match algorithm {
            ThreadAlgorithm::OrderedSubject => self.by_subject(),
            ThreadAlgorithm::References | ThreadAlgorithm::Refs => self.linked(),
        };
        match algorithm {
            ThreadAlgorithm::OrderedSubject => {}
            ThreadAlgorithm::References => {
                self.sort_by_date(&mut roots);
                roots = self.joined_by_subject(roots);
                self.sort_all(&mut roots);
            }
            ThreadAlgorithm::Refs => {
                self.sort_all(&mut roots);
                let mut newest: Vec<(i64, u32)> =
                    roots.iter().map(|&root| (self.newest(root), root)).collect();
                newest.sort_by_key(|&(arrival, root)| (arrival, self.first_number(root)));
                roots = newest.iter().map(|&(_, root)| root).collect();
            }
        }
        self.write(&roots, out);
    }

    /// Makes children of parents, takes places without message out, and gives the roots.
    fn linked(&mut self) -> Vec<u32> {
        let count = u32::try_from(self.nodes.len()).unwrap_or(NONE - 1);
        // A place without message is only a link in a chain, unless it is the root of several.
        let mut roots = Vec::new();
        let mut tops = vec![NONE; self.nodes.len()];
        let mut path = Vec::new();
        for node in 0..count {
            if !self.get(node).is_message() {
                continue;
            }
            let parent = self.get(node).parent;
            if parent == NONE {
                roots.push(node);
                continue;
            }
            // The nearest message above, or the topmost place.
            let mut top = parent;
            while !self.get(top).is_message() {
                let known = tops.get(top as usize).copied().unwrap_or(NONE);
                if known != NONE {
                    top = known;
                    break;
                }
                path.push(top);
                match self.get(top).parent {
                    NONE => break,
                    above => top = above,
                }
            }
            for place in path.drain(..) {
                if let Some(slot) = tops.get_mut(place as usize) {
                    *slot = top;
                }
            }
            if !self.get(top).is_message() && self.get(top).children.is_empty() {
                roots.push(top);
            }
            self.at(top).children.push(node);
        }
        for root in &mut roots {
            let node = self.get(*root);
            if !node.is_message()
                && let [only] = node.children[..]
            {
                *root = only;
            }
        }
        roots
    }

    fn date_of(&self, node: u32) -> (i64, u32) {
        self.first_mail(node)
            .map_or((0, 0), |mail| (mail.date, mail.number))
    }

    /// The number of the message at the root of a thread; of equally new threads, those without one are first.
    fn first_number(&self, root: u32) -> u32 {
        match self.get(root).is_message() {
            true => self.date_of(root).1,
            false => 0,
        }
    }

    /// Sorts the children of roots that are no messages, then the roots.
    fn sort_by_date(&mut self, roots: &mut [u32]) {
        for &root in roots.iter() {
            if !self.get(root).is_message() {
                self.sort_children(root);
            }
        }
        roots.sort_by_cached_key(|&root| self.date_of(root));
    }

    fn sort_children(&mut self, node: u32) {
        let mut children = std::mem::take(&mut self.at(node).children);
        children.sort_by_key(|&child| self.date_of(child));
        self.at(node).children = children;
    }

    /// Sorts everything, from the leaves up, because places without message have their first child's date.
    fn sort_all(&mut self, roots: &mut [u32]) {
        let mut order = roots.to_vec();
        let mut at = 0;
        while let Some(&node) = order.get(at) {
            order.extend_from_slice(&self.get(node).children);
            at += 1;
        }
        for &node in order.iter().rev() {
            if self.get(node).children.len() > 1 {
                self.sort_children(node);
            }
        }
        roots.sort_by_cached_key(|&root| self.date_of(root));
    }

    /// When the newest message of a thread was received.
    fn newest(&self, root: u32) -> i64 {
        let mut newest = i64::MIN;
        let mut waiting = vec![root];
        while let Some(node) = waiting.pop() {
            let node = self.get(node);
            if let Some(mail) = self.mails.get(node.mail as usize) {
                newest = newest.max(mail.arrival);
            }
            waiting.extend_from_slice(&node.children);
        }
        newest
    }

    /// Joins threads of one subject (RFC 5256, section 3, REFERENCES, step 5).
    fn joined_by_subject(&mut self, roots: Vec<u32>) -> Vec<u32> {
        let mut table: HashMap<&str, usize> = HashMap::with_capacity(roots.len());
        let mut groups: Vec<Group> = Vec::with_capacity(roots.len());
        // Which group each root belongs to; none without a subject.
        let mut members: Vec<Option<usize>> = Vec::with_capacity(roots.len());
        for &root in &roots {
            let mail = self.first_mail(root);
            let (subject, is_reply) = mail.map_or(("", false), |mail| (mail.subject, mail.is_reply));
            if subject.is_empty() {
                members.push(None);
                continue;
            }
            let number = *table.entry(subject).or_insert(groups.len());
            members.push(Some(number));
            match groups.get_mut(number) {
                None => groups.push(Group {
                    first: root,
                    is_reply,
                    is_alone: true,
                }),
                Some(group) => {
                    group.is_alone = false;
                    let first_is_message = self.get(group.first).is_message();
                    let is_message = self.get(root).is_message();
                    if first_is_message && (!is_message || group.is_reply && !is_reply) {
                        (group.first, group.is_reply) = (root, is_reply);
                    }
                }
            }
        }
        let mut joined: Vec<u32> = Vec::with_capacity(roots.len());
        let mut replaced: HashMap<u32, u32> = HashMap::new();
        for (root, number) in roots.into_iter().zip(members) {
            let group = number.and_then(|number| groups.get_mut(number));
            let Some(Group {
                first,
                is_reply: first_is_reply,
                ..
            }) = group.filter(|group| !group.is_alone && group.first != root)
            else {
                joined.push(root);
                continue;
            };
            let is_reply = self.first_mail(root).is_some_and(|mail| mail.is_reply);
            let (first_is_message, is_message) = (self.get(*first).is_message(), self.get(root).is_message());
            match (first_is_message, is_message) {
                (false, false) => {
                    let children = std::mem::take(&mut self.at(root).children);
                    self.at(*first).children.extend(children);
                }
                (false, true) => self.at(*first).children.push(root),
                (true, true) if is_reply && !*first_is_reply => self.at(*first).children.push(root),
                (true, _) => {
                    let both = self.node();
                    self.at(both).children = vec![*first, root];
                    replaced.insert(*first, both);
                    *first = both;
                }
            }
        }
        for root in &mut joined {
            if let Some(&both) = replaced.get(root) {
                *root = both;
            }
        }
        joined
    }

    /// One thread a subject, each the first message with all the others as its children.
    fn by_subject(&mut self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.nodes.len()).unwrap_or(NONE - 1)).collect();
        order.retain(|&node| self.get(node).is_message());
        order.sort_by_cached_key(|&node| self.date_of(node));
        let mut firsts: HashMap<&str, u32> = HashMap::new();
        let mut roots = Vec::new();
        for node in order {
            let subject = self
                .mails
                .get(self.get(node).mail as usize)
                .map_or("", |mail| mail.subject);
            match firsts.get(subject) {
                Some(&first) => self.at(first).children.push(node),
                None => {
                    firsts.insert(subject, node);
                    roots.push(node);
                }
            }
        }
        roots
    }

    /// `thread-list` for each root (RFC 5256, section 5).
    fn write(&self, roots: &[u32], out: &mut Vec<u8>) {
        enum Step {
            Open,
            Close,
            Node(u32),
        }
        let mut steps = Vec::new();
        for &root in roots {
            let alone = Some(self.get(root)).filter(|node| node.children.is_empty());
            if let Some(mail) = alone.and_then(|node| self.mails.get(node.mail as usize)) {
                out.push(b'(');
                put_number(out, u64::from(mail.number));
                out.push(b')');
                continue;
            }
            steps.extend([Step::Close, Step::Node(root), Step::Open]);
            while let Some(step) = steps.pop() {
                let after_number = out.last().is_some_and(u8::is_ascii_digit);
                match step {
                    Step::Close => out.push(b')'),
                    Step::Open => {
                        if after_number {
                            out.push(b' ');
                        }
                        out.push(b'(');
                    }
                    Step::Node(node) => {
                        let node = self.get(node);
                        if let Some(mail) = self.mails.get(node.mail as usize) {
                            if after_number {
                                out.push(b' ');
                            }
                            put_number(out, u64::from(mail.number));
                        }
                        if let [only] = node.children[..] {
                            steps.push(Step::Node(only));
                        } else {
                            for &child in node.children.iter().rev() {
                                steps.extend([Step::Close, Step::Node(child), Step::Open]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Keys that are hashes already.
#[derive(Clone, Copy, Default)]
struct Identity;

#[derive(Default)]
struct Same(u64);

impl BuildHasher for Identity {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same::default()
    }
}

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The message ids in a References, In-Reply-To or Message-ID field: `<` ... `@` ... `>`.
pub(super) fn message_ids(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = field;
    std::iter::from_fn(move || {
        loop {
            let start = memchr::memchr(b'<', rest)?;
            rest = rest.get(start..)?;
            let end = memchr::memchr(b'>', rest)?;
            let id = rest.get(..=end)?;
            // The last `<` counts, as in `foo <bar <a@b>`.
            let last = memchr::memrchr(b'<', id)?;
            let id = id.get(last..)?;
            rest = rest.get(end + 1..)?;
            if memchr::memchr(b'@', id).is_some() {
                return Some(id);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::subject::BaseSubject;
    use super::*;

    struct Sent(i64, &'static str, &'static str, &'static str);

    /// Fifteen messages and the threads that real Cyrus made of them.
    const MAILS: [Sent; 15] = [
        Sent(200, "<a1@x>", "", "Alpha"),
        Sent(100, "<a2@x>", "<a1@x>", "Re: Alpha"),
        Sent(300, "<a3@x>", "<a1@x> <a2@x>", "Re: [list] Alpha (fwd)"),
        Sent(400, "<b1@x>", "", "[blah] Beta"),
        Sent(500, "<b2@x>", "", "Re[2]: Beta"),
        Sent(1050, "", "", ""),
        Sent(700, "<c1@x>", "<missing@x>", "Re: Gamma"),
        Sent(600, "<c2@x>", "<missing@x>", "Gamma"),
        Sent(800, "<d1@x>", "<gone1@x>", "Gamma"),
        Sent(1000, "<a1@x>", "", "dup id"),
        Sent(1100, "<e1@x>", "<e2@x>", "loop"),
        Sent(1200, "<e2@x>", "<e1@x>", "loop"),
        Sent(1300, "<f1@x>", "<a3@x>", "other topic"),
        Sent(1400, "<g1@x>", "foo <f1@x> bar", "Re: other topic"),
        Sent(1401, "", "", "Re: other topic"),
    ];

    fn threads(algorithm: ThreadAlgorithm, wanted: &[usize]) -> String {
        let hasher = Threads::hasher();
        let id = |text| MessageId {
            hash: hasher.hash_one(text),
            text,
        };
        let subjects: Vec<BaseSubject> = MAILS.iter().map(|mail| BaseSubject::of(mail.3)).collect();
        let mut threads = Threads::with_room(wanted.len(), 0);
        for &number in wanted {
            let Sent(date, own, references, _) = &MAILS[number - 1];
            let mail = Mail {
                number: number as u32,
                date: *date,
                arrival: number as i64,
                subject: &subjects[number - 1].text,
                is_reply: subjects[number - 1].is_reply,
            };
            let references = match algorithm {
                ThreadAlgorithm::OrderedSubject => "",
                _ => *references,
            };
            let own = message_ids(own.as_bytes()).next().map(id);
            threads.add(mail, own, message_ids(references.as_bytes()).map(id));
        }
        let mut out = Vec::new();
        threads.finish(algorithm, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_threads_are_those_that_cyrus_makes() {
        let all: Vec<usize> = (1..=15).collect();
        assert_eq!(
            threads(ThreadAlgorithm::OrderedSubject, &all),
            "(2 (1)(3))(4 5)(8 (7)(9))(10)(6)(11 12)(13 (14)(15))"
        );
        assert_eq!(
            threads(ThreadAlgorithm::References, &all),
            "(1 2 3 13 14)(4 5)((8)(7)(9))(10)(6)(12 11)(15)"
        );
        assert_eq!(
            threads(ThreadAlgorithm::Refs, &all),
            "(4)(5)(6)((8)(7))(9)(10)(12 11)(1 2 3 13 14)(15)"
        );
        assert_eq!(
            threads(ThreadAlgorithm::References, &[2, 3, 7, 8, 14]),
            "(2 3)((8)(7))(14)"
        );
        assert_eq!(threads(ThreadAlgorithm::References, &[]), "");
    }

    #[test]
    fn threads_of_one_subject_are_joined_as_cyrus_joins_them() {
        let subjects = ["x", "x", "Re: x", "Re: y", "y", "Re: z", "Re: z", "z", "z"];
        let subjects: Vec<BaseSubject> = subjects.into_iter().map(BaseSubject::of).collect();
        let mut threads = Threads::with_room(subjects.len(), 0);
        for (number, subject) in (1..).zip(&subjects) {
            let mail = Mail {
                number,
                date: i64::from(number),
                arrival: 0,
                subject: &subject.text,
                is_reply: subject.is_reply,
            };
            threads.add(mail, None, std::iter::empty());
        }
        let mut out = Vec::new();
        threads.finish(ThreadAlgorithm::References, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "((1)(2)(3))(5 4)((8 (6)(7))(9))");
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_replies_is_no_trouble() {
        let hasher = Threads::hasher();
        let ids: Vec<String> = (0..=100_000).map(|number| format!("<{number}@x>")).collect();
        let id = |number: u32| {
            let text = ids[number as usize].as_bytes();
            let hash = hasher.hash_one(text);
            MessageId { hash, text }
        };
        for backwards in [false, true] {
            let mut threads = Threads::with_room(100_000, 100_000);
            for step in 1..=100_000_u32 {
                let number = if backwards { 100_001 - step } else { step };
                let mail = Mail {
                    number,
                    date: i64::from(number),
                    arrival: 0,
                    subject: "x",
                    is_reply: false,
                };
                threads.add(mail, Some(id(number)), std::iter::once(id(number - 1)));
            }
            let mut out = Vec::new();
            threads.finish(ThreadAlgorithm::References, &mut out);
            assert!(out.starts_with(b"(1 2 3 ") && out.ends_with(b" 99999 100000)"));
        }
    }

    #[test]
    fn ids_are_found_in_noise() {
        let ids = |text: &'static str| {
            message_ids(text.as_bytes())
                .map(|id| std::str::from_utf8(id).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids("a <b@c> (d) <e> <f@g>"), ["<b@c>", "<f@g>"]);
        assert_eq!(ids("<a <b@c>"), ["<b@c>"]);
        assert_eq!(ids("<<>> <"), [""; 0]);
    }
}
