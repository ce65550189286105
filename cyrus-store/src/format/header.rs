//! `cyrus.header`: a mailbox's name, identity, quota root, keywords and a spare copy of its ACL.

use std::borrow::Cow;

use super::dlist::Dlist;
use super::{Damage, Fault};
use crate::flags::{Keyword, KeywordBits};
use crate::ident::MailboxId;

/// The content of a mailbox header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxHeader {
    /// Type letters, as in the mailbox list; empty in the old text form.
    pub mbtype: String,
    /// Internal name; empty in the old text form.
    pub name: String,
    /// Unique id.
    pub id: MailboxId,
    /// Quota root, internal name.
    pub quota_root: Option<String>,
    /// ACL as pairs of identifier and rights, in order.
    pub acl: Vec<(String, String)>,
    /// Keywords by slot; `None` is a freed slot.
    pub keywords: Vec<Option<Keyword>>,
}

impl MailboxHeader {
    /// Reads a whole file, in the present form or the old text form.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn parse(file: &[u8]) -> Result<Self, Fault> {
        let Some(body) = file.strip_prefix(MAGIC) else {
            return Err(Fault::new(0, Damage::Magic("cyrus.header")));
        };
        let parsed = if body.first() == Some(&b'%') {
            Self::parse_dlist(body)
        } else {
            Self::parse_text(body)
        };
        parsed.map_err(|fault| fault.shifted(MAGIC.len() as u64))
    }

    fn parse_dlist(body: &[u8]) -> Result<Self, Fault> {
        let map = Dlist::parse(body)?;
        let text = |key: &str| map.get(key).and_then(Dlist::as_str).map(str::to_owned);
        let id = map.get("I").and_then(Dlist::as_str).and_then(MailboxId::new);
        let mut acl = Vec::new();
        if let Some(map) = map.get("A") {
            for (identifier, rights) in map
                .as_map()
                .ok_or(Fault::new(0, Damage::Expected("a map of rights as A")))?
            {
                let identifier = std::str::from_utf8(identifier).ok();
                let pair = identifier.zip(rights.as_str());
                let (identifier, rights) = pair.ok_or(Fault::new(0, Damage::Expected("text in the ACL")))?;
                acl.push((identifier.to_owned(), rights.to_owned()));
            }
        }
        let mut keywords = Vec::new();
        if let Some(list) = map.get("U") {
            for name in list
                .as_list()
                .ok_or(Fault::new(0, Damage::Expected("a list of keywords as U")))?
            {
                keywords.push(match name {
                    Dlist::Nil => None,
                    other => other.as_str().and_then(Keyword::new),
                });
            }
        }
        if keywords.len() > KeywordBits::SLOTS {
            return Err(Fault::new(0, Damage::Impossible("number of keywords")));
        }
        Ok(Self {
            mbtype: text("T").unwrap_or_default(),
            name: text("N").unwrap_or_default(),
            id: id.ok_or(Fault::new(0, Damage::Expected("a unique id as I")))?,
            quota_root: text("Q"),
            acl,
            keywords,
        })
    }

    fn parse_text(body: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|error| {
            Fault::new(
                error.valid_up_to(),
                Damage::Expected("text in the old form of the header"),
            )
        })?;
        let mut lines = text.split('\n');
        let mut fields = lines.next().unwrap_or_default().split('\t');
        let quota_root = fields.next().filter(|root| !root.is_empty()).map(str::to_owned);
        let id = fields.next().and_then(MailboxId::new);
        let names = lines.next().unwrap_or_default();
        let keywords: Vec<_> = match names {
            "" => Vec::new(),
            names => names.trim_end_matches(' ').split(' ').map(Keyword::new).collect(),
        };
        if keywords.len() > KeywordBits::SLOTS {
            return Err(Fault::new(0, Damage::Impossible("number of keywords")));
        }
        let mut acl = Vec::new();
        let mut words = lines.next().unwrap_or_default().split('\t');
        while let (Some(identifier), Some(rights)) = (words.next(), words.next()) {
            acl.push((identifier.to_owned(), rights.to_owned()));
        }
        Ok(Self {
            mbtype: String::new(),
            name: String::new(),
            id: id.ok_or(Fault::new(
                0,
                Damage::Expected("a unique id after the quota root"),
            ))?,
            quota_root,
            acl,
            keywords,
        })
    }

    /// The bytes of the file, in the present form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let key = |name: &'static str| Cow::Borrowed(name.as_bytes());
        let mut map = vec![
            (key("T"), Dlist::atom(&self.mbtype)),
            (key("N"), Dlist::atom(&self.name)),
            (key("I"), Dlist::atom(self.id.as_str())),
        ];
        if let Some(root) = &self.quota_root {
            map.push((key("Q"), Dlist::atom(root)));
        }
        if !self.acl.is_empty() {
            let pairs = self
                .acl
                .iter()
                .map(|(identifier, rights)| (identifier.as_bytes().into(), Dlist::atom(rights)));
            map.push((key("A"), Dlist::Map(pairs.collect())));
        }
        if !self.keywords.is_empty() {
            let names = self.keywords.iter().map(|keyword| match keyword {
                Some(keyword) => Dlist::atom(keyword.as_str()),
                None => Dlist::Nil,
            });
            map.push((key("U"), Dlist::List(names.collect())));
        }
        let mut bytes = MAGIC.to_vec();
        Dlist::Map(map).write(&mut bytes);
        bytes.push(b'\n');
        bytes
    }

    /// The slot of a keyword.
    pub fn slot_of(&self, keyword: &Keyword) -> Option<usize> {
        self.keywords
            .iter()
            .position(|known| known.as_ref() == Some(keyword))
    }
}

/// Clients may create keywords up to this slot only; the rest are for the server's own use.
pub const MAX_CLIENT_KEYWORDS: usize = 100;

const MAGIC: &[u8] = b"\xa1\x02\x8b\x0dCyrus mailbox header\n\"The best thing about this system was that it had lots of goals.\"\n\t--Jim Morris on Andrew\n";

/// Reads noise; for the fuzz target of the same name.
pub(crate) fn fuzz(data: &[u8]) {
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(data);
    if let Ok(header) = MailboxHeader::parse(&file) {
        assert_eq!(
            MailboxHeader::parse(&header.to_bytes()).as_ref(),
            Ok(&header),
            "what was written reads back"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> MailboxHeader {
        MailboxHeader {
            mbtype: "e".into(),
            name: "user.alice.Projects".into(),
            id: MailboxId::new("lcf58ovflp5izrxhuots5ego").unwrap(),
            quota_root: Some("user.alice.Projects".into()),
            acl: vec![
                ("alice".into(), "lrswipkxtecdan".into()),
                ("-dave".into(), "lrs".into()),
            ],
            keywords: vec![Keyword::new("$MDNSent"), None, Keyword::new("NonJunk")],
        }
    }

    #[test]
    fn the_magic_is_115_bytes() {
        assert_eq!(MAGIC.len(), 115);
    }

    #[test]
    fn the_header_is_spelt_as_documented() {
        let bytes = example().to_bytes();
        let expected = b"%(T e N user.alice.Projects I lcf58ovflp5izrxhuots5ego Q user.alice.Projects A %(alice lrswipkxtecdan -dave lrs) U ($MDNSent NIL NonJunk))\n";
        assert_eq!(&bytes[115..], &expected[..]);
        assert_eq!(MailboxHeader::parse(&bytes).unwrap(), example());
    }

    #[test]
    fn the_old_text_form_is_read() {
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(b"user.alice\tabc123\t\n$MDNSent  NonJunk\nalice\tlrs\tanyone\tl\t\n");
        let header = MailboxHeader::parse(&file).unwrap();
        assert_eq!(header.quota_root.as_deref(), Some("user.alice"));
        assert_eq!(header.id.as_str(), "abc123");
        assert_eq!(
            header.keywords,
            [Keyword::new("$MDNSent"), None, Keyword::new("NonJunk")]
        );
        assert_eq!(
            header.acl,
            [("alice".into(), "lrs".into()), ("anyone".into(), "l".into())]
        );
    }

    #[test]
    fn keywords_are_found_in_any_case() {
        assert_eq!(example().slot_of(&Keyword::new("nonjunk").unwrap()), Some(2));
        assert_eq!(example().slot_of(&Keyword::new("other").unwrap()), None);
    }

    #[test]
    fn a_foreign_file_is_named_so() {
        assert_eq!(
            MailboxHeader::parse(b"hello").unwrap_err().damage,
            Damage::Magic("cyrus.header")
        );
    }

    proptest! {
        #[test]
        fn noise_is_no_trouble(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&noise);
        }

        #[test]
        fn a_cut_header_is_an_error_or_whole(cut in 0..255_usize) {
            let bytes = example().to_bytes();
            if cut + 1 < bytes.len() {
                prop_assert!(MailboxHeader::parse(&bytes[..cut]).is_err());
            }
        }
    }
}
