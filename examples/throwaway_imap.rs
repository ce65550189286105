//! A throw-away IMAP server with the `.eml` files of a folder: `throwaway_imap [FOLDER]`
//!
//! User `test`, password `test`; prints its address, and stops at the end of standard input.

use std::error::Error;
use std::io::Read;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = throwaway::Server::start("test", "test")?;
    if let Some(folder) = std::env::args().nth(1) {
        let count = server.add_folder("INBOX", Path::new(&folder))?;
        eprintln!("{count} messages");
    }
    println!("imap://test:test@{}/", server.address());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
