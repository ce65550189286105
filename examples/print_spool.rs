//! Prints every mailbox of a spool, and what is in it: `print_spool CONFIGDIR PARTITION=DIR...`
//!
//! Works on the spool of a running Cyrus: it takes the same locks as any other reader.

use std::error::Error;
use std::ops::ControlFlow;

use cyrus_acl::AuthState;
use cyrus_store::{Store, StoreOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let config = args
        .next()
        .ok_or("usage: print_spool CONFIGDIR PARTITION=DIR...")?;
    let mut options = StoreOptions::new(config);
    for arg in args {
        let (name, dir) = arg.split_once('=').ok_or("a partition is NAME=DIR")?;
        options = options.partition(name, dir);
    }
    let store = Store::open(options)?;
    let reader = AuthState::system();

    let mut names = Vec::new();
    store.list("", &reader, &mut |entry, _rights| {
        names.push(entry.name.clone());
        ControlFlow::Continue(())
    })?;
    for name in names {
        let mut mailbox = store.open_mailbox(&name, &reader)?;
        let read = mailbox.read()?;
        println!("{name}: {} messages, uidnext {}", read.exists(), read.uidnext());
        for message in read.messages() {
            let cached = message.cache()?;
            println!(
                "  {:>6} {:>9} {}",
                message.uid(),
                message.size(),
                String::from_utf8_lossy(cached.envelope())
            );
        }
    }
    Ok(())
}
