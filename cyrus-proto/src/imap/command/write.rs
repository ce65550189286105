//! Writing commands back: the inverse of the grammar, for round-trip tests and for whoever speaks to another server.

use super::create::write_create_params;
use super::lex::is_atom_char;
use super::metadata::put_entry_atts;
use super::{Command, CommandBody};
use cyrus_store::FlagNames;

/// Appends an astring in its shortest form: atom, quoted string, or non-synchronising literal.
pub(crate) fn put_astring(out: &mut Vec<u8>, text: &[u8]) {
    let is_nil = text.eq_ignore_ascii_case(b"NIL");
    if !text.is_empty() && !is_nil && text.iter().all(|&c| is_atom_char(c) || c == b']') {
        out.extend_from_slice(text);
    } else {
        put_string(out, text);
    }
}

/// Appends a quoted string, or a non-synchronising literal where quoting cannot hold the octets.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|&c| !matches!(c, b'\r' | b'\n' | 0 | 0x80..)) && text.len() <= 1_024 {
        out.push(b'"');
        for &c in text {
            if matches!(c, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(c);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(format!("{{{}+}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
    }
}

pub(super) fn put_flags(out: &mut Vec<u8>, flags: &FlagNames) {
    out.push(b'(');
    out.extend_from_slice(flags.system.to_string().as_bytes());
    for keyword in &flags.keywords {
        if out.last() != Some(&b'(') {
            out.push(b' ');
        }
        out.extend_from_slice(keyword.as_str().as_bytes());
    }
    out.push(b')');
}

/// Appends astrings in parentheses.
pub(crate) fn put_astring_list(out: &mut Vec<u8>, list: &[Vec<u8>]) {
    for (i, item) in list.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        put_astring(out, item);
    }
    out.push(b')');
}

impl Command {
    /// Appends the command as a client would send it, without the final CRLF.
    ///
    /// Parsing that gives the same command again; a literal that went to a staging file is written as an empty one.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.tag.as_bytes());
        out.push(b' ');
        self.body.write(out);
    }
}

impl CommandBody {
    fn write(&self, out: &mut Vec<u8>) {
        use CommandBody as C;
        if let Some(uid) = self.numbering() {
            out.extend_from_slice(uid.prefix().as_bytes());
        }
        out.extend_from_slice(self.verb().name().to_ascii_uppercase().as_bytes());
        let mut strings = |strings: &[&[u8]]| {
            for string in strings {
                out.push(b' ');
                put_astring(out, string);
            }
        };
        match self {
            C::Capability | C::Noop | C::Logout | C::StartTls | C::Namespace | C::Idle => {}
            C::Check | C::Close | C::Unselect | C::Expunge | C::Unauthenticate => {}
            C::Compress { algorithm } => strings(&[algorithm]),
            C::Notify(None) => out.extend_from_slice(b" NONE"),
            C::Notify(Some(set)) => set.write(out),
            C::Language(ranges) => ranges.iter().for_each(|range| strings(&[range])),
            C::UidExpunge(set) => out.extend_from_slice(format!(" {set}").as_bytes()),
            C::Login { user, password } => strings(&[user, password]),
            C::Authenticate { mechanism, initial } => {
                strings(&[mechanism.as_bytes()]);
                if let Some(initial) = initial {
                    out.push(b' ');
                    out.extend_from_slice(if initial.is_empty() { b"=" } else { initial });
                }
            }
            C::Id(fields) => write_id(out, fields),
            C::Select {
                mailbox, parameters, ..
            } => {
                strings(&[mailbox]);
                parameters.write_list(out);
            }
            C::UidBatches(batches) => out.extend_from_slice(format!(" {batches}").as_bytes()),
            C::Enable(names) => {
                for name in names {
                    out.push(b' ');
                    out.extend_from_slice(name);
                }
            }
            C::Delete { mailbox } => strings(&[mailbox]),
            C::Xwarmup { mailbox } => {
                strings(&[mailbox]);
                out.extend_from_slice(b" ()");
            }
            C::Subscribe { mailbox } | C::Unsubscribe { mailbox } => strings(&[mailbox]),
            C::Create {
                mailbox,
                partition,
                special_use,
            } => {
                strings(&[mailbox]);
                write_create_params(out, partition.as_deref(), special_use.as_deref());
            }
            C::Rename { from, to, partition } => {
                strings(&[from, to]);
                if let Some(partition) = partition {
                    out.push(b' ');
                    put_astring(out, partition);
                }
            }
            C::List(list) => list.write(out),
            C::Lsub { reference, pattern } | C::Rlsub { reference, pattern } => {
                strings(&[reference]);
                out.push(b' ');
                put_string(out, pattern);
            }
            C::Status { mailbox, items } => {
                strings(&[mailbox]);
                out.push(b' ');
                items.write(out);
            }
            C::Append { mailbox, messages } => {
                strings(&[mailbox]);
                for message in messages {
                    message.write(out);
                }
            }
            C::Replace {
                message,
                mailbox,
                replacement,
                ..
            } => {
                let number = message.map_or_else(|| "*".to_owned(), |number| number.to_string());
                out.extend_from_slice(format!(" {number} ").as_bytes());
                put_astring(out, mailbox);
                replacement.write(out);
            }
            C::GenUrlAuth(urls) => super::urlauth::write_genurlauth(urls, out),
            C::UrlFetch(urls) => super::urlauth::write_urlfetch(urls, out),
            C::ResetKey { mailbox, mechanisms } => {
                super::urlauth::write_resetkey(mailbox.as_deref(), mechanisms, out);
            }
            C::Fetch {
                set,
                wanted,
                modifiers,
                ..
            } => {
                out.extend_from_slice(format!(" {set} ").as_bytes());
                wanted.write(out);
                modifiers.write_list(out);
            }
            C::Store {
                set,
                unchanged_since,
                store,
                ..
            } => {
                let modifier =
                    unchanged_since.map_or_else(String::new, |since| format!("(UNCHANGEDSINCE {since}) "));
                out.extend_from_slice(format!(" {set} {modifier}{} ", store.item_name()).as_bytes());
                put_flags(out, &store.flags);
            }
            C::StoreAnnotations {
                set,
                unchanged_since,
                changes,
                ..
            } => {
                let modifier =
                    unchanged_since.map_or_else(String::new, |since| format!("(UNCHANGEDSINCE {since}) "));
                out.extend_from_slice(format!(" {set} {modifier}ANNOTATION ").as_bytes());
                put_entry_atts(out, changes);
            }
            C::Search { returns, program, .. } => {
                returns.iter().for_each(|returns| returns.write(out));
                program.write(out);
            }
            C::Sort {
                returns,
                criteria,
                program,
                ..
            } => {
                returns.iter().for_each(|returns| returns.write(out));
                super::sort::write_criteria(out, criteria);
                program.write_criteria(out);
            }
            C::Thread {
                algorithm, program, ..
            } => {
                out.push(b' ');
                out.extend_from_slice(algorithm.name().as_bytes());
                program.write_criteria(out);
            }
            C::MultiSearch(search) => search.write(out),
            C::CancelUpdate(words) => {
                for word in words {
                    out.push(b' ');
                    put_string(out, word);
                }
            }
            C::Comparator(names) => {
                for name in names {
                    out.push(b' ');
                    put_astring(out, name);
                }
            }
            C::Copy { set, mailbox, .. } | C::Move { set, mailbox, .. } => {
                out.extend_from_slice(format!(" {set} ").as_bytes());
                put_astring(out, mailbox);
            }
            C::SetAcl {
                mailbox,
                identifier,
                rights,
            } => strings(&[mailbox, identifier, rights]),
            C::DeleteAcl { mailbox, identifier } | C::ListRights { mailbox, identifier } => {
                strings(&[mailbox, identifier]);
            }
            C::GetAcl { mailbox } | C::MyRights { mailbox } | C::GetQuotaRoot { mailbox } => {
                strings(&[mailbox]);
            }
            C::GetQuota { root } => strings(&[root]),
            C::SetQuota { root, limits } => {
                strings(&[root]);
                out.extend_from_slice(b" (");
                for (i, (resource, limit)) in limits.iter().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    put_astring(out, resource);
                    out.extend_from_slice(format!(" {limit}").as_bytes());
                }
                out.push(b')');
            }
            C::GetMetadata(get) => get.write(out),
            C::SetMetadata(set) => set.write(out),
            C::GetAnnotation(get) => get.write(out),
            C::SetAnnotation(set) => set.write(out),
        }
    }
}

fn write_id(out: &mut Vec<u8>, fields: &[(Vec<u8>, Option<Vec<u8>>)]) {
    if fields.is_empty() {
        out.extend_from_slice(b" NIL");
        return;
    }
    for (i, (name, value)) in fields.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b" (" } else { b" " });
        put_string(out, name);
        out.push(b' ');
        match value {
            Some(value) => put_string(out, value),
            None => out.extend_from_slice(b"NIL"),
        }
    }
    out.push(b')');
}
