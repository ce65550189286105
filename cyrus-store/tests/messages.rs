//! Parsing messages, against records that Cyrus wrote and against noise.

use std::path::PathBuf;

use cyrus_store::message::{CacheRecord, Fields, MessageParser, ParsedMessage, select_fields};
use proptest::prelude::*;
use sha1::{Digest, Sha1};

fn golden(file: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/messages", file]
        .iter()
        .collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(message: &[u8]) -> ParsedMessage {
    MessageParser::parse(message).expect("test messages are small")
}

#[test]
fn cache_records_are_those_that_cyrus_wrote() {
    let facts = String::from_utf8(golden("facts.txt")).unwrap();
    for line in facts.lines() {
        let [name, header_size, sent_date, gm_date, crc] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let parsed = parse(&golden(&format!("{name}.eml")));
        let expected = golden(&format!("{name}.cache"));
        let wanted = CacheRecord::parse(&expected).unwrap();
        assert_eq!(
            text(parsed.envelope()),
            text(wanted.envelope()),
            "ENVELOPE of {name}"
        );
        assert_eq!(
            text(parsed.bodystructure()),
            text(wanted.bodystructure()),
            "BODYSTRUCTURE of {name}"
        );
        assert_eq!(
            parsed.record().sections().unwrap().part(&[1]),
            wanted.sections().unwrap().part(&[1]),
            "{name}"
        );
        assert!(parsed.cache_record() == expected, "cache record of {name}");
        assert_eq!(
            parsed.header_size().to_string(),
            header_size,
            "header size of {name}"
        );
        assert_eq!(
            parsed.sent_date(|_| 0).unwrap_or(0).to_string(),
            sent_date,
            "sent date of {name}"
        );
        assert_eq!(
            parsed.gm_date().unwrap_or(0).to_string(),
            gm_date,
            "date of {name}"
        );
        assert_eq!(format!("{:08x}", parsed.record().crc()), crc, "CRC of {name}");
        assert!(CacheRecord::parse_checked(&expected, parsed.record().crc()).is_ok());
    }
    assert!(facts.lines().count() > 50);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_parsed_message_tells_the_facts_of_its_index_record() {
    let message = b"Message-ID: <1@x>\r\nIn-Reply-To:\r\n <0@x>\r\nReferences: <a> <b>\r\nSubject: =?utf-8?q?h=C3=A4?=\r\n\
        Date: Mon, 2 Mar 2020 10:11:12 +0100\r\n\r\nbody";
    let parsed = parse(message);
    assert_eq!((parsed.size(), parsed.header_size()), (136, 132));
    assert_eq!(parsed.message_id(), Some(&b"<1@x>"[..]));
    assert_eq!(parsed.in_reply_to(), Some(&b" <0@x>"[..]));
    assert_eq!(parsed.references(), Some(&b"<a> <b>"[..]));
    assert_eq!(parsed.subject(), Some(&b"=?utf-8?q?h=C3=A4?="[..]));
    assert_eq!(parsed.record().subject_text(), Some("hä".as_bytes()));
    assert_eq!(parsed.gm_date(), Some(1_583_140_272));
    assert_eq!(parsed.sent_date(|_| 3600), Some(1_583_103_600));
    assert_eq!(parsed.guid(), &<[u8; 20]>::from(Sha1::digest(message)));
}

#[test]
fn header_fields_are_answered_from_the_cache_only_if_it_holds_them_all() {
    let message = b"From: a@b\r\nReply-To: c@d\r\nX-Mailer: e\r\n f\r\n\r\n";
    let parsed = parse(message);
    let record = parsed.record();
    let names = ["reply-to", "x-mailer", "list-id"];
    let wanted = Some(b"Reply-To: c@d\r\nX-Mailer: e\r\n f\r\n\r\n".to_vec());
    assert_eq!(record.header_fields(&names, 11), wanted);
    assert_eq!(record.header_fields(&names, 6), None);
    assert_eq!(record.header_fields(&["from"], 11), None);
    assert_eq!(Some(select_fields(message, Fields::Only(&names))), wanted);
}

#[test]
fn work_is_bounded_on_messages_made_to_hurt() {
    let size = 300_000;
    let fill = |pattern: &[u8]| pattern.iter().copied().cycle().take(size).collect::<Vec<u8>>();
    let with_type =
        |value: &str, rest: Vec<u8>| [format!("Content-Type: {value}").into_bytes(), rest].concat();
    let hostile = [
        fill(b"Content-Type: message/rfc822\r\n\r\n"),
        fill(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"),
        with_type("multipart/mixed; boundary=b\r\n\r\n", fill(b"--b\r\n")),
        with_type("a/b;", fill(b"n*0=x;n*1=y;")),
        with_type("a/b;", fill(b"n*0=x;")),
        with_type("a/b; n=", fill(b"(")),
        fill(b"Content-Type: a/b; n=\"\n"),
        fill(b"Content-Type: =?utf-8?q?a/b;x=3D=C3=A4?=\r\n"),
        [b"To: ".to_vec(), fill(b"a,")].concat(),
        [b"To: ".to_vec(), fill(b"<@")].concat(),
        [b"To: ".to_vec(), fill(b"a(b@c(d")].concat(),
        [b"Subject: ".to_vec(), fill(b"=?")].concat(),
        [b"Subject: ".to_vec(), fill(b"=?utf-8?q?a?= ")].concat(),
        fill(b"To: a@b\r\n"),
        fill(b"\r"),
        fill(b"\n"),
        fill(b"no colon at all\r\n"),
    ];
    for message in hostile {
        let parsed = parse(&message);
        assert!(parsed.record().sections().is_ok());
        assert!(parsed.cache_record().len() < 150 * size);
        select_fields(&message, Fields::Not(&["x"]));
    }
}

/// Pieces that message parsers trip over.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: message/rfc822\r\n", "--b\r\n", "--b--\r\n",
            "\r\n", "\n", "\r", "\0", "From: a <b@c>, d: e@f;\r\n", "Subject: =?utf-8?q?=C3=A4?=\r\n", "; n*0*=u''%41; n*1=b",
            "Content-Transfer-Encoding: base64\r\n", "Content-Type: text/plain; charset=gb2312\r\n", " folded\r\n",
            "Content-Disposition: attachment; filename=\"", "Content-Language: en, de\r\n", "Date: 1 Jan 2020 1:2:3 +0\r\n",
            "Content-Type: multipart/digest; boundary=\"\"\r\n", "--", "=?", "(", "\"", "\\", "<@", ">",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_a_record_that_can_be_read_back(pieces in prop::collection::vec(piece(), 0..40)) {
        let message = pieces.concat();
        let parsed = parse(&message);
        let record = CacheRecord::parse(parsed.cache_record()).unwrap();
        prop_assert_eq!(record.as_bytes(), parsed.cache_record());
        let sections = record.sections().unwrap();
        // Every part lies inside the message.
        let mut paths = vec![vec![]];
        while let Some(path) = paths.pop() {
            let part = sections.part(&path).unwrap();
            for extent in [part.content, part.header].into_iter().flatten() {
                prop_assert!(u64::from(extent.offset) <= message.len() as u64);
                prop_assert!(extent.of(&message).len() <= extent.size as usize);
            }
            for number in 1..=sections.children(&path).unwrap() {
                paths.push([&path[..], &[number]].concat());
            }
        }
        for cut in [0, 4, parsed.cache_record().len() / 2, parsed.cache_record().len() - 1] {
            prop_assert!(CacheRecord::parse(&parsed.cache_record()[..cut]).is_err());
        }
        select_fields(&message, Fields::Only(&["from", "subject"]));
    }
}
