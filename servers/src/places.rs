//! Whether the directories and files that imapd.conf names are there: asked once, when a service starts.
//!
//! A store makes the directories that it needs. Without this look a mistyped name, or a disk that is not mounted, would
//! give a new and empty server, which tells the world that its users are unknown.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::Config;
use crate::syslog::{Level, log};

/// The configuration directory is not there, or is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: configdirectory: {}: {why}; mend the line, mount the disk, or make the directory with mkimap",
    conf.display(), directory.display()
)]
pub struct NoConfigDirectory {
    conf: PathBuf,
    directory: PathBuf,
    why: String,
}

/// Looks at everything. What other parts of the server can do without is logged.
///
/// # Errors
/// Nothing can be done without a configuration directory.
pub fn check(config: &Config) -> Result<(), NoConfigDirectory> {
    let directory = config.configdirectory();
    if let Some(why) = unusable(&directory) {
        return Err(NoConfigDirectory {
            conf: config.path().to_owned(),
            directory,
            why,
        });
    }
    for complaint in complaints(config) {
        log(Level::Error, &format!("{}: {complaint}", config.path().display()));
    }
    Ok(())
}

/// What is wrong with partitions and the password database, one line each.
pub fn complaints(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    for (name, data) in config.partitions() {
        let places = [
            ("partition", Some(data)),
            ("metapartition", config.metapartition(name)),
            ("archivepartition", config.archivepartition(name)),
        ];
        for (kind, directory) in places {
            let Some(directory) = directory else { continue };
            if let Some(why) = unusable(directory) {
                found.push(format!(
                    "{kind}-{name}: {}: {why}; mailboxes there cannot be used: mend the line, mount the disk, or make the \
                     directory with mkimap",
                    directory.display()
                ));
            }
        }
    }
    found.extend(sasldb(config));
    found
}

/// Why a directory cannot be worked in.
fn unusable(directory: &Path) -> Option<String> {
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => Some("it is not a directory".to_owned()),
        Ok(_) => access(directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
            .err()
            .map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// What is wrong with the sasldb file, if passwords are looked up in one: libsasl takes everybody for unknown then.
fn sasldb(config: &Config) -> Option<String> {
    let option = |wanted: &str| {
        config
            .sasl_options()
            .find_map(|(name, value)| (name == wanted).then_some(value))
    };
    let names = |value: Option<&str>, word: &str| {
        value.is_some_and(|value| value.split_ascii_whitespace().any(|part| part == word))
    };
    if !names(option("pwcheck_method"), "auxprop") || !names(option("auxprop_plugin"), "sasldb") {
        return None;
    }
    let path = option("sasldb_path").unwrap_or("/etc/sasldb2");
    let error = File::open(path).err()?;
    Some(format!(
        "sasl_sasldb_path: {path}: {error}; nobody can log in: mend the line, make the file with saslpasswd2 -f, or let \
         the server's user read it"
    ))
}
