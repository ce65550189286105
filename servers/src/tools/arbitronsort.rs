//! `arbitronsort`: ranks the mailboxes of `arbitron`'s output by readers, then by subscribers.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

/// Ranks what `input` holds.
pub fn run(input: &mut dyn BufRead, out: &mut dyn Write) -> u8 {
    let mut mailboxes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in input.lines() {
        let line = match line {
            Ok(line) => line,
            Err(error) => return super::fatal(&error, super::DATA_ERROR),
        };
        if let Some((name, counts)) = parse(&line) {
            mailboxes.insert(name.to_owned(), counts);
        }
    }
    rank(&mailboxes, |(readers, _)| readers, out);
    let _ = write!(out, "\n\n");
    rank(&mailboxes, |(_, subscribers)| subscribers, out);
    let _ = out.flush();
    0
}

/// `shared.x 3 4`, with or without the names of users behind the numbers.
fn parse(line: &str) -> Option<(&str, (u64, u64))> {
    let (rest, subscribers) = line.rsplit_once(' ')?;
    let (name, readers) = rest.rsplit_once(' ')?;
    let count = |text: &str| text.split(':').next()?.parse().ok();
    Some((name, (count(readers)?, count(subscribers)?)))
}

fn rank(mailboxes: &BTreeMap<String, (u64, u64)>, of: fn((u64, u64)) -> u64, out: &mut dyn Write) {
    let mut ranked: Vec<(&String, u64)> = mailboxes
        .iter()
        .map(|(name, counts)| (name, of(*counts)))
        .collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (place, (name, count)) in (1..).zip(ranked) {
        let _ = writeln!(out, "{place}: {name} - {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_ranked_twice_and_equals_by_name() {
        let mut out = Vec::new();
        let input = b"b 1 5\na b 1 0\nc 7:x,y 2:z\nnoise\n";
        assert_eq!(run(&mut &input[..], &mut out), 0);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1: c - 7\n2: a b - 1\n3: b - 1\n\n\n1: b - 5\n2: c - 2\n3: a b - 0\n"
        );
    }
}
