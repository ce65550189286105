//! Searches of so many messages that several threads share the work: the answers are those of one.

#[path = "dialogues/driver.rs"]
#[allow(dead_code)]
mod driver;

use driver::{Client, Server};

const MANY: usize = 2_600;

/// A client with many messages: each third is about pears, all have a body of their own.
fn client() -> (Server, Client) {
    let server = Server::new(&[]);
    server.create("user/user1");
    let mut client = Client::connect(&server);
    client.output();
    assert!(client.line("a LOGIN user1 pass").starts_with("a OK "));
    let mut command = Vec::new();
    for number in 1..=MANY {
        if command.is_empty() {
            command.extend_from_slice(b"b APPEND INBOX");
        }
        let fruit = if number % 3 == 0 { "Pears" } else { "apples" };
        let references = match number {
            1 => String::new(),
            number => format!("References: <{}@x>\r\n", number / 2),
        };
        // Every tenth body is in base64, every seventh quoted-printable.
        let (encoding, body) = match number {
            number if number % 10 == 0 => ("base64", "dGhlIHF1aWNrIGJyb3duIGZveA==".to_owned()),
            number if number % 7 == 0 => ("quoted-printable", "the qui=\r\nck br=6Fwn fox".to_owned()),
            number => ("8bit", format!("the slow fox number {number}")),
        };
        let message = format!(
            "From: f{:04}@example.org\r\nSubject: {fruit}\r\nMessage-ID: <{number}@x>\r\n{references}\
             Content-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n",
            MANY - number
        );
        command.extend_from_slice(format!(" {{{}+}}\r\n{message}", message.len()).as_bytes());
        if number % 200 == 0 || number == MANY {
            command.extend_from_slice(b"\r\n");
            let said = client.send(&std::mem::take(&mut command));
            assert!(said.starts_with("b OK "), "{said}");
        }
    }
    assert!(client.line("c SELECT INBOX").ends_with("Completed\r\n"));
    (server, client)
}

/// The numbers of an untagged SEARCH or SORT.
fn numbers(said: &str) -> Vec<usize> {
    let line = said.lines().next().unwrap_or_default();
    line.split(' ')
        .skip(2)
        .map(|number| number.parse().expect("a number"))
        .collect()
}

#[test]
fn many_messages_are_searched_sorted_and_threaded_as_few_are() {
    let (_server, mut client) = client();
    let all = 1..=MANY;
    let matching =
        |wanted: &dyn Fn(usize) -> bool| all.clone().filter(|&number| wanted(number)).collect::<Vec<_>>();
    let mut search = |program: &str| numbers(&client.line(&format!("d {program}")));
    assert_eq!(search("SEARCH SUBJECT pear"), matching(&|number| number % 3 == 0));
    assert_eq!(
        search("SEARCH TEXT \"QUICK brown\""),
        matching(&|number| number % 10 == 0 || number % 7 == 0)
    );
    assert_eq!(
        search("SEARCH BODY slow NOT SUBJECT apples 100:2000"),
        matching(&|number| number % 3 == 0
            && number % 10 > 0
            && number % 7 > 0
            && (100..=2000).contains(&number))
    );
    let descending: Vec<usize> = all.clone().rev().collect();
    assert_eq!(search("SORT (FROM) UTF-8 ALL"), descending);
    let mut by_subject = matching(&|number| number % 3 > 0);
    by_subject.extend(matching(&|number| number % 3 == 0));
    assert_eq!(search("SORT (SUBJECT) UTF-8 ALL"), by_subject);
    // One tree, in which each message has its number's double and the one after that as children.
    let said = client.line("e THREAD REFS UTF-8 ALL");
    let line = said.lines().next().unwrap_or_default();
    let mut seen: Vec<usize> = line
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    assert!(line.starts_with("* THREAD (1 (2 (4 (8 ("), "{}", &line[..40]);
    seen.sort_unstable();
    assert!(seen.into_iter().eq(all));
}
