//! curl reads, lists, searches and stores over imap, imaps and STARTTLS.

use std::process::Command;

use super::{mail, served};
use crate::rig::programs::{Programs, run};

fn curl_reads_and_stores(programs: Option<Programs>) {
    let Some((site, server)) = served("curl", programs) else {
        return;
    };
    let plain = format!("imap://127.0.0.1:{}", server.imap_port);
    let secure = format!("imaps://localhost:{}", server.imaps_port);
    let certificate = site.root().join("cert.pem");
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--user",
            "alice:pass",
            "--cacert",
        ]);
        run(command.arg(&certificate).args(arguments))
    };
    let file = site.root().join("upload.eml");
    std::fs::write(&file, mail(1, "uploaded")).expect("a file to upload");
    let file = file.display().to_string();
    curl(&["--upload-file", &file, &format!("{plain}/INBOX")]);
    curl(&["--upload-file", &file, &format!("{secure}/INBOX")]);

    let text = String::from_utf8(mail(1, "uploaded")).expect("it is text");
    assert_eq!(curl(&[&format!("{plain}/INBOX;UID=1")]), text);
    assert_eq!(curl(&[&format!("{secure}/INBOX;UID=2")]), text);
    let start_tls = curl(&[
        "--ssl-reqd",
        &format!("imap://localhost:{}/INBOX;UID=2;SECTION=TEXT", server.imap_port),
    ]);
    assert_eq!(start_tls, "The body of uploaded 1.\r\n.dot\r\n");
    let partial = curl(&[&format!("{plain}/INBOX;UID=1;PARTIAL=0.10")]);
    assert_eq!(partial, text[..10]);

    assert!(curl(&[&format!("{plain}/")]).contains("\"/\" INBOX"));
    assert_eq!(
        curl(&[&format!("{secure}/INBOX?SUBJECT%20uploaded")]).trim(),
        "* SEARCH 1 2"
    );
    assert!(
        curl(&["--request", "STORE 1 +Flags \\Deleted", &format!("{plain}/INBOX")]).contains("\\Deleted")
    );
    assert!(curl(&["--request", "EXPUNGE", &format!("{plain}/INBOX")]).contains("* 1 EXPUNGE"));
    let ntlm_free = curl(&["--login-options", "AUTH=PLAIN", &format!("{secure}/INBOX;UID=2")]);
    assert_eq!(ntlm_free, text);
    server.stop();
}

#[test]
fn curl_reads_and_stores_with_real_cyrus() {
    curl_reads_and_stores(Programs::real());
}

#[test]
fn curl_reads_and_stores_with_us() {
    curl_reads_and_stores(Programs::ours());
}
