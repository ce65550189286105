//! The SECTION item of a cache record: where each part of a message is, so that a FETCH of `BODY[1.2]` need not parse.
//!
//! All words are 32 bits, big-endian. A leaf is the word 0; a container is the number of its children plus one, an
//! entry for part 0 and one for each child, then the SECTION of each child:
//!
//! ```text
//! entry:    header offset | header size | content offset | content size | charset block
//! charset:  name length << 16 | encoding | name, NUL-padded | SHA-1 of decoded content | its size | lines
//! ```
//!
//! Part 0 of an enclosed message (and of the whole) is its header and text; of any other multipart it is void.

use super::decode::Encoding;
use super::structure::{Kind, Part, Tree};
use crate::message::CacheDamage;

/// Appends the SECTION item of the message.
pub(super) fn write(tree: &Tree, out: &mut Vec<u8>) {
    let Some(top) = tree.parts.first() else { return };
    let mut steps = vec![Step::Message(top)];
    let mut children = Vec::new();
    while let Some(step) = steps.pop() {
        match step {
            // A message: its own header and text are part 0, its body's parts the children.
            Step::Message(body) => {
                put(out, body.children.max(1) + 1);
                put_place(out, body, body.content_size);
                put_no_charset(out, Some(body));
                if body.children == 0 {
                    if body.kind == Kind::Multipart {
                        put_place(out, body, 0);
                        put_no_charset(out, None);
                    } else {
                        put_place(out, body, body.content_size);
                        put_charset(tree, out, body);
                    }
                    steps.push(Step::Part(body));
                } else {
                    for child in tree.children(body) {
                        // A multipart without parts counts as empty text, but keeps its charset block here.
                        put_place(out, child, visible_size(child));
                        put_charset(tree, out, child);
                        children.push(child);
                    }
                }
            }
            Step::Part(part) if part.kind == Kind::Message => {
                steps.extend(tree.children(part).next().map(Step::Message))
            }
            Step::Part(part) if part.children > 0 => {
                put(out, part.children + 1);
                for word in [0, VOID, 0, VOID] {
                    put(out, word);
                }
                put_no_charset(out, None);
                for child in tree.children(part) {
                    put_place(out, child, visible_size(child));
                    if child.kind == Kind::Multipart && child.children == 0 {
                        put_no_charset(out, Some(child));
                    } else {
                        put_charset(tree, out, child);
                    }
                    children.push(child);
                }
            }
            Step::Part(_) => put(out, 0),
        }
        steps.extend(children.drain(..).rev().map(Step::Part));
    }
}

enum Step<'a> {
    Message(&'a Part),
    Part(&'a Part),
}

fn visible_size(part: &Part) -> u32 {
    if part.kind == Kind::Multipart && part.children == 0 {
        0
    } else {
        part.content_size
    }
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

fn put_place(out: &mut Vec<u8>, part: &Part, content_size: u32) {
    for word in [
        part.header_offset,
        part.header_size,
        part.content_offset,
        content_size,
    ] {
        put(out, word);
    }
}

fn put_no_charset(out: &mut Vec<u8>, part: Option<&Part>) {
    put(out, NO_CHARSET);
    match part {
        Some(part) => put_content(out, part),
        None => out.extend_from_slice(&[0; CONTENT_SIZE]),
    }
}

fn put_charset(tree: &Tree, out: &mut Vec<u8>, part: &Part) {
    let (encoding, name) = tree.charset(part);
    let name = name.unwrap_or_default();
    let padded = if name.is_empty() {
        0
    } else {
        (name.len() / 4 + 1) * 4
    };
    let padded = u16::try_from(padded).unwrap_or(0);
    put(out, u32::from(padded) << 16 | encoding.to_cache());
    if padded > 0 {
        let end = out.len() + usize::from(padded);
        out.extend_from_slice(name);
        out.resize(end, 0);
    }
    put_content(out, part);
}

fn put_content(out: &mut Vec<u8>, part: &Part) {
    out.extend_from_slice(&part.content_sha1);
    put(out, part.decoded_size);
    put(out, part.content_lines);
}

/// A stretch of the message file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// From the beginning of the file, in octets.
    pub offset: u32,
    /// In octets.
    pub size: u32,
}

impl Extent {
    /// The octets of this stretch, as far as `message` has them.
    pub fn of(self, message: &[u8]) -> &[u8] {
        let rest = message.get(self.offset as usize..).unwrap_or_default();
        rest.get(..self.size as usize).unwrap_or(rest)
    }
}

/// One part of a message as its SECTION item tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// The header of the part, with its blank line; `None` for part 0 of a multipart that is no message's body.
    pub header: Option<Extent>,
    /// The content; `None` where `header` is.
    pub content: Option<Extent>,
    /// The character set of text, as the message names it; `None` if there is none that Cyrus knows.
    pub charset: Option<&'a [u8]>,
    /// How the content is encoded.
    pub encoding: Encoding,
    /// SHA-1 of the decoded content; zero if it could not be decoded.
    pub sha1: [u8; 20],
    /// Size of the decoded content in octets.
    pub decoded_size: u32,
    /// Lines of the content as it is in the file.
    pub lines: u32,
}

/// A checked SECTION item.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a>(&'a [u8]);

impl<'a> Sections<'a> {
    /// Checks `item` from end to end.
    ///
    /// # Errors
    /// [`CacheDamage::Sections`] if the words do not fit together; nothing is read past such a place.
    pub fn parse(item: &'a [u8]) -> Result<Self, CacheDamage> {
        let mut rest = item;
        skip_trees(&mut rest, 1)
            .filter(|()| rest.is_empty())
            .ok_or(CacheDamage::Sections)?;
        Ok(Self(item))
    }

    /// The part at `path`, the numbers of an IMAP section (`[1, 2]` for `BODY[1.2]`).
    ///
    /// The empty path is the whole message: its header and text. `None` if there is no such part.
    pub fn part(&self, path: &[u32]) -> Option<Section<'a>> {
        let Some((&last, containers)) = path.split_last() else {
            return self.message(&[]);
        };
        if last == 0 {
            return None;
        }
        let mut rest = self.descend(containers)?;
        entry(&mut rest, last)
    }

    /// The message enclosed in the message/rfc822 part at `path`: what `BODY[path.HEADER]` and `BODY[path.TEXT]` are.
    ///
    /// The empty path is the whole message. `None` if the part is no message. Where the message is a multipart without
    /// parts, Cyrus answers `BODY[TEXT]` with nothing; RFC 3501, section 6.4.5, wants the text, which is what this gives.
    pub fn message(&self, path: &[u32]) -> Option<Section<'a>> {
        let mut rest = self.descend(path)?;
        entry(&mut rest, 0).filter(|section| section.header.is_some())
    }

    /// The header that `BODY[path.HEADER.FIELDS (…)]` selects from: that of the message enclosed at `path`, or, as Cyrus
    /// has it, the MIME header of a part that is no message. `None` also for a header without any octet.
    pub fn fields_header(&self, path: &[u32]) -> Option<Extent> {
        self.message(path)
            .or_else(|| self.part(path))?
            .header
            .filter(|header| header.size > 0)
    }

    /// Number of parts inside the container at `path`; 0 for a leaf, `None` if there is no such part.
    pub fn children(&self, path: &[u32]) -> Option<u32> {
        let mut rest = self.descend(path)?;
        Some(word(&mut rest)?.saturating_sub(1))
    }

    /// Whether `found` is true for the message itself or any part in it, in the order of the message.
    ///
    /// Each enclosed message comes as a part (its content is its parts, not counted as content here) and as a
    /// message, with its own header. The content of a container is left out, for its parts come by themselves.
    pub fn any(&self, found: &mut dyn FnMut(&Section<'a>) -> bool) -> bool {
        any(self.0, found).unwrap_or(false)
    }

    /// Calls `each` with the path and the entry of every numbered part, containers before what is in them.
    pub fn each_part(&self, each: &mut dyn FnMut(&[u32], &Section<'a>)) {
        let mut rest = self.0;
        // For each container that is open: how many of its parts are to come, and the number of the last.
        let mut open: Vec<(u32, u32)> = Vec::new();
        let mut path: Vec<u32> = Vec::new();
        loop {
            let Some(count) = word(&mut rest) else { return };
            for number in 0..count {
                let Some(entry) = section(&mut rest) else { return };
                if number > 0 {
                    path.push(number);
                    each(&path, &entry);
                    path.pop();
                }
            }
            open.push((count.saturating_sub(1), 0));
            path.push(0);
            // On to the next part whose SECTION follows.
            loop {
                match open.last_mut() {
                    None => return,
                    Some((0, _)) => {
                        open.pop();
                        path.pop();
                    }
                    Some((left, number)) => {
                        *left -= 1;
                        *number += 1;
                        if let Some(last) = path.last_mut() {
                            *last = *number;
                        }
                        break;
                    }
                }
            }
        }
    }

    /// The item from the container at `path` on.
    fn descend(&self, path: &[u32]) -> Option<&'a [u8]> {
        let mut rest = self.0;
        for &number in path {
            let count = word(&mut rest)?;
            if number == 0 || number >= count {
                return None;
            }
            for _ in 0..count {
                section(&mut rest)?;
            }
            skip_trees(&mut rest, number - 1)?;
        }
        Some(rest)
    }
}

/// See [`Sections::any`]; `None` if the item ends early, which parse() excludes.
fn any<'a>(item: &'a [u8], found: &mut dyn FnMut(&Section<'a>) -> bool) -> Option<bool> {
    let mut rest = item;
    // The entries whose SECTION is still to come, the next one last.
    let mut waiting: Vec<Section<'a>> = Vec::new();
    let mut first = true;
    while first || !waiting.is_empty() {
        let own = waiting.pop();
        let count = word(&mut rest)?;
        if count == 0 {
            if own.is_some_and(|section| found(&section)) {
                return Some(true);
            }
        } else {
            let own = own.map(|section| Section {
                content: None,
                ..section
            });
            let message = section(&mut rest).map(|section| Section {
                content: None,
                ..section
            })?;
            // A message of one part lists its body as part 1 with the header of the message.
            let mut children = (1..count)
                .map(|_| section(&mut rest))
                .collect::<Option<Vec<_>>>()?;
            if let [only] = children.as_mut_slice()
                && only.header == message.header
            {
                only.header = None;
            }
            if own.is_some_and(|section| found(&section)) || (message.header.is_some() && found(&message)) {
                return Some(true);
            }
            children.reverse();
            waiting.append(&mut children);
        }
        first = false;
    }
    Some(false)
}

/// Entry `number` of the container that `rest` begins with.
fn entry<'a>(rest: &mut &'a [u8], number: u32) -> Option<Section<'a>> {
    let count = word(rest)?;
    if number >= count {
        return None;
    }
    for _ in 0..number {
        section(rest)?;
    }
    section(rest)
}

/// Passes over the SECTION of `trees` parts with all that is inside them.
fn skip_trees(rest: &mut &[u8], trees: u32) -> Option<()> {
    let mut left = u64::from(trees);
    while left > 0 {
        left -= 1;
        let count = word(rest)?;
        for _ in 0..count {
            section(rest)?;
        }
        left += u64::from(count.saturating_sub(1));
    }
    Some(())
}

/// One entry.
fn section<'a>(rest: &mut &'a [u8]) -> Option<Section<'a>> {
    let mut place = [0; 4];
    for field in &mut place {
        *field = word(rest)?;
    }
    let [header_offset, header_size, content_offset, content_size] = place;
    let charset_word = word(rest)?;
    let name_size = charset_word >> 16;
    let name = take(rest, usize::try_from(name_size).ok()?)?;
    let name = super::headers::until_nul(name);
    let sha1 = take(rest, 20)?.first_chunk::<20>().copied()?;
    let (decoded_size, lines) = (word(rest)?, word(rest)?);
    let extent = |offset, size| (size != VOID).then_some(Extent { offset, size });
    Some(Section {
        header: extent(header_offset, header_size),
        content: extent(content_offset, content_size),
        charset: (!name.is_empty()).then_some(name),
        encoding: Encoding::from_cache(charset_word.to_be_bytes()[3]),
        sha1,
        decoded_size,
        lines,
    })
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?
        .first_chunk()
        .map(|&bytes| u32::from_be_bytes(bytes))
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(size)?;
    *rest = after;
    Some(taken)
}

/// Size that marks a part as void.
const VOID: u32 = u32::MAX;
/// Charset word of entries that have no character set.
const NO_CHARSET: u32 = 0x0000_FFFF;
/// SHA-1, decoded size and line count.
const CONTENT_SIZE: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n\
        --c\r\n\r\ninner\r\n--c--\r\n\r\n--b--\r\n";

    fn text(extent: Option<Extent>) -> &'static str {
        let extent = extent.unwrap();
        let range = extent.offset as usize..(extent.offset + extent.size) as usize;
        std::str::from_utf8(&MESSAGE[range]).unwrap()
    }

    #[test]
    fn paths_lead_to_parts_enclosed_messages_and_their_parts() {
        let mut item = Vec::new();
        write(&super::super::structure::parse(MESSAGE), &mut item);
        let sections = Sections::parse(&item).unwrap();
        assert_eq!(text(sections.part(&[1]).unwrap().content), "one");
        assert_eq!(
            text(sections.part(&[2]).unwrap().header),
            "Content-Type: message/rfc822\r\n\r\n"
        );
        assert!(text(sections.message(&[2]).unwrap().header).starts_with("Subject: x"));
        assert_eq!(text(sections.part(&[2, 1]).unwrap().content), "inner");
        assert_eq!(
            (
                sections.children(&[]),
                sections.children(&[2]),
                sections.children(&[1])
            ),
            (Some(2), Some(1), Some(0))
        );
        assert_eq!(sections.part(&[]), sections.message(&[]));
        for path in [&[0][..], &[3], &[1, 1], &[2, 2], &[2, 1, 1], &[2, 0]] {
            assert_eq!(sections.part(path), None, "{path:?}");
        }
        assert_eq!(sections.message(&[1]), None);
        assert!(text(sections.fields_header(&[2])).starts_with("Subject: x"));
        assert_eq!(text(sections.fields_header(&[2, 1])), "\r\n");
    }

    #[test]
    fn damage_is_found_and_never_followed() {
        let mut item = Vec::new();
        write(&super::super::structure::parse(MESSAGE), &mut item);
        for cut in 0..item.len() {
            assert!(Sections::parse(&item[..cut]).is_err(), "{cut}");
        }
        item.push(0);
        assert!(Sections::parse(&item).is_err());
        assert!(Sections::parse(&[0xFF; 64]).is_err());
    }
}
