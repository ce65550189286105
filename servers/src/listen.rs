//! From `listen=` and `proto=` to bound sockets.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, sockopt,
};
use rustix::process::umask;

use crate::cyrus_conf::{Listen, Proto};

/// A bound socket.
pub struct Listener {
    /// The socket: listening, unless it is for datagrams.
    pub socket: OwnedFd,
    /// What messages call it: `unix`, `ipv4`, `ipv6`.
    pub family: &'static str,
}

/// Binds every address of a service; of several addresses, those that fail are reported with the reason.
pub fn bind_all(listen: &Listen, proto: Proto, backlog: i32) -> (Vec<Listener>, Vec<String>) {
    let (mut bound, mut failed) = (Vec::new(), Vec::new());
    match listen {
        Listen::Unix(path) => match bind_unix(path, proto, backlog) {
            Ok(socket) => bound.push(Listener {
                socket,
                family: "unix",
            }),
            Err(error) => failed.push(format!("{}: {error}", path.display())),
        },
        Listen::Port { host, port } => match addresses(host.as_deref(), port, proto) {
            Ok(addresses) => {
                for address in addresses {
                    let family = if address.is_ipv6() { "ipv6" } else { "ipv4" };
                    match bind_port(address, proto, backlog) {
                        Ok(socket) => bound.push(Listener { socket, family }),
                        // A host without IPv6 is no failure when nobody asked for it.
                        Err(error) if host.is_none() && is_absent(&error) => {}
                        Err(error) => failed.push(format!("{address}: {error}")),
                    }
                }
            }
            Err(problem) => failed.push(problem),
        },
    }
    if bound.is_empty() && failed.is_empty() {
        failed.push("no address of that kind".to_owned());
    }
    (bound, failed)
}

/// The addresses to bind, in an order that does not change: IPv4 first.
fn addresses(host: Option<&str>, port: &str, proto: Proto) -> Result<Vec<SocketAddr>, String> {
    let number = match port.parse::<u16>() {
        Ok(number) => number,
        Err(_) => {
            let protocol = if proto.is_udp() { "udp" } else { "tcp" };
            let services = fs::read_to_string("/etc/services").unwrap_or_default();
            port_named(&services, port, protocol)
                .ok_or_else(|| format!("port '{port}': not in /etc/services for {protocol}"))?
        }
    };
    let mut found: Vec<SocketAddr> = match host {
        None => vec![
            (Ipv4Addr::UNSPECIFIED, number).into(),
            (Ipv6Addr::UNSPECIFIED, number).into(),
        ],
        Some(host) => (host, number)
            .to_socket_addrs()
            .map_err(|error| format!("host '{host}': {error}"))?
            .collect(),
    };
    found.retain(|address| proto.wants(address.is_ipv6()));
    found.sort();
    found.dedup();
    Ok(found)
}

/// Looks a name or alias up in text of the form of /etc/services.
fn port_named(services: &str, name: &str, protocol: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let official = words.next()?;
        let (port, kind) = words.next()?.split_once('/')?;
        let named = official == name || words.any(|alias| alias == name);
        (named && kind == protocol).then(|| port.parse().ok())?
    })
}

fn bind_port(address: SocketAddr, proto: Proto, backlog: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = socket_with(family, kind(proto), SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    if !proto.is_udp() {
        listen(&socket, backlog)?;
    }
    Ok(socket)
}

/// Binds a socket in the file system that everybody who reaches its directory may use.
fn bind_unix(path: &Path, proto: Proto, backlog: i32) -> io::Result<OwnedFd> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something else than a socket",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = socket_with(AddressFamily::UNIX, kind(proto), SocketFlags::CLOEXEC, None)?;
    let address = SocketAddrUnix::new(path)?;
    let before = umask(Mode::empty());
    let done = bind(&socket, &address);
    umask(before);
    done?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    if !proto.is_udp() {
        listen(&socket, backlog)?;
    }
    Ok(socket)
}

fn kind(proto: Proto) -> SocketType {
    if proto.is_udp() {
        SocketType::DGRAM
    } else {
        SocketType::STREAM
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = "# list\nimap2\t143/tcp\timap\t# mail\nimap2 143/udp imap\nfud 4201/udp\nbad\n";

    #[test]
    fn ports_are_known_by_name_and_alias_for_their_protocol() {
        assert_eq!(port_named(SERVICES, "imap", "tcp"), Some(143));
        assert_eq!(port_named(SERVICES, "imap2", "tcp"), Some(143));
        assert_eq!(port_named(SERVICES, "fud", "udp"), Some(4201));
        assert_eq!(port_named(SERVICES, "fud", "tcp"), None);
        assert_eq!(port_named(SERVICES, "bad", "tcp"), None);
    }

    #[test]
    fn a_service_without_a_host_has_an_address_of_each_wanted_family() {
        let both = addresses(None, "24901", Proto::Tcp).unwrap();
        assert_eq!(
            both.iter().map(SocketAddr::is_ipv6).collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(addresses(None, "24901", Proto::Tcp4).unwrap().len(), 1);
        assert_eq!(addresses(Some("127.0.0.1"), "24901", Proto::Tcp6).unwrap(), []);
        assert!(addresses(None, "no-such-service", Proto::Tcp).is_err());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lmtp");
        for _ in 0..2 {
            bind_unix(&path, Proto::Tcp, 16).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
        }
        let file = dir.path().join("mailboxes.db");
        fs::write(&file, "precious").unwrap();
        assert!(bind_unix(&file, Proto::Tcp, 16).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}
