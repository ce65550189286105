//! The grammar of IMAP commands: what is read, what is refused and in which words, and that nothing is lost on the way.

use cyrus_proto::imap::command::*;
use cyrus_proto::imap::date::Date;
use cyrus_proto::imap::sequence::{SeqNumber, SequenceSet};
use cyrus_store::{Audience, FlagNames, Keyword, SystemFlags};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn read(text: &str) -> Command {
    match parse(text.as_bytes(), &|_| None) {
        Ok(command) => command,
        Err(refusal) => panic!("{text}: {refusal}"),
    }
}

/// The refusals of malformed commands, one a line: the words Cyrus IMAP 3.6.1 gave for the same lines, except where
/// RFC 3501 wants the command refused and Cyrus lets it pass.
const REFUSALS: &str = r#"
NOOP extra => Unexpected extra arguments to Noop
CAPABILITY x => Unexpected extra arguments to Capability
BLURDYBLOOP => Unrecognized command
LOGIN => Missing required argument to Login
LOGIN user1 => Missing required argument to Login
LOGIN user1 pass extra => Unexpected extra arguments to LOGIN
AUTHENTICATE => Missing required argument to Authenticate
AUTHENTICATE PLAIN AHVzZXI2AHBhc3M= x => Unexpected extra arguments to Authenticate
STARTTLS x => Unexpected extra arguments to Starttls
ID => Missing required argument to Id
ID foo => Invalid parameter list in Id
ID ("name") => Invalid field-value pair in Id
SELECT => Missing required argument to Select
SELECT INBOX x => Invalid modifier list in Select
EXAMINE INBOX x => Invalid modifier list in Examine
SELECT INBOX (FOO) => Invalid Select modifier FOO
SELECT INBOX (CONDSTORE FOO) => Invalid Select modifier FOO
SELECT INBOX () => Invalid modifier list in Select
EXAMINE INBOX (CONDSTORE => Missing close parenthesis in Examine
SELECT INBOX (QRESYNC (1)) => Invalid QRESYNC parameter list in Select
SELECT INBOX (QRESYNC (0 1)) => Invalid QRESYNC parameter list in Select
SELECT INBOX (QRESYNC ()) => Invalid QRESYNC parameter list in Select
EXAMINE INBOX (QRESYNC (1 1 1:*)) => Invalid QRESYNC parameter list in Examine
SELECT INBOX (QRESYNC (1 1 1:5 (1:2 1))) => Invalid QRESYNC parameter list in Select
FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED) => Invalid Fetch modifier VANISHED
UID FETCH 1 FLAGS (VANISHED) => Missing required argument to UID Fetch
ENABLE => Missing required argument to Enable
STATUS => Missing required argument to Status
STATUS INBOX => Missing required argument to Status
STATUS INBOX () => Bad status string
STATUS INBOX MESSAGES => Bad status string
STATUS INBOX (MESSAGES FOO) => Invalid Status attributes foo
STATUS INBOX (UIDNEXT) x => Unexpected extra arguments to Status
CREATE => Missing required argument to Create
CREATE (x) => Missing required argument to Create
CREATE y foo bar => Unexpected extra arguments to Create
CREATE y ( => Invalid partition name in Create
DELETE => Missing required argument to Delete
DELETE INBOX x => Unexpected extra arguments to Delete
RENAME a => Missing required argument to Rename
RENAME newb a b c => Unexpected extra arguments to Rename
SUBSCRIBE => Missing required argument to Subscribe
UNSUBSCRIBE => Missing required argument to Unsubscribe
LIST => Missing required argument to List
LIST "" => Missing required argument to List: mailbox pattern
LIST "" * x => Unexpected extra argument to List: "x"
LIST (FOO) "" % => Invalid List selection option "foo"
LIST (RECURSIVEMATCH) "" % => Invalid combination of selection options
LIST (REMOTE RECURSIVEMATCH) "" % => Invalid combination of selection options
LIST "" () => Invalid syntax in List command
LIST "" * RETURN (FOO) => Invalid List return option "foo"
LIST "" * RETURN (SUBSCRIBED => Missing close parenthesis for List return options
LIST "" * RETURN CHILDREN => Missing return argument list
LIST "" % RETURN (STATUS) => Bad status string
LIST "" % RETURN (STATUS (MESSAGES FOO)) => Invalid Status attributes foo
LIST "" % RETURN (METADATA) => Missing metadata entry
CREATE x (USE => Invalid partition name in Create
CREATE x () => Invalid partition name in Create
CREATE x (FOO (bar)) => Unrecognized Create parameter FOO
GETMETADATA => Missing required argument to Getmetadata
GETMETADATA INBOX => Missing arguments to Getmetadata
GETMETADATA INBOX () => Missing metadata entry
GETMETADATA INBOX /shared/comment extra => Missing arguments to Getmetadata
GETMETADATA INBOX (/shared/comment => Missing close paren in metadata entry list 
GETMETADATA (DEPTH 2) INBOX /shared => Missing arguments to Getmetadata
GETMETADATA (MAXSIZE x) INBOX /shared => Missing arguments to Getmetadata
SETMETADATA INBOX /shared/comment "x" => Missing metadata entry list
SETMETADATA INBOX () => Missing metadata entry
SETMETADATA INBOX (/shared/comment) => Missing metadata entry
SETANNOTATION INBOX => Missing annotation entry
GETANNOTATION INBOX /comment => Missing annotation attribute
LSUB => Missing required argument to Lsub
LSUB "" INBOX extra => Unexpected extra arguments to Lsub
NAMESPACE x => Unexpected extra arguments to Namespace
APPEND INBOX => Missing required argument to Append
APPEND INBOX foo => Missing required argument to Append command
APPEND INBOX "foo" => Invalid date-time in Append command
APPEND INBOX (\Recent) {1+} => Invalid flag in Append command
APPEND INBOX (\Foo) {1+} => Invalid flag in Append command
APPEND INBOX (\Seen {1+} => Invalid flag in Append command
APPEND INBOX "31-Feb-2020 10:10:10 +0000" {1+} => Invalid date-time in Append command
APPEND INBOX " 1-Feb-2020 10:10:10 +0000" x => Missing required argument to Append command
IDLE x => Unexpected extra arguments to Idle
CHECK x => Unexpected extra arguments to Check
CLOSE x => Unexpected extra arguments to Close
UNSELECT x => Unexpected extra arguments to Unselect
EXPUNGE x => Unexpected extra arguments to Expunge
LOGOUT x => Unexpected extra arguments to Logout
FETCH => Missing required argument to Fetch
FETCH 1 => Missing required argument to Fetch
FETCH 1 FOO => Invalid Fetch attribute FOO
FETCH 1 () => Invalid Fetch attribute 
FETCH 1 (FLAGS FOO) => Invalid Fetch attribute FOO
FETCH 1 (FLAGS => Missing close parenthesis in Fetch
FETCH 1 (FLAGS) x => Missing required open parenthesis in Fetch modifiers
FETCH 1 FLAGS UID => Missing required open parenthesis in Fetch modifiers
FETCH 1 FLAGS () => Invalid Fetch modifier 
UID FETCH 1 FLAGS (FOO) => Invalid UID Fetch modifier FOO
UID FETCH 1 FLAGS (CHANGEDSINCE x) => Invalid argument to UID Fetch CHANGEDSINCE
UID FETCH 1 FLAGS (CHANGEDSINCE 3 => Missing close parenthesis in UID Fetch
FETCH 1 (FLAGS  UID) => Invalid Fetch attribute 
FETCH 1 (ALL) => Invalid Fetch attribute ALL
FETCH a FLAGS => Invalid sequence in Fetch
FETCH 0 FLAGS => Invalid sequence in Fetch
FETCH 1,2, FLAGS => Invalid sequence in Fetch
FETCH 1:2:3 FLAGS => Invalid sequence in Fetch
FETCH 4294967296 FLAGS => Invalid sequence in Fetch
FETCH 1 BODY.PEEK[MIME] => Invalid body section
FETCH 1 BODY.PEEK[FOO] => Invalid body section
FETCH 1 BODY.PEEK[1.FOO] => Invalid body section
FETCH 1 BODY[1.] => Invalid body section
FETCH 1 BODY[ => Invalid body section
FETCH 1 BODY[]< => Invalid body partial
FETCH 1 BODY[]<1> => Invalid body partial
FETCH 1 BODY[]<1.0> => Invalid body partial
FETCH 1 BODY[]<9223372036854775808.1> => Invalid body partial
FETCH 1 BODY[]<1.2>x => Junk after body section
FETCH 1 BODY.PEEK[HEADER.FIELDS ()] => Invalid field-name in Fetch BODY[HEADER.FIELDS
FETCH 1 BODY.PEEK[HEADER.FIELDS] => Invalid body section
STORE => Missing required argument to Store
STORE 1 => Missing required argument to Store
STORE 1 () FLAGS (x) => Invalid Store modifier 
STORE 1 (FOO) FLAGS (x) => Invalid Store modifier FOO
STORE 1 (UNCHANGEDSINCE  => Invalid argument to Store UNCHANGEDSINCE
STORE 1 (UNCHANGEDSINCE x) FLAGS (x) => Invalid argument to Store UNCHANGEDSINCE
STORE 1 (UNCHANGEDSINCE 3 FLAGS (x) => Invalid Store modifier FLAGS
STORE 1 FLAGS => Missing required argument to Store
STORE 1 FOO \Seen => Invalid Store attribute
STORE 1 ANNOTATION /comment (value.priv "y") => Missing paren for annotation entry
STORE 1 ANNOTATION () => Missing annotation entry
STORE 1 ANNOTATION (/comment) => Missing annotation attribute
STORE 1 FLAGS \Foo => Invalid system flag in Store command
STORE 1 FLAGS \Recent => Invalid system flag in Store command
STORE 1 FLAGS (\Seen => Missing close parenthesis in Store
STORE 1 FLAGS (\Seen) x => Unexpected extra arguments to Store
STORE a FLAGS (\Seen) => Invalid sequence in Store
STORE 1 +FLAGS "abc" => Missing required argument to Store
STORE 1 +FLAGS ({3+}) => Invalid flag name {3+} in Store command
SEARCH => Missing required argument to Search
SEARCH FOO => Invalid Search criteria
SEARCH NOT => Missing required argument to Search not
SEARCH NOT DELETED x => Invalid Search criteria
SEARCH OR => Missing required argument to Search or
SEARCH (SEEN FLAGGED => Missing required close paren in Search command
SEARCH () => Invalid Search criteria
SEARCH ALL) => Unexpected extra arguments to Search
SEARCH (ALL) x => Invalid Search criteria
SEARCH CHARSET => Missing charset
SEARCH SUBJECT => Missing required argument to Search subject
SEARCH HEADER => Missing required argument to Search header
SEARCH HEADER Subject => Missing required argument to Search header
SEARCH KEYWORD \Seen => Invalid flag name \Seen in Search command
SEARCH KEYWORD => Missing required argument to Search keyword
SEARCH SINCE foo => Invalid date in Search command
SEARCH SINCE 1-Foo-2020 => Invalid date in Search command
SEARCH RETURN => Missing return options in Search
SEARCH RETURN ALL => Missing return options in Search
SEARCH RETURN(ALL) ALL => Missing return options in Search
SEARCH RETURN (ALL => Missing close parenthesis in Search
SEARCH RETURN (FOO) ALL => Invalid Search return option foo
SEARCH RETURN (ALL) => Missing required argument to Search
SEARCH RETURN (PARTIAL 1) ALL => Invalid range in Search return option partial
SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL => Only one of partial and all can be returned by Search
SEARCH RETURN (PARTIAL 1:2 ALL) ALL => Only one of partial and all can be returned by Search
SEARCH FUZZY => Missing required argument to Search fuzzy
SEARCH OLDER => Missing required argument to Search older
SEARCH YOUNGER x => Invalid interval in Search command
SEARCH EMAILID => Missing required argument to Search emailid
SEARCH $1 => Invalid Search criteria
SORT => Missing required argument to Sort
SORT DATE UTF-8 ALL => Missing Sort criteria
SORT () UTF-8 ALL => Missing Sort criteria
SORT (FOO) UTF-8 ALL => Invalid Sort criterion foo
SORT (REVERSE) UTF-8 ALL => Missing Sort criterion to reverse
SORT (DATE UTF-8 ALL => Invalid Sort criterion utf-8
SORT (DATE => Missing close parenthesis in Sort
SORT (DATE) => Missing charset
SORT (DATE) UTF-8 => Missing charset
SORT (DATE) (UTF-8) ALL => Missing charset
SORT RETURN (FOO) (DATE) UTF-8 ALL => Invalid Search return option foo
THREAD => Missing required argument to Thread
THREAD REFERENCES => Missing algorithm in Thread
THREAD FOO UTF-8 ALL => Invalid Thread algorithm FOO
THREAD REFERENCES UTF-8 => Missing charset
UID THREAD REFERENCES UTF-8 FOO => Invalid Search criteria
ESEARCH => Missing required argument to Esearch
ESEARCH IN () ALL => Invalid source mailboxes in Esearch
ESEARCH IN (foo) ALL => Invalid source mailboxes in Esearch
ESEARCH IN (mailboxes a (depth 1)) ALL => Invalid scope option in Esearch
CANCELUPDATE => Missing required argument to Cancelupdate
SEARCH MODSEQ x => Invalid number in Search command
SEARCH MODSEQ => Missing required argument to Search modseq
SEARCH LARGER x => Invalid number in Search command
SEARCH UID x => Invalid Search criteria
SEARCH UID => Missing required argument to Search uid
SEARCH ANNOTATION => Invalid Search criteria
SEARCH ANNOTATION /comment size "x" => Invalid Search criteria
SEARCH ANNOTATION /comment value x => Invalid Search criteria
SEARCH SUBJECT "unter => Missing required argument to Search subject
UID => Missing required argument to Uid
UID FOO => Missing required argument to Uid
UID FOO 1 => Unrecognized UID subcommand
UID FETCH => Missing required argument to Uid
UID FETCH x FLAGS => Invalid sequence in Uid
UID FETCH 1 FOO => Invalid UID Fetch attribute FOO
UID EXPUNGE => Missing required argument to Uid
UID EXPUNGE x => Invalid sequence in Uid
UID COPY 1 => Missing required argument to Uid
UID STORE x FLAGS x => Invalid sequence in Uid
COPY => Missing required argument to Copy
COPY 1 => Missing required argument to Copy
COPY x INBOX => Invalid sequence in Copy
COPY 1 INBOX x => Unexpected extra arguments to Copy
GETACL => Missing required argument to Getacl
SETACL INBOX user4 => Missing required argument to Setacl
SETACL INBOX user4 lr x => Unexpected extra arguments to Setacl
DELETEACL INBOX => Missing required argument to Deleteacl
LISTRIGHTS INBOX => Missing required argument to Listrights
MYRIGHTS => Missing required argument to Myrights
GETQUOTA => Missing required argument to Getquota
GETQUOTAROOT => Missing required argument to Getquotaroot
SETQUOTA shared => Missing required argument to Setquota
SETQUOTA shared STORAGE => Invalid quota list in Setquota
SETQUOTA shared (STORAGE) => Invalid quota list in Setquota
SETQUOTA shared (STORAGE x) => Invalid quota list in Setquota
"#;

#[test]
fn malformed_commands_are_refused_in_the_words_of_cyrus() {
    for line in REFUSALS.lines().filter(|line| !line.is_empty()) {
        let (command, words) = line.split_once(" => ").expect("every line has an arrow");
        let refusal = parse(format!("a {command}").as_bytes(), &|_| None).expect_err(command);
        assert_eq!(refusal.text, words, "{command}");
        assert_eq!(refusal.tag, Tag::new(b"a"), "{command}");
        assert!(refusal.at <= command.len() + 2, "{command}");
    }
}

#[test]
fn a_refusal_names_the_place() {
    let refusal = parse(b"a1 FETCH 1 (FLAGS FOO)", &|_| None).expect_err("FOO");
    assert_eq!(
        (refusal.at, refusal.text.as_ref()),
        (18, "Invalid Fetch attribute FOO")
    );
}

#[test]
fn without_a_tag_there_is_nobody_to_answer_to() {
    for text in ["", " ", "x", "+ NOOP", "a(b NOOP", "\u{fc} NOOP"] {
        let refusal = parse(text.as_bytes(), &|_| None).expect_err(text);
        assert_eq!(
            (refusal.tag, refusal.text.as_ref()),
            (None, "Invalid tag"),
            "{text}"
        );
    }
    let refusal = parse(b"x ", &|_| None).expect_err("nothing after the tag");
    assert_eq!(
        (refusal.tag, refusal.text.as_ref()),
        (Tag::new(b"x"), "Null command")
    );
}

#[test]
fn fetch_macros_and_items_become_a_set() {
    let CommandBody::Fetch { wanted, .. } = read("a FETCH 1 FULL").body else {
        panic!("not a FETCH")
    };
    for item in [
        FetchItems::FLAGS,
        FetchItems::INTERNALDATE,
        FetchItems::SIZE,
        FetchItems::ENVELOPE,
        FetchItems::BODY,
    ] {
        assert!(wanted.items.contains(item));
    }
    assert!(!wanted.marks_seen());
    let CommandBody::Fetch {
        wanted, numbering, ..
    } = read("a uid fetch 2:* (body[1.2.header.fields (\"Subject\" {4+}\r\nFrom)]<0.5> BODY.PEEK[] flags)")
        .body
    else {
        panic!("not a FETCH")
    };
    assert!(wanted.marks_seen() && numbering == Numbering::Uid && wanted.items.contains(FetchItems::UID));
    assert_eq!(wanted.sections.len(), 2);
    assert_eq!(
        wanted.sections[0],
        BodySection {
            section: Section {
                part: vec![1, 2],
                text: SectionText::HeaderFields(vec![b"Subject".to_vec(), b"From".to_vec()]),
            },
            peek: false,
            partial: Some((0, 5)),
        }
    );
}

#[test]
fn several_messages_are_appended_with_flags_and_dates() {
    let text = "a APPEND INBOX (\\Seen $Junk) \" 1-Jan-1970 00:00:01 +0000\" {3+}\r\nabc {0}\r\n";
    let CommandBody::Append { messages, .. } = read(text).body else {
        panic!("not an APPEND")
    };
    assert_eq!(messages.len(), 2);
    let flags = messages[0].flags.clone().expect("flags were given");
    assert_eq!(flags.system, SystemFlags::SEEN);
    assert_eq!(flags.keywords, [Keyword::new("$Junk").expect("an atom")]);
    assert_eq!(messages[0].internal_date, Some(1));
    assert_eq!(messages[0].content, in_memory(b"abc"));
    assert_eq!(messages[1].content, in_memory(b""));
}

#[test]
fn a_staged_literal_is_found_by_its_place() {
    let text = b"a APPEND INBOX {9}\r\n (\\Seen) {8}\r\n";
    let place = |at| match at {
        20 => Some(0),
        34 => Some(1),
        _ => None,
    };
    let CommandBody::Append { messages, .. } = parse(text, &place).expect("two staged messages").body else {
        panic!("not an APPEND")
    };
    let staged: Vec<_> = messages.into_iter().map(|message| message.content).collect();
    assert_eq!(
        staged,
        [0, 1].map(|index| AppendContent::Literal(Literal {
            form: LiteralForm::Plain,
            octets: Octets::Staged(index),
        }))
    );
}

#[test]
fn search_programs_are_limited_in_depth_and_length() {
    let deep = format!("a SEARCH {}ALL", "NOT ".repeat(SearchProgram::MAX_DEPTH + 1));
    let refusal = parse(deep.as_bytes(), &|_| None).expect_err("too deep");
    assert_eq!(refusal.text, "Search program nested too deep");
    let deep = format!("a SEARCH {}", "(".repeat(100_000));
    assert!(parse(deep.as_bytes(), &|_| None).is_err());
    let long = format!("a SEARCH{}", " ALL".repeat(SearchProgram::MAX_KEYS + 1));
    let refusal = parse(long.as_bytes(), &|_| None).expect_err("too long");
    assert_eq!(refusal.text, "Search program too long");
    read(&format!(
        "a SEARCH {}ALL",
        "NOT ".repeat(SearchProgram::MAX_DEPTH)
    ));
}

#[test]
fn fetch_commands_are_limited_in_sections_depth_and_fields() {
    let many = format!(
        "a FETCH 1 ({})",
        vec!["BODY[]"; FetchAttributes::MAX_SECTIONS + 1].join(" ")
    );
    assert!(parse(many.as_bytes(), &|_| None).is_err());
    let deep = format!(
        "a FETCH 1 BODY[{}]",
        vec!["1"; FetchAttributes::MAX_PART_DEPTH + 1].join(".")
    );
    assert!(parse(deep.as_bytes(), &|_| None).is_err());
    let fields = format!(
        "a FETCH 1 BODY[HEADER.FIELDS ({})]",
        vec!["x"; FetchAttributes::MAX_FIELDS + 1].join(" ")
    );
    assert!(parse(fields.as_bytes(), &|_| None).is_err());
}

#[test]
fn list_takes_selection_patterns_and_return_options() {
    let CommandBody::List(list) = read("a LIST (SPECIAL-USE) \"\" (a b%) RETURN (SUBSCRIBED CHILDREN)").body
    else {
        panic!("not a LIST")
    };
    assert!(list.select.special_use && list.returns.subscribed && list.returns.children);
    assert_eq!(list.patterns, [b"a".to_vec(), b"b%".to_vec()]);
    assert_eq!(list.form, ListForm::Extended);
    let text =
        "a LIST \"\" % RETURN (MYRIGHTS STATUS (MESSAGES UNSEEN) METADATA (/shared/comment \"/private/x\"))";
    let CommandBody::List(list) = read(text).body else {
        panic!("not a LIST")
    };
    let items = StatusItems::MESSAGES.with(StatusItems::UNSEEN);
    assert_eq!(list.returns.status, Some(items));
    assert_eq!(
        list.returns.metadata,
        Some(vec![b"/shared/comment".to_vec(), b"/private/x".to_vec()])
    );
    for (text, form) in [
        ("a LIST \"\" %", ListForm::Plain),
        ("a LIST () \"\" %", ListForm::Extended),
        ("a LIST \"\" (%)", ListForm::Extended),
        ("a XLIST \"\" %", ListForm::Xlist),
        ("a RLIST \"\" %", ListForm::Rlist),
    ] {
        assert!(
            matches!(read(text).body, CommandBody::List(list) if list.form == form),
            "{text}"
        );
    }
}

#[test]
fn create_takes_special_uses_and_a_partition() {
    let CommandBody::Create {
        mailbox,
        partition,
        special_use,
    } = read("a CREATE x (PARTITION p USE (\\Sent \\Junk))").body
    else {
        panic!("not a CREATE")
    };
    assert_eq!((mailbox, partition), (b"x".to_vec(), Some(b"p".to_vec())));
    assert_eq!(special_use, Some(vec![b"\\Sent".to_vec(), b"\\Junk".to_vec()]));
}

#[test]
fn metadata_options_stand_before_the_mailbox_or_after_it() {
    for text in [
        "a GETMETADATA (MAXSIZE 5 DEPTH infinity) INBOX /shared/x",
        "a GETMETADATA INBOX (depth INFINITY maxsize 5) (/shared/x)",
    ] {
        let CommandBody::GetMetadata(get) = read(text).body else {
            panic!("not a GETMETADATA")
        };
        assert_eq!((get.max_size, get.depth), (Some(5), MetadataDepth::Infinity));
        assert_eq!(get.entries, [b"/shared/x".to_vec()]);
    }
    let CommandBody::SetMetadata(set) =
        read("a SETMETADATA \"\" (/shared/a ~{2+}\r\n\0x /shared/b NIL)").body
    else {
        panic!("not a SETMETADATA")
    };
    assert_eq!(
        set.values,
        [
            (b"/shared/a".to_vec(), Some(b"\0x".to_vec())),
            (b"/shared/b".to_vec(), None)
        ]
    );
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-zA-Z0-9/.&-]{1,12}".prop_map(String::into_bytes),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..12),
    ]
}

fn field_name() -> impl Strategy<Value = Vec<u8>> {
    "[!-9;-~]{1,10}".prop_map(String::into_bytes)
}

fn keyword() -> impl Strategy<Value = Keyword> {
    "[$a-zA-Z][a-zA-Z0-9_.-]{0,8}".prop_map(|name| Keyword::new(&name).expect("an atom"))
}

fn flags() -> impl Strategy<Value = FlagNames> {
    let bits = (0_u32..32).prop_map(SystemFlags::from_bits);
    (bits, vec(keyword(), 0..3)).prop_map(|(system, mut keywords)| {
        let mut seen = Vec::new();
        keywords.retain(|keyword| {
            !seen.contains(keyword) && {
                seen.push(keyword.clone());
                true
            }
        });
        FlagNames { system, keywords }
    })
}

fn number() -> impl Strategy<Value = SeqNumber> {
    prop_oneof![
        (1_u32..).prop_map(|n| SeqNumber::Number(n.try_into().expect("not zero"))),
        Just(SeqNumber::Last),
    ]
}

fn set() -> impl Strategy<Value = SequenceSet> {
    let ranges = vec((number(), number()), 1..5);
    prop_oneof![
        9 => ranges.prop_map(|ranges| SequenceSet::new(ranges).expect("few ranges")),
        1 => Just(SequenceSet::saved()),
    ]
}

fn numbering() -> impl Strategy<Value = Numbering> {
    prop_oneof![Just(Numbering::Sequence), Just(Numbering::Uid)]
}

fn day() -> impl Strategy<Value = Date> {
    (-10_000_i64..100_000).prop_map(Date::from_days)
}

fn search_key() -> impl Strategy<Value = SearchKey> {
    let flag = prop_oneof![
        Just(SystemFlags::SEEN),
        Just(SystemFlags::DRAFT),
        Just(SystemFlags::DELETED)
    ];
    let field = prop_oneof![
        Just(TextField::Bcc),
        Just(TextField::Text),
        Just(TextField::Subject),
        Just(TextField::To)
    ];
    let date = prop_oneof![
        Just(DateField::Internal),
        Just(DateField::Sent),
        Just(DateField::Saved)
    ];
    let age = prop_oneof![Just(Age::Older), Just(Age::Younger)];
    let test = prop_oneof![Just(DateTest::Before), Just(DateTest::On), Just(DateTest::Since)];
    let audience = prop_oneof![
        Just(None),
        Just(Some(Audience::Shared)),
        Just(Some(Audience::Private))
    ];
    let annotation = (text(), audience, option::of(text()));
    let annotation = annotation.prop_map(|(entry, audience, value)| AnnotationKey {
        entry,
        audience,
        value,
    });
    let leaf = prop_oneof![
        annotation.prop_map(|key| SearchKey::Annotation(Box::new(key))),
        Just(SearchKey::All),
        Just(SearchKey::New),
        Just(SearchKey::Old),
        Just(SearchKey::Recent),
        flag.clone().prop_map(SearchKey::Has),
        flag.prop_map(SearchKey::Lacks),
        keyword().prop_map(SearchKey::Keyword),
        keyword().prop_map(SearchKey::Unkeyword),
        (date, test, day()).prop_map(|(date, test, day)| SearchKey::Date(date, test, day)),
        (field, text()).prop_map(|(field, text)| SearchKey::Contains(field, text)),
        (text(), text()).prop_map(|(name, text)| SearchKey::Header(name, text)),
        (age, 0..1_u64 << 63).prop_map(|(age, seconds)| SearchKey::Within(age, seconds)),
        text().prop_map(SearchKey::EmailId),
        text().prop_map(SearchKey::ThreadId),
        text().prop_map(SearchKey::Filter),
        Just(SearchKey::SaveDateSupported),
        (0..1_u64 << 63).prop_map(SearchKey::Larger),
        (0..1_u64 << 63).prop_map(SearchKey::Smaller),
        set().prop_map(SearchKey::Sequence),
        set().prop_map(SearchKey::Uid),
        (option::of(modseq_entry()), any::<u64>()).prop_map(|(entry, since)| SearchKey::ModSeq(entry, since)),
    ];
    leaf.prop_recursive(4, 16, 3, |key| {
        prop_oneof![
            key.clone().prop_map(|key| SearchKey::Not(Box::new(key))),
            key.clone().prop_map(|key| SearchKey::Fuzzy(Box::new(key))),
            (key.clone(), key.clone()).prop_map(|keys| SearchKey::Or(Box::new(keys))),
            vec(key, 1..4).prop_map(SearchKey::And),
        ]
    })
}

fn modseq_entry() -> impl Strategy<Value = ModSeqEntry> {
    let kind = prop_oneof![
        Just(EntryKind::Private),
        Just(EntryKind::Shared),
        Just(EntryKind::All)
    ];
    (text(), kind).prop_map(|(name, kind)| ModSeqEntry { name, kind })
}

fn section() -> impl Strategy<Value = BodySection> {
    let text = prop_oneof![
        Just(SectionText::Whole),
        Just(SectionText::Header),
        Just(SectionText::Text),
        vec(field_name(), 1..3).prop_map(SectionText::HeaderFields),
        vec(field_name(), 1..3).prop_map(SectionText::HeaderFieldsNot),
        Just(SectionText::Mime),
    ];
    let section = (vec(any::<u32>(), 0..4), text).prop_map(|(mut part, text)| {
        if text == SectionText::Mime && part.is_empty() {
            part.push(1);
        }
        Section { part, text }
    });
    (
        section,
        any::<bool>(),
        option::of((0..1_u64 << 63, 1..1_u64 << 63)),
    )
        .prop_map(|(section, peek, partial)| BodySection {
            section,
            peek,
            partial,
        })
}

fn in_memory(octets: &[u8]) -> AppendContent {
    AppendContent::Literal(Literal {
        form: LiteralForm::Plain,
        octets: Octets::Memory(octets.to_vec()),
    })
}

fn fetch_attributes() -> impl Strategy<Value = FetchAttributes> {
    let items = prop_oneof![
        Just(FetchItems::FLAGS.with(FetchItems::ENVELOPE)),
        Just(FetchItems::RFC822.with(FetchItems::BODY).with(FetchItems::UID)),
        Just(
            FetchItems::MODSEQ
                .with(FetchItems::EMAILID)
                .with(FetchItems::SIZE)
        ),
    ];
    let annotations = option::of((vec(text(), 1..3), vec(text(), 1..3)))
        .prop_map(|query| query.map(|(entries, attributes)| AnnotationQuery { entries, attributes }));
    (items, vec(section(), 0..3), annotations).prop_map(|(items, sections, annotations)| FetchAttributes {
        items,
        sections,
        annotations,
        ..FetchAttributes::default()
    })
}

fn list() -> impl Strategy<Value = ListCommand> {
    let select = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(subscribed, remote, recursive, special_use)| ListSelection {
            subscribed,
            remote,
            recursive_match: recursive && subscribed,
            special_use,
        },
    );
    let words = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let returns = (
        words,
        option::of(Just(StatusItems::MESSAGES)),
        option::of(vec(text(), 1..3)),
    );
    let returns = returns.prop_map(|(words, status, metadata)| ListReturns {
        subscribed: words.0,
        children: words.1,
        special_use: words.2,
        my_rights: words.3,
        status,
        metadata,
    });
    let form = prop_oneof![
        Just(ListForm::Plain),
        Just(ListForm::Extended),
        Just(ListForm::Xlist),
        Just(ListForm::Rlist)
    ];
    (form, select, text(), vec(text(), 1..4), returns).prop_map(
        |(form, select, reference, patterns, returns)| {
            let command = ListCommand {
                form,
                select,
                reference,
                patterns,
                returns,
            };
            match form {
                ListForm::Extended => command,
                _ => ListCommand {
                    select: ListSelection::default(),
                    patterns: command.patterns[..1].to_vec(),
                    returns: ListReturns::default(),
                    ..command
                },
            }
        },
    )
}

fn values() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    vec((text(), option::of(text())), 1..3)
}

fn changes() -> impl Strategy<Value = Vec<AnnotationChange>> {
    let change = (text(), values()).prop_map(|(entry, attributes)| AnnotationChange { entry, attributes });
    vec(change, 1..3)
}

fn metadata() -> impl Strategy<Value = CommandBody> {
    use CommandBody as C;
    let depth = prop_oneof![
        Just(MetadataDepth::Zero),
        Just(MetadataDepth::One),
        Just(MetadataDepth::Infinity)
    ];
    let entries = || vec(text(), 1..3);
    prop_oneof![
        (option::of(any::<u32>()), depth, text(), entries()).prop_map(
            |(max_size, depth, mailbox, entries)| {
                C::GetMetadata(GetMetadata {
                    max_size,
                    depth,
                    mailbox,
                    entries,
                })
            }
        ),
        (text(), values()).prop_map(|(mailbox, values)| C::SetMetadata(SetMetadata { mailbox, values })),
        (text(), entries(), entries()).prop_map(|(mailbox, entries, attributes)| {
            C::GetAnnotation(GetAnnotation {
                mailbox,
                entries,
                attributes,
            })
        }),
        (text(), changes())
            .prop_map(|(mailbox, changes)| C::SetAnnotation(SetAnnotation { mailbox, changes })),
    ]
}

fn known_set() -> impl Strategy<Value = SequenceSet> {
    let number = || (1_u32..).prop_map(|n| SeqNumber::Number(n.try_into().expect("not zero")));
    vec((number(), number()), 1..5).prop_map(|ranges| SequenceSet::new(ranges).expect("few ranges"))
}

fn select_parameters() -> impl Strategy<Value = SelectParameters> {
    // The same set twice: both are of one size.
    let matching = option::of(known_set().prop_map(|set| (set.clone(), set)));
    let known = (1_u32.., any::<u64>(), option::of(known_set()), matching).prop_map(
        |(uidvalidity, modseq, known, matching)| Qresync {
            uidvalidity,
            modseq,
            known,
            matching,
        },
    );
    (any::<bool>(), any::<bool>(), option::of(known)).prop_map(|(condstore, annotate, qresync)| {
        SelectParameters {
            condstore,
            annotate,
            qresync,
        }
    })
}

fn event_group() -> impl Strategy<Value = EventGroup> {
    let pair = EventSet::MESSAGE_NEW.with(EventSet::MESSAGE_EXPUNGE);
    let of_messages = prop_oneof![
        Just(EventSet::default()),
        Just(pair),
        Just(pair.with(EventSet::FLAG_CHANGE)),
        Just(EventSet::OF_MESSAGES),
    ];
    let of_mailboxes = prop_oneof![
        Just(EventSet::default()),
        Just(EventSet::MAILBOX_NAME),
        Just(EventSet::SUBSCRIPTION_CHANGE.with(EventSet::SERVER_METADATA_CHANGE)),
        Just(EventSet::MAILBOX_METADATA_CHANGE),
    ];
    let filter = prop_oneof![
        Just(MailboxFilter::Inboxes),
        Just(MailboxFilter::Personal),
        Just(MailboxFilter::Subscribed),
        vec(text(), 1..4).prop_map(MailboxFilter::Subtree),
        vec(text(), 1..4).prop_map(MailboxFilter::Mailboxes),
    ];
    (filter, of_messages, of_mailboxes, vec("X[a-z]{1,5}", 0..2)).prop_map(
        |(filter, of_messages, of_mailboxes, unknown)| EventGroup {
            filter,
            events: Events {
                known: of_messages.with(of_mailboxes),
                fetch: None,
                unknown: unknown.into_iter().map(String::into_bytes).collect(),
            },
        },
    )
}

fn notify_set() -> impl Strategy<Value = NotifySet> {
    let selected =
        (any::<bool>(), any::<bool>(), option::of(fetch_attributes())).prop_map(|(delayed, flags, fetch)| {
            EventGroup {
                filter: match delayed {
                    true => MailboxFilter::SelectedDelayed,
                    false => MailboxFilter::Selected,
                },
                events: Events {
                    known: match flags {
                        true => EventSet::OF_MESSAGES,
                        false => EventSet::MESSAGE_NEW.with(EventSet::MESSAGE_EXPUNGE),
                    },
                    fetch,
                    unknown: Vec::new(),
                },
            }
        });
    (any::<bool>(), option::of(selected), vec(event_group(), 1..4)).prop_map(
        |(status, selected, mut groups)| {
            groups.extend(selected);
            NotifySet { status, groups }
        },
    )
}

fn body() -> impl Strategy<Value = CommandBody> {
    use CommandBody as C;
    let mailbox = text;
    let status = prop_oneof![
        Just(StatusItems::MESSAGES),
        Just(
            StatusItems::UNSEEN
                .with(StatusItems::HIGHESTMODSEQ)
                .with(StatusItems::RECENT)
        ),
    ];
    let list = list().prop_map(C::List);
    let message = (
        option::of(flags()),
        option::of(0_i64..4_000_000_000),
        vec(any::<u8>(), 0..20),
    )
        .prop_map(|(flags, internal_date, bytes)| AppendMessage {
            flags,
            internal_date,
            annotations: Vec::new(),
            content: in_memory(&bytes),
        });
    let mode = prop_oneof![
        Just(StoreMode::Set),
        Just(StoreMode::Add),
        Just(StoreMode::Remove)
    ];
    let since = || option::of(any::<u64>());
    let store = (numbering(), set(), since(), mode, any::<bool>(), flags()).prop_map(
        |(numbering, set, unchanged_since, mode, silent, flags)| C::Store {
            numbering,
            set,
            unchanged_since,
            store: StoreFlags { mode, silent, flags },
        },
    );
    let modifiers = (since(), any::<bool>()).prop_map(|(changed_since, vanished)| FetchModifiers {
        changed_since,
        vanished: vanished && changed_since.is_some(),
        partial: None,
    });
    let fetch = (numbering(), set(), fetch_attributes(), modifiers).prop_map(
        |(numbering, set, mut wanted, mut modifiers)| {
            if numbering == Numbering::Uid {
                wanted.items = wanted.items.with(FetchItems::UID);
            }
            modifiers.vanished &= numbering == Numbering::Uid;
            C::Fetch {
                numbering,
                set,
                wanted,
                modifiers,
            }
        },
    );
    let simple = prop_oneof![
        Just(C::Capability),
        Just(C::Noop),
        Just(C::Logout),
        Just(C::StartTls),
        Just(C::Namespace),
        Just(C::Idle),
        Just(C::Unauthenticate),
        vec(text(), 0..4).prop_map(C::Language),
        option::of(notify_set()).prop_map(|set| C::Notify(set.map(Box::new))),
        Just(C::Check),
        Just(C::Close),
        Just(C::Unselect),
        Just(C::Expunge),
        set().prop_map(C::UidExpunge),
        (1_u32.., option::of((1_u32.., 1_u32..)))
            .prop_map(|(size, wanted)| C::UidBatches(UidBatches { size, wanted })),
        mailbox().prop_map(|mailbox| C::Delete { mailbox }),
        mailbox().prop_map(|mailbox| C::Subscribe { mailbox }),
        mailbox().prop_map(|mailbox| C::Unsubscribe { mailbox }),
        mailbox().prop_map(|mailbox| C::GetAcl { mailbox }),
        mailbox().prop_map(|mailbox| C::MyRights { mailbox }),
        mailbox().prop_map(|mailbox| C::GetQuotaRoot { mailbox }),
        text().prop_map(|root| C::GetQuota { root }),
    ];
    let named = prop_oneof![
        (text(), text()).prop_map(|(user, password)| C::Login { user, password }),
        "[A-Z0-9-]{1,10}".prop_map(|algorithm| C::Compress {
            algorithm: algorithm.into_bytes()
        }),
        ("[A-Z0-9-]{1,10}", option::of("[a-zA-Z0-9+/]{0,8}")).prop_map(|(mechanism, initial)| {
            C::Authenticate {
                mechanism,
                initial: initial.map(String::into_bytes),
            }
        }),
        vec((text(), option::of(text())), 0..4).prop_map(C::Id),
        vec("[A-Z0-9=-]{1,12}".prop_map(String::into_bytes), 1..4).prop_map(C::Enable),
        (mailbox(), any::<bool>(), select_parameters()).prop_map(|(mailbox, read_write, parameters)| {
            C::Select {
                mailbox,
                parameters,
                access: if read_write {
                    Access::ReadWrite
                } else {
                    Access::ReadOnly
                },
            }
        }),
        (
            mailbox(),
            option::of(text()),
            option::of(vec("\\\\[A-Za-z]{1,8}", 0..3))
        )
            .prop_map(|(mailbox, partition, uses)| C::Create {
                mailbox,
                partition,
                special_use: uses.map(|uses| uses.into_iter().map(String::into_bytes).collect()),
            }),
        (mailbox(), mailbox(), option::of(text())).prop_map(|(from, to, partition)| C::Rename {
            from,
            to,
            partition
        }),
        (text(), text()).prop_map(|(reference, pattern)| C::Lsub { reference, pattern }),
        (text(), text()).prop_map(|(reference, pattern)| C::Rlsub { reference, pattern }),
        (mailbox(), status).prop_map(|(mailbox, items)| C::Status { mailbox, items }),
        (mailbox(), text(), text()).prop_map(|(mailbox, identifier, rights)| C::SetAcl {
            mailbox,
            identifier,
            rights
        }),
        (mailbox(), text()).prop_map(|(mailbox, identifier)| C::DeleteAcl { mailbox, identifier }),
        (mailbox(), text()).prop_map(|(mailbox, identifier)| C::ListRights { mailbox, identifier }),
        (text(), vec(("[A-Z-]{1,12}", -1_i64..), 0..3)).prop_map(|(root, limits)| C::SetQuota {
            root,
            limits: limits
                .into_iter()
                .map(|(name, limit)| (name.into_bytes(), limit))
                .collect(),
        }),
    ];
    let messages = prop_oneof![
        (mailbox(), vec(message, 1..3)).prop_map(|(mailbox, messages)| C::Append { mailbox, messages }),
        (numbering(), option::of(text()), vec(search_key(), 1..4)).prop_map(|(numbering, charset, keys)| {
            C::Search {
                numbering,
                returns: None,
                program: SearchProgram { charset, keys },
            }
        }),
        (numbering(), set(), mailbox()).prop_map(|(numbering, set, mailbox)| C::Copy {
            numbering,
            set,
            mailbox
        }),
        (numbering(), set(), mailbox()).prop_map(|(numbering, set, mailbox)| C::Move {
            numbering,
            set,
            mailbox
        }),
    ];
    prop_oneof![simple, named, messages, list, store, fetch, metadata()]
}

proptest! {
    #[test]
    fn commands_written_and_read_again_are_the_same(tag in "[a-zA-Z0-9.]{1,8}", body in body()) {
        let command = Command { tag: Tag::new(tag.as_bytes()).expect("letters"), body };
        let mut text = Vec::new();
        command.write(&mut text);
        let again = parse(&text, &|_| None);
        prop_assert_eq!(again, Ok(command), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn arbitrary_octets_are_read_or_refused(text in vec(any::<u8>(), 0..200)) {
        let _ = parse(&text, &|_| None);
    }

    #[test]
    fn damaged_commands_are_read_or_refused(body in body(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut text = Vec::new();
        Command { tag: Tag::new(b"a").expect("a letter"), body }.write(&mut text);
        let at = at.index(text.len());
        text[at] = with;
        let _ = parse(&text, &|_| None);
        let _ = parse(&text[..at], &|_| None);
    }
}
