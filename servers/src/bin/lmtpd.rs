//! The LMTP daemon, started by master for a service of cyrus.conf.

use std::process::ExitCode;

fn main() -> ExitCode {
    cyrus_servers::protocol::Protocol::Lmtp.main(std::env::args_os().skip(1))
}
