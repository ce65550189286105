//! What the conversations database wants to know of a message: all of it is in the cache.

use crate::message::{CacheDamage, CacheRecord, Envelope, EnvelopeAddress};

use super::ids::{is_key, is_list_of_ids, message_ids};
use super::subject::normalized;

/// Where a message id was found: one that an administrator's software put there links messages of any subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    InTheMessage,
    InOurOwnField,
}

/// What a cache record tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a>(CacheRecord<'a>);

impl<'a> Facts<'a> {
    pub(crate) fn new(record: CacheRecord<'a>) -> Self {
        Self(record)
    }

    /// The message ids that the message names, each once: References:, In-Reply-To:, its own, and that of our own field.
    pub(crate) fn message_ids(&self) -> Vec<(Vec<u8>, Found)> {
        let headers = self.0.headers();
        let joined = |name: &'static [u8]| {
            crate::message::field_values(headers, name)
                .collect::<Vec<_>>()
                .join(&b' ')
        };
        let envelope = Envelope::parse(self.0.envelope());
        let in_reply_to = Some(envelope.in_reply_to()).filter(|field| is_list_of_ids(field));
        let fields = [
            (joined(b"References"), Found::InTheMessage),
            (in_reply_to.unwrap_or_default().to_vec(), Found::InTheMessage),
            (envelope.message_id().to_vec(), Found::InTheMessage),
            (joined(b"X-ME-Message-ID"), Found::InOurOwnField),
        ];
        let mut ids: Vec<(Vec<u8>, Found)> = Vec::new();
        for (field, found) in fields {
            for id in message_ids(&field) {
                if is_key(&id) && ids.iter().all(|(known, _)| *known != id) {
                    ids.push((id, found));
                }
            }
        }
        ids
    }

    /// The subject as it is compared; a message without has an empty one.
    pub(crate) fn subject(&self) -> Vec<u8> {
        normalized(self.0.subject_text().unwrap_or_default())
    }

    /// Who sent it.
    pub(crate) fn sender(&self) -> EnvelopeAddress<'a> {
        Envelope::parse(self.0.envelope()).from()
    }

    /// Calls `each` with the number and the SHA-1 of the decoded content of each part that has one.
    pub(crate) fn parts(&self, each: &mut dyn FnMut(&str, [u8; 20])) -> Result<(), CacheDamage> {
        self.0.sections()?.each_part(&mut |path, section| {
            if section.sha1 != [0; 20] {
                let numbers: Vec<String> = path.iter().map(u32::to_string).collect();
                each(&numbers.join("."), section.sha1);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageParser;

    fn with(message: &str, test: impl FnOnce(Facts<'_>)) {
        let parsed = MessageParser::parse(message.as_bytes()).unwrap();
        test(Facts::new(parsed.record()));
    }

    #[test]
    fn message_ids_come_from_four_fields_each_once() {
        let message = "From: a@b\r\nSubject: Re: Hello\r\nMessage-ID: <Own@x>\r\nReferences: <1@x>\r\n <2@x>\r\n\
             In-Reply-To: <2@x>\r\nX-ME-Message-ID: <ours@x>\r\n\r\nText\r\n";
        with(message, |facts| {
            let ids: Vec<_> = facts
                .message_ids()
                .into_iter()
                .map(|(id, found)| (String::from_utf8(id).unwrap(), found))
                .collect();
            assert_eq!(
                ids,
                [
                    ("<1@x>".to_owned(), Found::InTheMessage),
                    ("<2@x>".to_owned(), Found::InTheMessage),
                    ("<own@x>".to_owned(), Found::InTheMessage),
                    ("<ours@x>".to_owned(), Found::InOurOwnField),
                ]
            );
            assert_eq!(facts.subject(), b"Hello");
        });
    }

    #[test]
    fn the_sender_is_the_first_address() {
        with(
            "From: \"Quoted, Name\" <Abc@Example.COM>, c@d\r\n\r\nText\r\n",
            |facts| {
                let sender = facts.sender();
                assert_eq!(sender.name, Some(&b"Quoted, Name"[..]));
                assert_eq!(sender.mailbox, Some(&b"Abc"[..]));
                assert_eq!(sender.host, Some(&b"Example.COM"[..]));
            },
        );
        with("Subject: u\r\n\r\nText\r\n", |facts| {
            assert_eq!(facts.sender(), EnvelopeAddress::default());
        });
    }

    /// Which rows Cyrus 3.6.1 made for such messages.
    #[test]
    fn every_part_with_content_has_a_number() {
        let text = |body: &str| format!("Content-Type: text/plain\r\n\r\n{body}\r\n");
        let mixed = |boundary: &str, parts: &[String]| {
            let parts: String = parts
                .iter()
                .map(|part| format!("--{boundary}\r\n{part}"))
                .collect();
            format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n{parts}--{boundary}--\r\n")
        };
        let enclosed =
            |message: &str| format!("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n{message}");
        for (body, expected) in [
            (text("one"), "1"),
            (String::from("\r\n"), "1"),
            (mixed("b", &[text("a"), text("b")]), "1 2"),
            (
                mixed("b", &[mixed("c", &[text("a"), text("b")]), text("d")]),
                "1.1 1.2 2",
            ),
            (mixed("b", &[text("a"), enclosed(&text("in"))]), "1 2 2.1"),
            (
                mixed("b", &[text("a"), enclosed(&mixed("c", &[text("a"), text("b")]))]),
                "1 2 2.1 2.2",
            ),
            (enclosed(&text("in")), "1 1.1"),
            (mixed("b", &[]), ""),
            (mixed("b", &[mixed("c", &[]), text("a")]), "2"),
            (mixed("b", &[enclosed(&mixed("c", &[]))]), "1"),
        ] {
            with(&format!("From: a@b\r\nMIME-Version: 1.0\r\n{body}"), |facts| {
                let mut found = Vec::new();
                facts.parts(&mut |part, _| found.push(part.to_owned())).unwrap();
                found.sort();
                assert_eq!(found.join(" "), expected, "{body}");
            });
        }
    }
}
