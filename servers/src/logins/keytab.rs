//! The principals in a keytab of Kerberos 5: whether the server can take the tickets that are made for it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What is wrong with the keytab at `path`, if it shall serve `principal` (`imap/mail.example.org`); the realm does not matter.
pub(super) fn doubt(path: &Path, principal: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Some(format!("{}: {error}", path.display()));
    }
    let Some(principals) = principals(&bytes) else {
        return Some(format!("{} is not a keytab", path.display()));
    };
    let is_it = |held: &String| held.rsplit_once('@').is_some_and(|(name, _)| name == principal);
    match principals.iter().any(is_it) {
        true => None,
        false => Some(format!(
            "{} has no key of {principal} (it has: {})",
            path.display(),
            match principals.is_empty() {
                true => "none".to_owned(),
                false => principals.join(" "),
            }
        )),
    }
}

/// Octets of a keytab that are looked at.
const LARGEST: u64 = 1024 * 1024;

/// The principals of a keytab (version 5.2), each once; `None` for something else.
pub(crate) fn principals(keytab: &[u8]) -> Option<Vec<String>> {
    let mut rest = keytab.strip_prefix(&[5, 2])?;
    let mut found: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let size = i32::from_be_bytes(*size);
        // A negative size is a hole where an entry was; zero ends the file.
        let (entry, after) = match usize::try_from(size.unsigned_abs()) {
            Ok(0) | Err(_) => break,
            Ok(length) => after.split_at_checked(length)?,
        };
        rest = after;
        if size > 0 {
            let principal = principal(entry)?;
            if !found.contains(&principal) {
                found.push(principal);
            }
        }
    }
    Some(found)
}

/// `component/component@REALM` of an entry: a count, the realm, and the components, each with its length before it.
fn principal(entry: &[u8]) -> Option<String> {
    let (count, mut rest) = entry.split_first_chunk::<2>()?;
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        rest = after;
        let text = String::from_utf8_lossy(text);
        Some(
            text.chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect::<String>(),
        )
    };
    let realm = next()?;
    let components: Option<Vec<String>> = (0..u16::from_be_bytes(*count)).map(|_| next()).collect();
    Some(format!("{}@{realm}", components?.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(realm: &str, components: &[&str]) -> Vec<u8> {
        let mut body = (components.len() as u16).to_be_bytes().to_vec();
        for text in [realm].iter().chain(components) {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.bytes());
        }
        // Name type, time, version, and a key of two octets.
        body.extend([0, 0, 0, 1, 1, 2, 3, 4, 2, 0, 18, 0, 2, 7, 7]);
        let mut entry = (body.len() as u32).to_be_bytes().to_vec();
        entry.extend(body);
        entry
    }

    #[test]
    fn the_principals_of_a_keytab_are_named() {
        let mut keytab = vec![5, 2];
        keytab.extend(entry("EXAMPLE.ORG", &["imap", "mail.example.org"]));
        keytab.extend(entry("EXAMPLE.ORG", &["imap", "mail.example.org"]));
        keytab.extend((-6_i32).to_be_bytes());
        keytab.extend([0; 6]);
        keytab.extend(entry("EXAMPLE.ORG", &["host", "mail.example.org"]));
        assert_eq!(
            principals(&keytab).unwrap(),
            [
                "imap/mail.example.org@EXAMPLE.ORG",
                "host/mail.example.org@EXAMPLE.ORG"
            ]
        );
        for length in 3..keytab.len() {
            // A part of it is less of it, or nothing; never a crash.
            let _ = principals(&keytab[..length]);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keytab");
        assert!(doubt(&path, "imap/x").unwrap().contains("No such file"));
        std::fs::write(&path, keytab).unwrap();
        assert_eq!(doubt(&path, "imap/mail.example.org"), None);
        assert!(
            doubt(&path, "imap/other")
                .unwrap()
                .contains("has no key of imap/other (it has: imap/mail.example.org@"),
        );
        std::fs::write(&path, "no keytab").unwrap();
        assert!(doubt(&path, "imap/x").unwrap().contains("is not a keytab"));
    }
}
