//! Delivers a message file to users: `deliver_file CONFIGDIR SPOOL FILE USER...`
//!
//! As lmtpd does: hard links for many recipients, duplicates suppressed, quota obeyed. Line ends must be CRLF.

use std::error::Error;

use cyrus_store::{DeliverOptions, MailboxName, Recipient, Store, StoreOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [config, spool, file, users @ ..] = &args[..] else {
        return Err("usage: deliver_file CONFIGDIR SPOOL FILE USER...".into());
    };
    let store = Store::open(StoreOptions::new(config).partition("default", spool))?;
    let message = store.staged(std::fs::read(file)?)?;
    let mut recipients = Vec::new();
    for user in users {
        recipients.push(Recipient::new([MailboxName::inbox_of(user)?]));
    }
    let results = store.deliver(&message, DeliverOptions::default(), &recipients);
    // What was delivered is noted for duplicate suppression just after the reply; a program that ends must wait for it.
    store.flush_deliveries();
    let mut failures = 0;
    for (user, result) in users.iter().zip(results) {
        match result {
            Ok(delivered) => match delivered.uid {
                Some((_, uid)) => println!("{user}: {} uid {uid}", delivered.mailbox),
                None => println!("{user}: {} has it already", delivered.mailbox),
            },
            Err(error) => {
                failures += 1;
                println!("{user}: {error}");
            }
        }
    }
    match failures {
        0 => Ok(()),
        count => Err(format!("{count} recipients did not get the message").into()),
    }
}
