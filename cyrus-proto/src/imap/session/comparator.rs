//! COMPARATOR: which collation searches and sorts use (RFC 5255, section 4.7).

use cyrus_store::search::Collation;

use super::ImapSession;
use crate::imap::command::Tag;
use crate::imap::response::{Code, Reply, put_comparator};

impl ImapSession {
    /// Tells the active collation, or makes the first one active that matches what the client wants.
    pub(super) fn comparator(&mut self, tag: &Tag, wanted: &[Vec<u8>]) {
        let mut matching = Vec::new();
        for wanted in wanted {
            let fitting = Collation::ALL.into_iter().filter(|known| matches(wanted, *known));
            for known in fitting {
                if !matching.contains(&known) {
                    matching.push(known);
                }
            }
        }
        match matching.first() {
            Some(&first) => self.collation = first,
            None if wanted.is_empty() => {}
            None => {
                let reply = Reply::no("No matching comparators found");
                self.reply(tag, &reply.with(Code::BadComparator));
                return;
            }
        }
        let active = self.collation;
        let names: Vec<&str> = matching.iter().map(|collation| collation.name()).collect();
        self.write(|out| put_comparator(out, active.name(), &names));
        self.reply(tag, &Reply::ok("Completed"));
    }
}

/// Whether a collation is what the client means: `default`, a name, or a pattern with `*` (RFC 4790, section 3.2).
fn matches(wanted: &[u8], known: Collation) -> bool {
    if wanted.eq_ignore_ascii_case(b"default") {
        return known == Collation::default();
    }
    let mut pieces = wanted.split(|&c| c == b'*');
    let name = known.name().as_bytes();
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        open = piece.is_empty();
        match memchr::memmem::find(rest, piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    open || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        let named = |wanted: &str| -> Vec<&str> {
            let fitting = Collation::ALL
                .into_iter()
                .filter(|known| matches(wanted.as_bytes(), *known));
            fitting.map(Collation::name).collect()
        };
        assert_eq!(named("i;octet"), ["i;octet"]);
        assert_eq!(named("i;*casemap"), ["i;unicode-casemap", "i;ascii-casemap"]);
        assert_eq!(named("DEFAULT"), ["i;unicode-casemap"]);
        assert_eq!(named("*").len(), 3);
        assert!(named("i;ascii-numeric").is_empty() && named("cz;*").is_empty() && named("").is_empty());
    }
}
