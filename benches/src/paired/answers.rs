//! Answers made comparable between servers: the spelling of strings, of letter case and the order of items may differ, what
//! they say may not.

/// One FETCH answer of some messages as lines `number item value`, sorted; strings of any spelling are quoted.
///
/// Letter case is folded, because types, encodings and NIL may come in any.
pub(super) fn fetched(answer: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(values) = response(answer, &mut at) {
        let [Value::Text(number), Value::Text(word), Value::List(items)] = values.as_slice() else {
            continue;
        };
        if word.eq_ignore_ascii_case("fetch") {
            for pair in items.chunks(2) {
                if let [Value::Text(item), value] = pair {
                    let mut text = String::new();
                    value.write(&mut text);
                    // A day of one digit may come after a space or a zero.
                    let text = text
                        .strip_prefix("\" ")
                        .map_or(text.clone(), |day| format!("\"0{day}"));
                    lines.push(format!("{number} {item} {text}").to_lowercase());
                }
            }
        }
    }
    lines.sort();
    lines
}

/// The number before a word of an untagged response, such as `12 EXISTS`.
pub(super) fn number_of(answer: &[u8], word: &str) -> Option<u64> {
    let text = String::from_utf8_lossy(answer);
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("* ")?.split_once(' '));
    lines
        .rfind(|(_, rest)| rest.eq_ignore_ascii_case(word))?
        .0
        .parse()
        .ok()
}

/// How many untagged responses have a word after their number, such as EXPUNGE.
pub(super) fn count_of(answer: &[u8], word: &str) -> usize {
    let text = String::from_utf8_lossy(answer);
    let lines = text.lines().filter(|line| {
        let mut words = line.split(' ').skip(2);
        line.starts_with("* ")
            && words
                .next()
                .is_some_and(|second| second.eq_ignore_ascii_case(word))
    });
    lines.count()
}

enum Value {
    Text(String),
    List(Vec<Value>),
}

impl Value {
    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(&format!("{text:?} ")),
            Self::List(values) => {
                out.push('(');
                values.iter().for_each(|value| value.write(out));
                out.push_str(") ");
            }
        }
    }
}

/// The values of the next untagged response; the tagged one ends the answer.
fn response(bytes: &[u8], at: &mut usize) -> Option<Vec<Value>> {
    if bytes.get(*at..)?.starts_with(b"* ") {
        *at += 2;
        let values = list(bytes, at);
        // To the end of the line, whatever else is there.
        while bytes.get(*at).is_some_and(|&byte| byte != b'\n') {
            *at += 1;
        }
        *at += 1;
        return Some(values);
    }
    None
}

/// Values up to `)` or the end of the line.
fn list(bytes: &[u8], at: &mut usize) -> Vec<Value> {
    let mut values = Vec::new();
    loop {
        match bytes.get(*at) {
            None | Some(b')' | b'\r' | b'\n') => return values,
            Some(b' ') => *at += 1,
            Some(b'(') => {
                *at += 1;
                values.push(Value::List(list(bytes, at)));
                if bytes.get(*at) == Some(&b')') {
                    *at += 1;
                }
            }
            Some(b'"') => values.push(Value::Text(quoted(bytes, at))),
            Some(b'{') => values.push(Value::Text(literal(bytes, at))),
            Some(_) => values.push(Value::Text(atom(bytes, at))),
        }
    }
}

fn quoted(bytes: &[u8], at: &mut usize) -> String {
    let mut text = Vec::new();
    *at += 1;
    while let Some(&byte) = bytes.get(*at) {
        *at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                text.extend(bytes.get(*at));
                *at += 1;
            }
            _ => text.push(byte),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn literal(bytes: &[u8], at: &mut usize) -> String {
    let rest = bytes.get(*at..).unwrap_or_default();
    let close = rest.iter().position(|&byte| byte == b'}').unwrap_or(rest.len());
    let length = std::str::from_utf8(rest.get(1..close).unwrap_or_default())
        .ok()
        .and_then(|text| text.parse().ok());
    let (begin, length) = (close + 3, length.unwrap_or(0));
    *at += begin + length;
    String::from_utf8_lossy(rest.get(begin..begin + length).unwrap_or_default()).into_owned()
}

fn atom(bytes: &[u8], at: &mut usize) -> String {
    let begin = *at;
    while bytes.get(*at).is_some_and(|byte| !b" ()\r\n\"".contains(byte)) {
        *at += 1;
    }
    String::from_utf8_lossy(bytes.get(begin..*at).unwrap_or_default()).into_owned()
}

#[test]
fn two_spellings_of_one_answer_are_the_same() {
    let one = b"* 1 FETCH (UID 4 ENVELOPE (NIL \"a\\\"b\" NIL) RFC822.SIZE 9)\r\n* 2 EXISTS\r\nb1 OK\r\n";
    let two = b"* 1 FETCH (RFC822.SIZE 9 ENVELOPE (nil {3}\r\na\"b NIL) UID 4)\r\nb1 OK\r\n";
    assert_eq!(fetched(one), fetched(two));
    assert_eq!(fetched(one).len(), 3);
    assert_eq!(number_of(one, "EXISTS"), Some(2));
    assert_eq!(count_of(one, "FETCH"), 1);
}
