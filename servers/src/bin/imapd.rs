//! The IMAP daemon, started by master for a service of cyrus.conf.

use std::process::ExitCode;

fn main() -> ExitCode {
    cyrus_servers::protocol::Protocol::Imap.main(std::env::args_os().skip(1))
}
