//! What the `krb5` mechanism needs of the system: the local realm, and the site's map of identities.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use cyrus_acl::Equivalents;

use crate::syslog::{Level, log};

/// The local realm: `default_realm` of the files that `KRB5_CONFIG` names, or of `/etc/krb5.conf`.
pub(super) fn local_realm() -> Option<String> {
    let named = std::env::var_os("KRB5_CONFIG").filter(|named| !named.is_empty());
    let files = named.map_or_else(
        || vec![PathBuf::from("/etc/krb5.conf")],
        |named| std::env::split_paths(&named).collect(),
    );
    files.iter().find_map(|file| realm_in(file, 0))
}

/// The first `default_realm` of a file or of one that it includes.
fn realm_in(path: &Path, depth: u8) -> Option<String> {
    if depth > DEEPEST {
        return None;
    }
    let text = read(path).ok()?;
    let mut in_defaults = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            in_defaults = section
                .split(']')
                .next()
                .is_some_and(|name| name.trim() == "libdefaults");
        } else if let Some(("include", file)) = directive(line) {
            if let Some(realm) = realm_in(Path::new(file), depth + 1) {
                return Some(realm);
            }
        } else if let Some(("includedir", folder)) = directive(line) {
            let mut files: Vec<PathBuf> = (std::fs::read_dir(folder).into_iter().flatten().flatten())
                .map(|entry| entry.path())
                .filter(|path| {
                    path.file_name()
                        .is_some_and(|name| is_included(&name.to_string_lossy()))
                })
                .collect();
            files.sort();
            if let Some(realm) = files.iter().find_map(|file| realm_in(file, depth + 1)) {
                return Some(realm);
            }
        } else if in_defaults
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == "default_realm"
        {
            let value = value.trim().trim_matches('"');
            return (!value.is_empty()).then(|| value.to_owned());
        }
    }
    None
}

/// `include FILE` and the like: a word and what follows it.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (word, rest) = line.split_once([' ', '\t'])?;
    let rest = rest.trim();
    (!rest.starts_with('=')).then_some((word, rest))
}

/// Whether the Kerberos library takes a file of this name out of an included folder.
fn is_included(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.bytes().all(plain) || name.ends_with(".conf") && !name.starts_with('.')
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Files that include each other are followed this far.
const DEEPEST: u8 = 8;
/// Octets of a file that are looked at.
const LARGEST: u64 = 4 * 1024 * 1024;

/// A file like `/etc/krb.equiv`, read again when it has changed. A missing one maps nobody.
pub(super) struct EquivalentsFile {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When the file was changed and how long it is; `None` before the first look and while there is none.
    state: Option<(SystemTime, u64)>,
    map: Arc<Equivalents>,
}

impl EquivalentsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Mutex::default(),
        }
    }

    /// The map as the file is now. One that cannot be read counts as it was, and the log has the reason.
    pub(super) fn now(&self) -> Arc<Equivalents> {
        let found = std::fs::metadata(&self.path).ok();
        let state = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.state != state {
            match state.map(|_| read(&self.path)) {
                None => known.map = Arc::default(),
                Some(Ok(text)) => known.map = Arc::new(Equivalents::parse(&text)),
                Some(Err(error)) => log(
                    Level::Error,
                    &format!(
                        "{}: {error}; identities are mapped as before",
                        self.path.display()
                    ),
                ),
            }
            known.state = state;
        }
        Arc::clone(&known.map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s064_the_local_realm_is_the_default_of_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let plain = file(
            "plain",
            "# x\n[realms]\n default_realm = NO\n[libdefaults]\n\tdefault_realm = LOCAL.ORG\n",
        );
        assert_eq!(realm_in(&plain, 0).as_deref(), Some("LOCAL.ORG"));
        let outer = file("outer", &format!("include {}\n", plain.display()));
        assert_eq!(realm_in(&outer, 0).as_deref(), Some("LOCAL.ORG"));
        let none = file("none", "[libdefaults]\n dns_lookup_realm = false\n");
        assert_eq!(realm_in(&none, 0), None);
        let own = dir.path().join("loop");
        let own = file("loop", &format!("include {}\n", own.display()));
        assert_eq!(realm_in(&own, 0), None);
        std::fs::create_dir(dir.path().join("d")).unwrap();
        file("d/a.conf.bak", "[libdefaults]\ndefault_realm = BAK\n");
        file("d/b.conf", "[libdefaults]\ndefault_realm = B\n");
        let folder = file(
            "folder",
            &format!("includedir {}\n", dir.path().join("d").display()),
        );
        assert_eq!(realm_in(&folder, 0).as_deref(), Some("B"));
        assert_eq!(realm_in(Path::new("/nonexistent"), 0), None);
    }

    #[test]
    fn s065_the_map_follows_its_file_and_a_missing_one_maps_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("krb.equiv");
        let file = EquivalentsFile::new(path.clone());
        let of = |file: &EquivalentsFile| file.now().of("bovik@REMOTE.COM", |text| Some(text.to_owned()));
        assert_eq!(of(&file), None);
        std::fs::write(&path, "bovik@REMOTE.COM bovik\n").unwrap();
        assert_eq!(of(&file).as_deref(), Some("bovik"));
        std::fs::write(&path, "bovik@REMOTE.COM harry.bovik\n").unwrap();
        assert_eq!(of(&file).as_deref(), Some("harry.bovik"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(of(&file), None);
    }
}
