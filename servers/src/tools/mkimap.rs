//! `mkimap`: makes the directories that imapd.conf names.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use super::{USAGE, load_config};
use crate::config::{Config, Opt};
use crate::getopt;

/// Runs with the arguments `args` (without the program's name), writing to `out`: `mkimap [-C] [imapd.conf]`.
///
/// What exists stays as it is. Run as root it gives what it makes to the Cyrus user.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:") {
        Ok(line) if line.arguments.len() <= 1 => line,
        Ok(_) => {
            eprintln!("usage: mkimap [imapd.conf]");
            return USAGE;
        }
        Err(bad) => {
            eprintln!("mkimap: {bad}\nusage: mkimap [imapd.conf]");
            return USAGE;
        }
    };
    let path = line.argument('C').or(line.arguments.first().map(String::as_str));
    let config = match load_config(path, "mkimap") {
        Ok(config) => config,
        Err(code) => return code,
    };
    match make(&config, out) {
        Ok(()) => 0,
        Err(problem) => {
            eprintln!("mkimap: {problem}");
            1
        }
    }
}

fn make(config: &Config, out: &mut dyn Write) -> Result<(), String> {
    let owner = owner(config)?;
    let mut made = 0;
    for (path, mode) in directories(config) {
        made += directory(&path, mode, owner, out)?;
    }
    let _ = writeln!(out, "{made} directories made");
    Ok(())
}

/// The directories with their modes, each after the one that it lies in.
fn directories(config: &Config) -> Vec<(PathBuf, u32)> {
    let base = config.configdirectory();
    let mut wanted = vec![(base.clone(), 0o750)];
    for name in [
        "backup", "db", "lock", "log", "msg", "ptclient", "quota", "sync", "user",
    ] {
        wanted.push((base.join(name), 0o700));
    }
    // The MTA reaches the LMTP socket through its group.
    wanted.push((base.join("socket"), 0o750));
    wanted.push((config.proc_directory(), 0o700));
    wanted.extend(config.file(Opt::MboxnameLockpath).map(|path| (path, 0o700)));
    for (name, path) in config.partitions() {
        wanted.push((path.to_owned(), 0o750));
        wanted.push((path.join("stage."), 0o750));
        let more = [config.metapartition(name), config.archivepartition(name)];
        wanted.extend(more.into_iter().flatten().map(|path| (path.to_owned(), 0o750)));
    }
    if config.is_set(Opt::Sievedir) && !config.switch(Opt::Sieveusehomedir) {
        wanted.extend(config.file(Opt::Sievedir).map(|path| (path, 0o755)));
    }
    wanted
}

/// Makes one directory and those above it; returns whether it was missing.
fn directory(path: &Path, mode: u32, owner: Option<(u32, u32)>, out: &mut dyn Write) -> Result<u32, String> {
    if path.is_dir() {
        return Ok(0);
    }
    let failed = |error| format!("can't make {}: {error}", path.display());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(failed)?;
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid)).map_err(failed)?;
    }
    let _ = writeln!(out, "{}", path.display());
    Ok(1)
}

fn owner(config: &Config) -> Result<Option<(u32, u32)>, String> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let name = config.cyrus_user();
    match User::from_name(&name) {
        Ok(Some(user)) => Ok(Some((user.uid.as_raw(), user.gid.as_raw()))),
        Ok(None) => Err(format!(
            "there is no user '{name}'; make it, or name another one in cyrus_user"
        )),
        Err(error) => Err(format!("look up user '{name}': {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn everything_that_the_configuration_names_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, base) = (dir.path().join("imapd.conf"), dir.path().display());
        let user = User::from_uid(geteuid()).unwrap().unwrap().name;
        let text = format!(
            "configdirectory: {base}/conf\npartition-default: {base}/spool\nmetapartition-default: {base}/meta\n\
             sievedir: {base}/sieve\nproc_path: {base}/run/proc\ncyrus_user: {user}\n"
        );
        fs::write(&conf, text).unwrap();
        let mut out = Vec::new();
        assert_eq!(run([conf.clone().into_os_string()], &mut out), 0);
        for name in [
            "conf/db",
            "conf/user",
            "conf/socket",
            "spool/stage.",
            "meta",
            "sieve",
            "run/proc",
        ] {
            assert!(dir.path().join(name).is_dir(), "{name}");
        }
        assert_eq!(
            fs::metadata(dir.path().join("conf/db"))
                .unwrap()
                .permissions()
                .mode()
                & 0o077,
            0
        );
        out.clear();
        assert_eq!(run(["-C".into(), conf.into_os_string()], &mut out), 0);
        assert_eq!(String::from_utf8(out).unwrap(), "0 directories made\n");
        assert_eq!(run(["/nonexistent".into()], &mut Vec::new()), 78);
    }
}
