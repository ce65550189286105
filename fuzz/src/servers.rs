//! Configuration files, which are read from a file of this process's own.

use std::path::PathBuf;

use cyrus_servers::config::Config;
use cyrus_servers::cyrus_conf::CyrusConf;

pub(crate) fn imapd_conf(data: &[u8]) {
    // Another file, taken in by its name, may be a device that never ends.
    if data
        .windows(8)
        .any(|window| window.eq_ignore_ascii_case(b"@include"))
    {
        return;
    }
    let path = written("imapd.conf", data);
    if let Ok(config) = Config::load(&path, "imap") {
        assert_eq!(config.path(), path);
    }
}

pub(crate) fn cyrus_conf(data: &[u8]) {
    let path = written("cyrus.conf", data);
    if let Ok(conf) = CyrusConf::load(&path) {
        assert!(conf.service_names().len() <= data.len());
    }
}

fn written(name: &str, data: &[u8]) -> PathBuf {
    let folder = if std::path::Path::new("/dev/shm").exists() {
        "/dev/shm".into()
    } else {
        std::env::temp_dir()
    };
    let path = folder.join(format!("cyrus-fuzz-{}-{name}", std::process::id()));
    std::fs::write(&path, data).expect("a temporary file");
    path
}
