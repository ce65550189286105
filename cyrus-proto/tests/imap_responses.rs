//! Every response that the encoder can write is read back by an independent codec, and says the same.

use cyrus_proto::imap::command::{BodySection, Section, SectionText, StatusItems, Tag};
use cyrus_proto::imap::response::*;
use cyrus_store::{KeywordBits, SystemFlags};
use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;
use imap_codec::encode::Encoder;
use imap_codec::imap_types::response::{Data, Response, Status as TheirStatus};
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// Reads exactly one response.
fn read(bytes: &[u8]) -> Response<'_> {
    match ResponseCodec::default().decode(bytes) {
        Ok((rest, response)) => {
            assert!(rest.is_empty(), "{}", String::from_utf8_lossy(bytes));
            response
        }
        Err(error) => panic!("{}: {error:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Reads the response and has the other codec write it: the same octets.
fn agrees(bytes: &[u8]) {
    let again = ResponseCodec::default().encode(&read(bytes)).dump();
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(bytes));
}

#[test]
fn status_responses_with_every_code() {
    let tag = Tag::new(b"a1").expect("a tag");
    let codes = [
        Code::Alert,
        Code::AppendUid(7, "3:5".into()),
        Code::AuthenticationFailed,
        Code::BadCharset(&["UTF-8", "US-ASCII"]),
        Code::BadUrl("\"/INBOX/;UID=99\"".into()),
        Code::Capability("IMAP4rev1 LITERAL+ ID".into()),
        Code::Closed,
        Code::CopyUid(7, "1,3:4".into(), "9:11".into()),
        Code::ExpungeIssued,
        Code::HasChildren,
        Code::HighestModSeq(99),
        Code::MailboxId("abc".into()),
        Code::OverQuota,
        Code::PermanentFlags("\\Seen $Junk \\*".into()),
        Code::ReadOnly,
        Code::ReadWrite,
        Code::TooBig,
        Code::TryCreate,
        Code::UidNext(8),
        Code::UidValidity(9),
        Code::Unavailable,
        Code::UnknownCte,
        Code::Unseen(3),
        Code::UrlMech("INTERNAL"),
    ];
    for code in codes {
        for reply in [Reply::ok("Completed"), Reply::no("No"), Reply::bad("Bad")] {
            let reply = reply.with(code.clone());
            let tagged = written(|out| reply.put_tagged(out, &tag));
            assert!(matches!(read(&tagged), Response::Status(TheirStatus::Tagged(_))));
            let untagged = written(|out| reply.put_untagged(out));
            assert!(matches!(
                read(&untagged),
                Response::Status(TheirStatus::Untagged(_))
            ));
            let Response::Status(status) = read(&untagged) else {
                unreachable!("matched above")
            };
            assert!(status.code().is_some(), "{code}");
        }
    }
    agrees(b"* BYE LOGOUT received\r\n");
    let bye = written(|out| Reply::bye("LOGOUT received").put_untagged(out));
    assert_eq!(bye, b"* BYE LOGOUT received\r\n");
}

#[test]
fn mailbox_data() {
    agrees(&written(|out| put_exists(out, 23)));
    agrees(&written(|out| put_recent(out, 0)));
    agrees(&written(|out| put_expunge(out, 44)));
    agrees(&written(|out| put_flags_line(out, "\\Answered \\Seen $Junk")));
    agrees(&written(|out| put_search(out, [2, 84, 882], None)));
    agrees(&written(|out| put_search(out, [], None)));
    let capability = written(|out| put_capability(out, "IMAP4rev1 LITERAL+ AUTH=PLAIN"));
    assert!(matches!(read(&capability), Response::Data(Data::Capability(list)) if list.as_ref().len() == 3));
    agrees(&written(|out| {
        put_list(out, "LIST", "\\HasNoChildren \\Sent", Some('/'), b"a/b c")
    }));
    agrees(&written(|out| put_list(out, "LSUB", "", Some('.'), b"INBOX")));
    agrees(&written(|out| {
        put_list(out, "LIST", "\\Noselect", Some('/'), b"")
    }));
    agrees(&written(|out| {
        put_namespace(out, [&[""], &["Other Users/"], &["Shared Folders/"]], '/')
    }));
    agrees(&written(|out| put_namespace(out, [&[], &["user."], &[""]], '.')));
    agrees(&written(|out| put_id(out, &[])));
    agrees(&written(|out| {
        put_id(
            out,
            &[("name".into(), "x".into()), ("version".into(), "1".into())],
        )
    }));
    agrees(&written(|out| {
        put_quota(out, b"user/fred", [("STORAGE", 10, 512), ("MESSAGE", 1, 2)])
    }));
    agrees(&written(|out| put_quota_root(out, b"INBOX", Some(b"user/fred"))));
    agrees(&written(|out| put_quota_root(out, b"INBOX", None)));
}

#[test]
fn status_data() {
    let data = StatusData {
        messages: 1,
        recent: 2,
        uidnext: 3,
        uidvalidity: 4,
        mailboxid: "id".into(),
        unseen: 5,
        size: 6,
        deleted: 7,
        highestmodseq: 8,
        ..StatusData::default()
    };
    let known = StatusItems::MESSAGES
        .with(StatusItems::RECENT)
        .with(StatusItems::UIDNEXT)
        .with(StatusItems::UIDVALIDITY)
        .with(StatusItems::UNSEEN)
        .with(StatusItems::HIGHESTMODSEQ);
    agrees(&written(|out| put_status(out, b"a b", known, &data)));
    let all = known.with(StatusItems::MAILBOXID).with(StatusItems::SIZE);
    let text = written(|out| put_status(out, b"INBOX", all, &data));
    assert_eq!(
        String::from_utf8_lossy(&text),
        "* STATUS INBOX (MESSAGES 1 RECENT 2 UIDNEXT 3 UIDVALIDITY 4 MAILBOXID (id) UNSEEN 5 SIZE 6 HIGHESTMODSEQ 8)\r\n"
    );
}

#[test]
fn access_control_data_has_the_forms_of_rfc_4314() {
    let text = written(|out| put_acl(out, b"INBOX", [("fred", "lrs"), ("a b", "p")]));
    assert_eq!(text, b"* ACL INBOX fred lrs \"a b\" p\r\n");
    let text = written(|out| put_list_rights(out, b"a b", b"fred", "", ["l", "r"]));
    assert_eq!(text, b"* LISTRIGHTS \"a b\" fred \"\" l r\r\n");
    let text = written(|out| put_my_rights(out, b"INBOX", "lrs"));
    assert_eq!(text, b"* MYRIGHTS INBOX lrs\r\n");
}

#[test]
fn metadata_uses_a_literal8_only_for_nul() {
    let entries = [
        ("/shared/comment".to_owned(), Some(b"x".to_vec())),
        ("/private/comment".to_owned(), None),
    ];
    agrees(&written(|out| put_metadata(out, b"INBOX", &entries)));
    let entries = [("/shared/x".to_owned(), Some(b"a\0b".to_vec()))];
    let text = written(|out| put_metadata(out, b"INBOX", &entries));
    assert_eq!(text, b"* METADATA INBOX (\"/shared/x\" ~{3}\r\na\0b)\r\n");
}

fn section(part: &[u32], text: SectionText, partial: Option<(u64, u64)>) -> BodySection {
    BodySection {
        section: Section {
            part: part.to_vec(),
            text,
        },
        peek: true,
        partial,
    }
}

#[test]
fn fetch_with_every_item() {
    let keyword = |slot| ["$Junk", "work"].get(slot).copied();
    let text = written(|out| {
        let mut line = FetchLine::begin(out, 12);
        line.flags(true, SystemFlags::ALL, KeywordBits([3, 0, 0, 0]), keyword);
        line.uid(7);
        line.internal_date(1_578_737_410, 0);
        line.modseq(9);
        line.size(27);
        line.raw("ENVELOPE", b"(NIL \"hello\" NIL NIL NIL NIL NIL NIL NIL NIL)");
        line.raw(
            "BODYSTRUCTURE",
            b"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 9 1 NIL NIL NIL NIL)",
        );
        line.raw(
            "BODY",
            b"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 9 1)",
        );
        line.text("RFC822.HEADER", Some(b"A: b\r\n\r\n"));
        line.text("RFC822.TEXT", Some(b""));
        line.text("RFC822", None);
        line.section(&section(&[], SectionText::Whole, None), Some(b"A: b\r\n\r\n"));
        line.section(&section(&[1, 2], SectionText::Mime, Some((5, 1))), Some(b"x"));
        let fields = SectionText::HeaderFields(vec![b"Subject".to_vec(), b"X Y".to_vec()]);
        line.section(&section(&[], fields, None), Some(b"\r\n"));
        let fields = SectionText::HeaderFieldsNot(vec![b"To".to_vec()]);
        line.section(&section(&[3], fields, None), None);
        line.end();
    });
    agrees(&text);
}

#[test]
fn a_body_announced_as_a_literal_is_the_same_as_one_written() {
    let whole = section(&[], SectionText::Whole, None);
    let inline = written(|out| {
        let mut line = FetchLine::begin(out, 1);
        line.section(&whole, Some(b"body"));
        line.text("RFC822", Some(b"more"));
        line.end();
    });
    let pieces = written(|out| {
        let mut line = FetchLine::begin(out, 1);
        line.section_literal(&whole, 4);
        out.extend_from_slice(b"body");
        let mut line = FetchLine::resume(out);
        line.literal("RFC822", 4);
        out.extend_from_slice(b"more");
        FetchLine::resume(out).end();
    });
    assert_eq!(inline, pieces);
}

#[test]
fn fetch_items_of_later_rfcs_have_their_forms() {
    let text = written(|out| {
        let mut line = FetchLine::begin(out, 1);
        line.flags(false, SystemFlags::NONE, KeywordBits::default(), |_| None);
        line.email_id("M1");
        line.thread_id(None);
        line.save_date(Some(0), 0);
        line.annotations([(
            "/comment",
            vec![("value.priv", None), ("value.shared", Some(b"x".to_vec()))],
        )]);
        line.end();
    });
    assert_eq!(
        String::from_utf8_lossy(&text),
        "* 1 FETCH (FLAGS () EMAILID (M1) THREADID NIL SAVEDATE \" 1-Jan-1970 00:00:00 +0000\" \
         ANNOTATION (/comment (value.priv NIL value.shared \"x\")))\r\n"
    );
}

#[test]
fn continuations() {
    let text = written(|out| put_continuation(out, "go ahead"));
    assert!(matches!(read(&text), Response::CommandContinuationRequest(_)));
}

proptest! {
    #[test]
    fn mailbox_names_come_back(name in proptest::collection::vec(1_u8..0x80, 0..40)) {
        let text = written(|out| put_list(out, "LIST", "", Some('/'), &name));
        let (rest, response) = ResponseCodec::default().decode(&text).map_err(|error| {
            TestCaseError::fail(format!("{error:?}"))
        })?;
        prop_assert!(rest.is_empty());
        let Response::Data(Data::List { mailbox, .. }) = response else {
            return Err(TestCaseError::fail("not a LIST"));
        };
        let theirs = match mailbox {
            imap_codec::imap_types::mailbox::Mailbox::Inbox => b"INBOX".to_vec(),
            imap_codec::imap_types::mailbox::Mailbox::Other(other) => other.as_ref().to_vec(),
        };
        prop_assert!(theirs.eq_ignore_ascii_case(&name));
    }

    #[test]
    fn bodies_of_any_octets_come_back(body in proptest::collection::vec(1_u8.., 0..200)) {
        let text = written(|out| {
            let mut line = FetchLine::begin(out, 1);
            line.text("RFC822", Some(&body));
            line.end();
        });
        let again = ResponseCodec::default().encode(&read(&text)).dump();
        prop_assert_eq!(again, text);
    }
}
