//! Parsers: messages, commands, names, patterns, access control lists.

use std::convert::Infallible;

use cyrus_acl::Acl;
use cyrus_proto::frame::{Event, Framer, Limits};
use cyrus_store::message::MessageParser;
use cyrus_store::{MailboxName, Pattern, Separator, utf7};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// A plain message of about so many octets.
fn plain(size: usize) -> Vec<u8> {
    let mut text = String::from(
        "Return-Path: <ann@rig.example>\r\nReceived: from mx.example (mx.example [192.0.2.1])\r\n\tby relay.example with \
         ESMTPS id 1\r\n\tfor <to@rig.example>; Thu, 1 Feb 2024 10:00:00 +0000\r\nFrom: Ann <ann@rig.example>\r\n\
         To: \"Bob, the Second\" <bob@rig.example>, carol@rig.example\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= and more words\r\n\
         Date: Thu, 1 Feb 2024 10:00:00 +0000\r\nMessage-ID: <1@rig.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
    );
    while text.len() < size {
        text.push_str("Some words of an ordinary message, one line of them after another, and so on.\r\n");
    }
    text.into_bytes()
}

/// A message of text, HTML and an attachment in base64.
fn with_attachment(size: usize) -> Vec<u8> {
    let text = "From: ann@rig.example\r\nSubject: parts\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nText.\r\n\
         --=_b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C3=BC</p>\r\n--=_b\r\n\
         Content-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let mut text = text.to_owned();
    while text.len() < size {
        text.push_str("TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsuTWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsu\r\n");
    }
    text.push_str("--=_b--\r\n");
    text.into_bytes()
}

#[divan::bench(args = [4096, 65_536])]
fn message_plain(bencher: Bencher<'_, '_>, size: usize) {
    let message = plain(size);
    bencher
        .counter(BytesCount::new(message.len()))
        .bench(|| MessageParser::parse(black_box(&message)));
}

#[divan::bench(args = [65_536])]
fn message_with_attachment(bencher: Bencher<'_, '_>, size: usize) {
    let message = with_attachment(size);
    bencher
        .counter(BytesCount::new(message.len()))
        .bench(|| MessageParser::parse(black_box(&message)));
}

#[divan::bench]
fn frame_commands(bencher: Bencher<'_, '_>) {
    let input = b"a1 UID FETCH 1:* (FLAGS)\r\na2 LOGIN {5+}\r\nalice {4+}\r\npass\r\n".repeat(100);
    bencher.counter(ItemsCount::new(200_usize)).bench(|| {
        let mut framer: Framer<Infallible> = Framer::new(Limits::default());
        framer.push(black_box(&input));
        let mut commands = 0;
        loop {
            match framer.next() {
                Event::NeedInput => return commands,
                Event::Literal(_) => framer.accept_in_memory(),
                Event::Command(_) | Event::Refused(_) => commands += 1,
            }
        }
    });
}

#[divan::bench]
fn acl_text(bencher: Bencher<'_, '_>) {
    let text = "alice\tlrswipkxtecdan\tanyone\tp\tgroup:staff\tlrs\t-dave\twi\tbob\tlrswi\t";
    bencher.bench(|| Acl::parse(black_box(text)));
}

#[divan::bench]
fn mailbox_name(bencher: Bencher<'_, '_>) {
    bencher.bench(|| MailboxName::parse(black_box("user.alice.Projects.Alpha.Deep")));
}

#[divan::bench]
fn utf7_decode(bencher: Bencher<'_, '_>) {
    bencher.bench(|| utf7::decode(black_box("Projekte/&ANw-bersicht &- mehr/&ZeVnLIqe-")));
}

#[divan::bench]
fn list_pattern(bencher: Bencher<'_, '_>) {
    let pattern = Pattern::new("", "user/%/*Alpha*", Separator::Slash).ok();
    let names: Vec<String> = (0..100)
        .map(|number| format!("user/alice{number}/Projects/Alpha/Deep"))
        .collect();
    bencher.counter(ItemsCount::new(names.len())).bench(|| {
        let pattern = pattern.as_ref()?;
        Some(
            names
                .iter()
                .filter(|name| pattern.matches(black_box(name)))
                .count(),
        )
    });
}
