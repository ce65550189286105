//! Entry points for fuzzing: each takes any bytes and must come back.

use std::path::Path;

use crate::config::{Config, Listing, settings, unknown_settings};
use crate::cyrus_conf::CyrusConf;
use crate::service::Message;

/// imapd.conf, with all that is done with one. Includes are taken out: they would read the fuzzer's disk.
pub fn imapd_conf(data: &[u8]) {
    let data: Vec<u8> = data.iter().copied().filter(|byte| *byte != b'@').collect();
    let content = [b"configdirectory: /var/imap\n", &data[..]].concat();
    if let Ok(config) = Config::parse(Path::new("imapd.conf"), &content, "imap") {
        for listing in [Listing::Set, Listing::All, Listing::Default] {
            settings(&config, listing, Some((3, 0, 0)));
        }
        unknown_settings(&config, &["imap".to_owned()]);
        config
            .reports()
            .iter()
            .for_each(|report| drop(report.to_string()));
    }
}

/// A keytab of Kerberos.
pub fn keytab(data: &[u8]) {
    let _ = crate::logins::keytab::principals(data);
}

/// cyrus.conf.
pub fn cyrus_conf(data: &[u8]) {
    let _ = CyrusConf::parse(Path::new("cyrus.conf"), data);
}

/// The messages of services to master.
pub fn service_message(data: &[u8]) {
    for bytes in data.as_chunks::<8>().0 {
        if let Some(message) = Message::decode(bytes) {
            assert_eq!(&message.encode(), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_upset_the_readers(data: Vec<u8>) {
            imapd_conf(&data);
            cyrus_conf(&data);
            service_message(&data);
        }

        #[test]
        fn no_text_upsets_the_readers(text in "([a-z_]{1,12}: ?[ -~]{0,20}\\\\?\n|SERVICES \\{\n|[a-z]{1,3} cmd=\"?[ -~]{0,9}\"? listen=[0-9:/a-z\\[\\]]{0,9}\n|\\}\n){0,20}") {
            imapd_conf(text.as_bytes());
            cyrus_conf(text.as_bytes());
        }

        #[test]
        fn settings_that_are_printed_read_the_same(
            timeout in 1u32..100_000, size in 0u32..1_000_000, on: bool, header: bool, index: bool
        ) {
            let bits = [("header", header), ("index", index)];
            let bits: String = bits.iter().filter(|(_, set)| *set).map(|(name, _)| format!(" {name}")).collect();
            let bits = if bits.is_empty() { String::new() } else { format!("metapartition_files:{bits}\n") };
            let text = format!(
                "configdirectory: /c\ntimeout: {timeout}m\nmaxliteral: {size}\nchatty: {}\n{bits}x_y: z\n",
                if on { "yes" } else { "no" }
            );
            let first = Config::parse(Path::new("a"), text.as_bytes(), "imap").unwrap();
            let printed = settings(&first, Listing::Set, None);
            let second = Config::parse(Path::new("a"), printed.as_bytes(), "imap").unwrap();
            prop_assert_eq!(settings(&second, Listing::Set, None), printed);
        }
    }
}
