//! What the fuzz targets call, by name. A target checks more than that nothing panics: what can be read is written so that it
//! reads the same, and input cut anywhere gives what it gives whole.

mod acl;
mod proto;
mod servers;
mod store;

/// What a fuzz target calls with each input.
pub type Target = fn(&[u8]);

/// Every target: its name, which is also that of its corpus folder, and its function.
pub const TARGETS: &[(&str, Target)] = &[
    ("acl", acl::acl),
    ("annotation", cyrus_store::fuzz::annotation),
    ("cache", cyrus_store::fuzz::cache),
    ("conversations", cyrus_store::fuzz::conversations),
    ("counters", cyrus_store::fuzz::counters),
    ("cyrus_conf", servers::cyrus_conf),
    ("dlist", cyrus_store::fuzz::dlist),
    ("flat", store::flat),
    ("framer", proto::framer),
    ("header_decode", store::header_decode),
    ("identifier", acl::identifier),
    ("imap_command", proto::imap_command),
    ("imap_url", proto::imap_url),
    ("imapd_conf", servers::imapd_conf),
    ("index", cyrus_store::fuzz::index),
    ("keytab", cyrus_servers::fuzz::keytab),
    ("lines", cyrus_proto::fuzz::lines),
    ("list_pattern", store::list_pattern),
    ("lmtp", cyrus_proto::fuzz::lmtp),
    ("mailbox_header", cyrus_store::fuzz::mailbox_header),
    ("mailbox_name", store::mailbox_name),
    ("mboxentry", cyrus_store::fuzz::mboxentry),
    ("message", store::message),
    ("oauth", cyrus_proto::fuzz::oauth),
    ("quota", cyrus_store::fuzz::quota),
    ("sasl", proto::sasl),
    ("search_index", cyrus_store::fuzz::search_index),
    ("seen", cyrus_store::fuzz::seen),
    ("skiplist", store::skiplist),
    ("sync_log", cyrus_store::fuzz::sync_log),
    ("twoskip", store::twoskip),
    ("utf7", store::utf7),
];

/// Runs the target of that name; the fuzz targets are this call and nothing else.
pub fn run(name: &str, data: &[u8]) {
    if let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) {
        target(data);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::TARGETS;

    fn names(folder: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
            .collect()
    }

    fn files(folder: PathBuf) -> Vec<PathBuf> {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect()
    }

    #[test]
    fn every_target_has_a_program_an_entry_and_seeds() {
        let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, names("fuzz_targets"));
        assert_eq!(listed, names("corpus"));
        let manifest = include_str!("../Cargo.toml");
        for name in &listed {
            assert!(
                manifest.contains(&format!("[[bin]]\nname = \"{name}\"\n")),
                "Cargo.toml has no program {name}"
            );
        }
    }

    #[test]
    fn corpora_replay_without_a_finding() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut replayed = 0;
        for (name, target) in TARGETS {
            target(b"");
            // What an earlier run of the fuzzer found here counts too.
            for path in files(root.join("corpus").join(name))
                .into_iter()
                .chain(files(root.join("artifacts").join(name)))
            {
                let data = std::fs::read(&path).unwrap();
                println!("{}", path.display());
                target(&data);
                // Cut short and with one bit turned, a seed is the likeliest kind of damage.
                target(&data[..data.len() / 2]);
                let mut turned = data;
                if let Some(byte) = turned.get_mut(replayed % 97) {
                    *byte ^= 1 << (replayed % 8);
                }
                target(&turned);
                replayed += 1;
            }
        }
        assert!(replayed >= TARGETS.len());
    }
}
