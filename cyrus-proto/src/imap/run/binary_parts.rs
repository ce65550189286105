//! Parts sent as they are (`Content-Transfer-Encoding: binary`), which no mailbox can hold: they are kept in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cyrus_store::message::{Extent, MessageParser, field_values};

/// Gives `message` to `put` with every binary part in base64, as Cyrus has it; whatever is no such part stays as it is.
pub(super) fn without_binary_parts<E>(
    message: &[u8],
    put: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut at = 0;
    for (header, content) in binary_parts(message) {
        let header_start = header.offset as usize;
        let content_start = content.offset as usize;
        // Parts come in their order, and none within another.
        if header_start < at || content_start < header_start {
            continue;
        }
        put(message.get(at..header_start).unwrap_or_default())?;
        put(&in_base64_header(header.of(message)))?;
        put(message
            .get(header_start + header.of(message).len()..content_start)
            .unwrap_or_default())?;
        let content = content.of(message);
        let mut line = String::new();
        for octets in content.chunks(LINE) {
            line.clear();
            STANDARD.encode_string(octets, &mut line);
            line.push_str("\r\n");
            put(line.as_bytes())?;
        }
        at = content_start + content.len();
    }
    put(message.get(at..).unwrap_or_default())
}

/// Octets in a line of base64 (RFC 2045, section 6.8: 76 characters).
const LINE: usize = 57;

/// Header and content of all binary parts.
fn binary_parts(message: &[u8]) -> Vec<(Extent, Extent)> {
    let Ok(parsed) = MessageParser::parse(message) else {
        return Vec::new(); // too large, as will be said when it is kept
    };
    let Ok(sections) = parsed.record().sections() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut last_header = None;
    sections.any(&mut |section| {
        // The one part of a message that is no multipart has the message's header.
        last_header = section.header.or(last_header);
        if let (Some(header), Some(content)) = (last_header, section.content)
            && is_binary(header.of(message))
        {
            found.push((header, content));
        }
        false
    });
    found.sort_by_key(|(header, _)| header.offset);
    found
}

fn is_binary(header: &[u8]) -> bool {
    let value = field_values(header, ENCODING.as_bytes())
        .next()
        .unwrap_or_default();
    value.trim_ascii().eq_ignore_ascii_case(b"binary")
}

const ENCODING: &str = "Content-Transfer-Encoding";

/// The header of a part with `base64` for its encoding.
fn in_base64_header(header: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(header.len());
    let mut in_field = false;
    for line in header.split_inclusive(|&c| c == b'\n') {
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        if folded && in_field {
            continue;
        }
        let name = line.split(|&c| c == b':').next().unwrap_or_default();
        in_field = !folded && name.trim_ascii_end().eq_ignore_ascii_case(ENCODING.as_bytes());
        match in_field {
            true => changed.extend_from_slice(format!("{ENCODING}: base64\r\n").as_bytes()),
            false => changed.extend_from_slice(line),
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let done: Result<(), ()> = without_binary_parts(message, &mut |octets| {
            out.extend_from_slice(octets);
            Ok(())
        });
        assert_eq!(done, Ok(()));
        out
    }

    /// Messages, and what Cyrus 3.6.1 made of them.
    #[test]
    fn binary_parts_are_encoded_as_cyrus_does() {
        let multipart = b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\nab\0cd\xff\r\n--b\r\n\
            Content-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\nplain\r\n--b--\r\n";
        let kept = b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nYWIAY2T/\r\n\r\n--b\r\n\
            Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\ncGxhaW4=\r\n\r\n--b--\r\n";
        assert_eq!(changed(multipart), kept);
        let single = b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
            Content-Transfer-Encoding: binary\r\n\r\nab\0cd\xff\nx\r\n";
        let kept = b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nYWIAY2T/CngNCg==\r\n";
        assert_eq!(changed(single), kept);
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for message in [
            &b"Subject: b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nab\xffcd"[..],
            b"Subject: b\r\n\r\nab\0cd",
            b"",
            b"no header",
        ] {
            assert_eq!(changed(message), message);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_taken(
            before in "[a-zA-Z:;=/ \r\n-]{0,60}",
            content in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut message = before.into_bytes();
            message.extend_from_slice(b"\r\nContent-Transfer-Encoding: BINARY\r\n\r\n");
            message.extend_from_slice(&content);
            changed(&message);
        }
    }
}
