//! The grammar of the searching commands beside SEARCH: nothing is lost on the way to text and back.

use std::num::NonZeroU32;

use cyrus_proto::imap::command::{
    Command, CommandBody, FetchAttributes, FetchItems, MultiSearch, Numbering, PartialRange, SearchKey,
    SearchProgram, SearchReturn, SearchSource, SortCriterion, SortKey, Tag, ThreadAlgorithm, parse,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-zA-Z0-9 /.*()%]{1,12}".prop_map(String::into_bytes),
        vec(1_u8.., 0..12)
    ]
}

fn numbering() -> impl Strategy<Value = Numbering> {
    prop_oneof![Just(Numbering::Sequence), Just(Numbering::Uid)]
}

fn partial() -> impl Strategy<Value = PartialRange> {
    (any::<bool>(), any::<NonZeroU32>(), any::<NonZeroU32>())
        .prop_map(|(from_end, start, end)| PartialRange { from_end, start, end })
}

fn returns() -> impl Strategy<Value = SearchReturn> {
    (any::<[bool; 8]>(), option::of(partial())).prop_map(|(flags, partial)| {
        let [min, max, count, save, context, update, relevancy, fetch] = flags;
        let wanted = FetchAttributes {
            items: FetchItems::UID.with(FetchItems::FLAGS),
            ..FetchAttributes::default()
        };
        let returns = SearchReturn {
            min,
            max,
            count,
            all: false,
            save,
            context,
            update,
            fetch: (update && fetch).then(|| Box::new(wanted)),
            relevancy,
            partial,
        };
        SearchReturn {
            all: returns == SearchReturn::default(),
            ..returns
        }
    })
}

fn program() -> impl Strategy<Value = SearchProgram> {
    let key = prop_oneof![
        Just(SearchKey::All),
        text().prop_map(SearchKey::EmailId),
        (0..1_u64 << 63).prop_map(SearchKey::Larger)
    ];
    (text(), vec(key, 1..4)).prop_map(|(charset, keys)| SearchProgram {
        charset: Some(charset),
        keys,
    })
}

fn criterion() -> impl Strategy<Value = SortCriterion> {
    use SortKey as K;
    let keys = [
        K::Arrival,
        K::Cc,
        K::Date,
        K::DisplayFrom,
        K::DisplayTo,
        K::From,
        K::ModSeq,
        K::Relevancy,
        K::Size,
        K::Subject,
        K::To,
        K::Uid,
    ];
    (prop::sample::select(keys.to_vec()), any::<bool>())
        .prop_map(|(key, reverse)| SortCriterion { key, reverse })
}

fn source() -> impl Strategy<Value = SearchSource> {
    let names = || vec(text(), 1..4);
    prop_oneof![
        Just(SearchSource::Selected),
        Just(SearchSource::Inboxes),
        Just(SearchSource::Personal),
        Just(SearchSource::Subscribed),
        names().prop_map(SearchSource::Subtree),
        names().prop_map(SearchSource::SubtreeOne),
        names().prop_map(SearchSource::Mailboxes),
    ]
}

fn body() -> impl Strategy<Value = CommandBody> {
    let algorithm = prop_oneof![
        Just(ThreadAlgorithm::OrderedSubject),
        Just(ThreadAlgorithm::References),
        Just(ThreadAlgorithm::Refs)
    ];
    prop_oneof![
        (numbering(), option::of(returns()), program()).prop_map(|(numbering, returns, program)| {
            CommandBody::Search {
                numbering,
                returns,
                program,
            }
        }),
        (
            numbering(),
            option::of(returns()),
            vec(criterion(), 1..4),
            program()
        )
            .prop_map(|(numbering, returns, criteria, program)| CommandBody::Sort {
                numbering,
                returns,
                criteria,
                program,
            }),
        (numbering(), algorithm, program()).prop_map(|(numbering, algorithm, program)| CommandBody::Thread {
            numbering,
            algorithm,
            program,
        }),
        (vec(source(), 0..4), option::of(returns()), program()).prop_map(|(sources, returns, program)| {
            CommandBody::MultiSearch(MultiSearch {
                sources,
                returns,
                program,
            })
        }),
        vec(text(), 1..4).prop_map(CommandBody::CancelUpdate),
        vec(text(), 0..4).prop_map(CommandBody::Comparator),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(body in body()) {
        let command = Command { tag: Tag::new(b"a1").expect("a tag"), body };
        let mut written = Vec::new();
        command.write(&mut written);
        prop_assert_eq!(parse(&written, &|_| None), Ok(command), "{}", String::from_utf8_lossy(&written));
    }
}

#[test]
fn a_list_of_sixty_four_kilobytes_is_read_or_refused_at_once() {
    for line in [
        format!("a ESEARCH IN (mailboxes ({})) ALL", vec!["x"; 32_000].join(" ")),
        format!("a SORT ({}) UTF-8 ALL", vec!["DATE"; 13_000].join(" ")),
        format!("a CANCELUPDATE {}", vec!["x"; 32_000].join(" ")),
        format!("a SEARCH RETURN ({}) ALL", vec!["MIN"; 16_000].join(" ")),
        format!("a SEARCH {}", "OR ".repeat(21_000)),
        format!("a SEARCH {}", "(".repeat(64_000)),
    ] {
        let answer = parse(line.as_bytes(), &|_| None);
        let is_refused = answer.is_err();
        assert!(is_refused || line.contains("RETURN"), "{}", &line[..40]);
    }
}
