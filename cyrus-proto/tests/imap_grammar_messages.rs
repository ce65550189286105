//! The grammar of commands that bring messages or name parts of them: APPEND with all its forms, REPLACE, FETCH of parts,
//! and the URLs of RFC 4467.

use std::num::NonZeroU32;

use cyrus_proto::imap::command::{
    AnnotationChange, AppendContent, AppendMessage, BinarySection, BinaryWanted, CatenatePart, Command,
    CommandBody, FetchAttributes, FetchItems, FetchModifiers, Literal, LiteralForm, Numbering, Octets,
    SectionText, Tag, UrlFetch, UrlFetchData, UrlFetchItems, UrlRump, parse,
};
use cyrus_proto::imap::sequence::{SeqNumber, SequenceSet};
use cyrus_store::FlagNames;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Commands, without their tags, and what is wrong with them: in the words of Cyrus 3.6.1, where it has the command.
const REFUSALS: &str = r#"
FETCH 1 (BINARY.PEEK[TEXT]) => Invalid binary section
FETCH 1 (BINARY.PEEK[1.TEXT]) => Invalid binary section
FETCH 1 (BINARY[1.MIME]) => Invalid binary section
FETCH 1 (BINARY[0]) => Invalid binary section
FETCH 1 (BINARY.SIZE[1]<0.1>) => Junk after binary section
FETCH 1 (BINARY[1]<0.0>) => Invalid body partial
FETCH 1 BINARY => Invalid Fetch attribute BINARY
FETCH 1 (PREVIEW (FUZZY)) => FETCH contains invalid preview modifier (FUZZY)
FETCH 1 (PREVIEW (LAZY FOO)) => FETCH contains invalid preview modifier (FOO)
FETCH 1 (PREVIEW (LAZY=FUZZY)) => FETCH contains invalid preview modifier (LAZY=FUZZY)
FETCH 1 (PREVIEW ()) => FETCH contains invalid preview modifier ()
FETCH 1 (PREVIEW[1]) => Invalid Fetch attribute PREVIEW
FETCH 1 (RFC822.HEADER.LINES.NOT) => Missing required argument to Fetch RFC822.HEADER.LINES.NOT
FETCH 1 (RFC822.HEADER.LINES ()) => Invalid field-name in Fetch RFC822.HEADER.LINES
FETCH 1 (DIGEST.SHA256) => Invalid Fetch attribute DIGEST.SHA256
APPEND INBOX CATENATE () => Missing message part data in Append command
APPEND INBOX CATENATE (FOO "x") => Invalid message part type in Append command
APPEND INBOX CATENATE (TEXT "A: b") => Missing required argument to Append command
APPEND INBOX CATENATE (URL) => Missing message part data in Append command
APPEND INBOX CATENATE (URL "/INBOX/;UID=1" => Missing space or ) after catenate list in Append command
APPEND INBOX CATENATE URL "x" => Missing required argument to Append command
APPEND INBOX UTF8 ("x") => Missing required argument to Append command
REPLACE => Missing required argument to Replace
REPLACE 1 => Missing required argument to Replace
REPLACE 1 INBOX => Missing required argument to Replace
REPLACE 0 INBOX x => Invalid sequence in Replace
REPLACE 1:2 INBOX x => Invalid sequence in Replace
REPLACE 1 INBOX x => Missing required argument to Append command
UID REPLACE x INBOX x => Invalid sequence in Uid
GENURLAUTH => Missing required argument to Genurlauth
GENURLAUTH "x" => Missing required argument to Genurlauth
GENURLAUTH "x" INTERNAL "y" => Missing required argument to Genurlauth
URLFETCH => Missing required argument to Urlfetch
URLFETCH ("x" FOO) => Invalid extended URLFETCH parameters FOO
URLFETCH ("x" BODY BINARY) => Invalid extended URLFETCH parameters
URLFETCH ("x" BODY => Invalid extended URLFETCH parameters
RESETKEY INBOX ( => Missing required argument to Resetkey
"#;

#[test]
fn malformed_commands_are_refused_in_the_words_of_cyrus() {
    for line in REFUSALS.lines().filter(|line| !line.is_empty()) {
        let (command, words) = line.split_once(" => ").expect("every line has an arrow");
        let refusal = parse(format!("a {command}").as_bytes(), &|_| None).expect_err(command);
        assert_eq!(refusal.text, words, "{command}");
    }
}

#[test]
fn lists_are_limited() {
    let urls = " \"x\"".repeat(UrlFetch::MAX_URLS + 1);
    assert!(parse(format!("a URLFETCH{urls}").as_bytes(), &|_| None).is_err());
    let urls = " \"x\" INTERNAL".repeat(UrlFetch::MAX_URLS + 1);
    assert!(parse(format!("a GENURLAUTH{urls}").as_bytes(), &|_| None).is_err());
    let parts = " URL x".repeat(AppendMessage::MAX_PARTS + 1);
    let many = format!("a APPEND INBOX CATENATE ({})", parts.trim_start());
    let refusal = parse(many.as_bytes(), &|_| None).expect_err("too many parts");
    assert_eq!(refusal.text, "Too many message parts in Append command");
    for item in ["BINARY[1]", "RFC822.HEADER.LINES (x)"] {
        let items = vec![item; FetchAttributes::MAX_SECTIONS + 1].join(" ");
        assert!(parse(format!("a FETCH 1 ({items})").as_bytes(), &|_| None).is_err());
    }
    let deep = vec!["1"; FetchAttributes::MAX_PART_DEPTH + 1].join(".");
    assert!(parse(format!("a FETCH 1 BINARY[{deep}]").as_bytes(), &|_| None).is_err());
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-zA-Z0-9/;=.]{1,12}".prop_map(String::into_bytes),
        vec(1_u8..=255, 0..12),
    ]
}

fn literal(form: impl Strategy<Value = LiteralForm>) -> impl Strategy<Value = Literal> {
    (form, vec(any::<u8>(), 0..20)).prop_map(|(form, octets)| Literal {
        form,
        octets: Octets::Memory(octets),
    })
}

fn message() -> impl Strategy<Value = AppendMessage> {
    let form = || {
        prop_oneof![
            Just(LiteralForm::Plain),
            Just(LiteralForm::Binary),
            Just(LiteralForm::Utf8)
        ]
    };
    let part = prop_oneof![
        text().prop_map(CatenatePart::Url),
        literal(form()).prop_map(CatenatePart::Text),
    ];
    let content = prop_oneof![
        literal(form()).prop_map(AppendContent::Literal),
        vec(part, 1..4).prop_map(AppendContent::Catenate),
    ];
    let value = (text(), option::of(text()));
    let annotation =
        (text(), vec(value, 1..3)).prop_map(|(entry, attributes)| AnnotationChange { entry, attributes });
    let options = (
        any::<bool>(),
        option::of(0_i64..4_000_000_000),
        vec(annotation, 0..3),
    );
    (options, content).prop_map(|((flags, internal_date, annotations), content)| AppendMessage {
        flags: flags.then(FlagNames::default),
        internal_date,
        annotations,
        content,
    })
}

fn attributes() -> impl Strategy<Value = FetchAttributes> {
    let wanted = prop_oneof![
        Just(BinaryWanted::Size),
        (any::<bool>(), option::of((0..=u64::MAX >> 1, 1..=u64::MAX >> 1)))
            .prop_map(|(peek, partial)| BinaryWanted::Octets { peek, partial }),
    ];
    let binary = (vec(1_u32.., 0..4), wanted).prop_map(|(part, wanted)| BinarySection { part, wanted });
    let names = || vec("[A-Za-z-]{1,8}".prop_map(String::into_bytes), 1..3);
    let lines = prop_oneof![
        names().prop_map(SectionText::HeaderFields),
        names().prop_map(SectionText::HeaderFieldsNot),
    ];
    let items = prop_oneof![
        Just(
            FetchItems::PREVIEW
                .with(FetchItems::SHA1)
                .with(FetchItems::FOLDER)
        ),
        Just(FetchItems::PREVIEW_LAZY.with(FetchItems::DIGEST_SHA1)),
        Just(
            FetchItems::RFC822_PEEK
                .with(FetchItems::RFC822_TEXT_PEEK)
                .with(FetchItems::LASTUPDATED)
                .with(FetchItems::CREATEDMODSEQ)
                .with(FetchItems::UIDVALIDITY)
                .with(FetchItems::FILESIZE)
        ),
    ];
    (items, vec(binary, 0..3), vec(lines, 0..2)).prop_map(|(items, binaries, header_lines)| FetchAttributes {
        items,
        binaries,
        header_lines,
        ..FetchAttributes::default()
    })
}

fn set() -> SequenceSet {
    SequenceSet::new(vec![(SeqNumber::Number(NonZeroU32::MIN), SeqNumber::Last)]).expect("one range")
}

fn body() -> impl Strategy<Value = CommandBody> {
    use CommandBody as C;
    let numbering = prop_oneof![Just(Numbering::Sequence), Just(Numbering::Uid)];
    let number = option::of((1_u32..).prop_map(|number| NonZeroU32::new(number).expect("from 1 on")));
    let mechanism = || "[A-Z]{1,8}".prop_map(String::into_bytes);
    let data = prop_oneof![Just(UrlFetchData::Body), Just(UrlFetchData::Binary)];
    let items =
        (any::<bool>(), option::of(data)).prop_map(|(structure, data)| UrlFetchItems { structure, data });
    let fetch = (text(), option::of(items)).prop_map(|(url, items)| UrlFetch { url, items });
    let rump = (text(), mechanism()).prop_map(|(url, mechanism)| UrlRump { url, mechanism });
    prop_oneof![
        (text(), vec(message(), 1..3)).prop_map(|(mailbox, messages)| C::Append { mailbox, messages }),
        (numbering, number, text(), message()).prop_map(|(numbering, message, mailbox, replacement)| {
            C::Replace {
                numbering,
                message,
                mailbox,
                replacement: Box::new(replacement),
            }
        }),
        vec(fetch, 1..4).prop_map(C::UrlFetch),
        vec(rump, 1..4).prop_map(C::GenUrlAuth),
        Just(C::ResetKey {
            mailbox: None,
            mechanisms: Vec::new()
        }),
        (text(), vec(mechanism(), 0..3)).prop_map(|(mailbox, mechanisms)| C::ResetKey {
            mailbox: Some(mailbox),
            mechanisms
        }),
        attributes().prop_map(|wanted| C::Fetch {
            numbering: Numbering::Sequence,
            set: set(),
            modifiers: FetchModifiers::default(),
            wanted
        }),
    ]
}

proptest! {
    #[test]
    fn commands_written_and_read_again_are_the_same(body in body()) {
        let command = Command { tag: Tag::new(b"a").expect("a letter"), body };
        let mut text = Vec::new();
        command.write(&mut text);
        let again = parse(&text, &|_| None);
        prop_assert_eq!(again, Ok(command), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn damaged_commands_are_read_or_refused(body in body(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut text = Vec::new();
        Command { tag: Tag::new(b"a").expect("a letter"), body }.write(&mut text);
        let at = at.index(text.len());
        text[at] = with;
        let _ = parse(&text, &|_| None);
    }
}
