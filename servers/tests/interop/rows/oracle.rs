//! No answer tells whether a mailbox exists to those who may not know (row S041; RFC 4314, section 8).

use super::stage::row_of_ours;

/// Whoever may know nothing of a mailbox hears the same of one that is there and of one that is not.
#[test]
fn s041_no_answer_tells_that_a_mailbox_is_there() {
    row_of_ours("S041", &[("annotation_enable_legacy_commands", "yes")], |row| {
        let mut admin = row.admin();
        for mailbox in ["user/fred", "user/bovik", "user/bovik/work", "bboard", "bboard/x"] {
            admin.ok(&format!("CREATE {mailbox}"));
        }
        admin.ok("SETACL bboard anyone \"\"");
        admin.ok("SETACL bboard/x anyone \"\"");
        admin.ok("SETQUOTA user/bovik (STORAGE 1000)");
        admin.ok("SETQUOTA bboard (STORAGE 1000)");
        let mut fred = row.login("fred");
        assert!(fred.append("INBOX").starts_with("OK"));
        fred.ok("ENABLE CONDSTORE QRESYNC");
        fred.ok("SELECT INBOX");
        for (there, missing) in [
            ("Other Users/bovik", "Other Users/carol"),
            ("Other Users/bovik/work", "Other Users/bovik/none"),
            ("Other Users/bovik/work", "Other Users/carol/work"),
            ("Shared Folders/bboard", "Shared Folders/cmu"),
            ("Shared Folders/bboard/x", "Shared Folders/bboard/y"),
            ("Shared Folders/bboard/x", "Shared Folders/cmu/x"),
        ] {
            for command in COMMANDS {
                let mut asked = |name: &str| {
                    let said = fred.says(&command.replace('@', &format!("\"{name}\"")));
                    let said: Vec<String> = said.iter().map(|line| line.replace(name, "@")).collect();
                    // What changes the selected mailbox is put right again.
                    let _ = fred.says("SELECT INBOX");
                    said
                };
                assert_eq!(asked(there), asked(missing), "{command} of {there} and {missing}");
            }
            let mut appended = |name: &str| fred.append(name);
            assert_eq!(
                appended(there),
                appended(missing),
                "APPEND to {there} and {missing}"
            );
        }
    });
}

/// Every command that takes the name of a mailbox, which `@` stands for.
const COMMANDS: &[&str] = &[
    "SELECT @",
    "EXAMINE @",
    "SELECT @ (CONDSTORE)",
    "SELECT @ (QRESYNC (1 1))",
    "STATUS @ (MESSAGES UIDNEXT)",
    "STATUS @ (MAILBOXID HIGHESTMODSEQ SIZE)",
    "CREATE @",
    "CREATE @ (USE (\\Junk))",
    "CREATE @ default",
    "DELETE @",
    "RENAME @ new",
    "RENAME INBOX @",
    "RENAME @ @",
    "RENAME @ @ default",
    "SUBSCRIBE @",
    "UNSUBSCRIBE @",
    "LIST \"\" @",
    "LIST @ %",
    "LIST @ *",
    "LIST \"\" (@) RETURN (CHILDREN STATUS (MESSAGES) MYRIGHTS METADATA (/shared/comment))",
    "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" @",
    "LIST (SPECIAL-USE) \"\" @",
    "XLIST \"\" @",
    "LSUB \"\" @",
    "RLIST \"\" @",
    "GETACL @",
    "SETACL @ fred lrs",
    "SETACL @ no%body lrs",
    "SETACL @ fred zzz",
    "DELETEACL @ bovik",
    "LISTRIGHTS @ fred",
    "MYRIGHTS @",
    "GETQUOTA @",
    "GETQUOTAROOT @",
    "SETQUOTA @ (STORAGE 5)",
    "GETMETADATA @ (/shared/comment)",
    "GETMETADATA (DEPTH infinity) @ (/shared)",
    "SETMETADATA @ (/shared/comment \"x\")",
    "SETMETADATA @ (/private/comment \"x\")",
    "GETANNOTATION @ \"/comment\" \"value.shared\"",
    "SETANNOTATION @ \"/comment\" (\"value.shared\" \"x\")",
    "COPY 1 @",
    "UID COPY 1 @",
    "MOVE 1 @",
    "UID MOVE 1 @",
    "RESETKEY @",
    "GENURLAUTH \"imap://fred@localhost/@;UIDVALIDITY=1/;UID=1;URLAUTH=anonymous\" INTERNAL",
    "URLFETCH \"imap://fred@localhost/@/;UID=1\"",
    "ESEARCH IN (mailboxes @) ALL",
    "ESEARCH IN (subtree @) ALL",
    "NOTIFY SET (mailboxes @ (MessageNew MessageExpunge))",
    "NOTIFY SET STATUS (subtree @ (MessageNew MessageExpunge))",
    "APPEND @ CATENATE (URL \"/INBOX/;UID=1\")",
    "REPLACE 1 @ {3+}\r\nx\r\n",
];
