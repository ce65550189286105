//! `BODY[HEADER.FIELDS (…)]` and `BODY[HEADER.FIELDS.NOT (…)]`: some fields of a header.

use memchr::memchr;

use super::headers::{MAX_HEADER_LINES, until_nul};

/// Which fields of a header.
#[derive(Clone, Copy, Debug)]
pub enum Fields<'a, N> {
    /// HEADER.FIELDS: these.
    Only(&'a [N]),
    /// HEADER.FIELDS.NOT: all but these.
    Not(&'a [N]),
}

/// The fields of `header` that `fields` asks for, and the empty line that ends every such answer.
///
/// `header` may be a part's whole header or the HEADERS item of a cache record. The fields come as they stand in the
/// message. As in Cyrus, a line without a colon is a field only if some later line has one, and no more than 1,001
/// fields are looked at.
pub fn select_fields<N: AsRef<[u8]>>(header: &[u8], fields: Fields<'_, N>) -> Vec<u8> {
    let header = until_nul(header);
    let mut selected = Vec::new();
    let mut at = 0;
    let mut colon = Some(0);
    for _ in 0..=MAX_HEADER_LINES {
        let rest = header.get(at..).unwrap_or_default();
        if rest.is_empty() || rest.starts_with(b"\r") {
            break;
        }
        if colon.is_some_and(|colon| colon < at || header.get(colon) != Some(&b':')) {
            colon = memchr(b':', rest).map(|found| at + found);
        }
        let name = colon.and_then(|colon| header.get(at..colon));
        let named = |names: &[N]| {
            name.is_some_and(|name| {
                names
                    .iter()
                    .any(|wanted| wanted.as_ref().eq_ignore_ascii_case(name))
            })
        };
        let wanted = match fields {
            Fields::Only(names) => named(names),
            Fields::Not(names) => name.is_some() && !names.is_empty() && !named(names),
        };
        let end = at + field_with_break(rest);
        if wanted {
            selected.extend_from_slice(header.get(at..end).unwrap_or_default());
        }
        at = end;
    }
    selected.extend_from_slice(b"\r\n");
    selected
}

/// The values of the fields called `name` in `header`, in their order: what stands after the colon, folded as it is,
/// with the last line break.
pub fn field_values<'a>(header: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = until_nul(header);
    std::iter::from_fn(move || {
        while !rest.is_empty() && !rest.starts_with(b"\r") {
            let (field, after) = rest.split_at(field_with_break(rest));
            rest = after;
            if let Some((found, value)) = super::headers::split_name(field)
                && found.eq_ignore_ascii_case(name)
            {
                return Some(value);
            }
        }
        None
    })
}

/// Size of the field that `text` begins with, its last line break included.
fn field_with_break(text: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let rest = text.get(end..).unwrap_or_default();
        end += memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
        if !matches!(text.get(end), Some(b' ' | b'\t')) {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"From: a\r\nTo: b,\r\n c\r\nnonsense\r\nSubject: d\r\n\r\nBody: e\r\n";

    #[test]
    fn fields_are_selected_by_name_without_regard_to_case() {
        let names = ["TO", "subject", "X"];
        assert_eq!(
            select_fields(HEADER, Fields::Only(&names)),
            b"To: b,\r\n c\r\nSubject: d\r\n\r\n"
        );
        assert_eq!(
            select_fields(HEADER, Fields::Not(&names)),
            b"From: a\r\nnonsense\r\n\r\n"
        );
        assert_eq!(select_fields(HEADER, Fields::Only::<&str>(&[])), b"\r\n");
    }

    #[test]
    fn the_values_of_a_field_come_in_order() {
        let header = b"A: 1\r\nb: x\r\na: 2\r\n 3\r\nnonsense\r\n\r\na: body\r\n";
        assert_eq!(
            field_values(header, b"A").collect::<Vec<_>>(),
            [&b" 1\r\n"[..], b" 2\r\n 3\r\n"]
        );
        assert_eq!(field_values(header, b"c").count(), 0);
    }

    #[test]
    fn a_header_without_blank_line_ends_with_the_text() {
        assert_eq!(select_fields(b"From: a", Fields::Only(&["from"])), b"From: a\r\n");
        assert_eq!(select_fields(b"no colon\r\n", Fields::Not(&["x"])), b"\r\n");
    }
}
