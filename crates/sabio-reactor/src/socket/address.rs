//! Socket addresses of the families that the loop makes sockets of.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use crate::sys;

/// The address of a socket (ip(7), ipv6(7), unix(7)).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// An IPv4 address and port.
    V4(SocketAddrV4),
    /// An IPv6 address and port, the flow information in the host's byte order, and the scope id.
    V6(SocketAddrV6),
    /// A Unix socket at a path, without the 0 that ends it.
    UnixPath(Vec<u8>),
    /// A Unix socket with an abstract name, without the 0 that starts it.
    UnixAbstract(Vec<u8>),
    /// A Unix socket that was never bound.
    Unnamed,
    /// An address of a family that this type cannot hold, given as the family's number.
    Other(u16),
}

impl Address {
    /// The family's number: `AF_INET`, `AF_INET6`, `AF_UNIX` or another.
    #[must_use]
    pub fn family(&self) -> i32 {
        match self {
            Self::V4(_) => libc::AF_INET,
            Self::V6(_) => libc::AF_INET6,
            Self::UnixPath(_) | Self::UnixAbstract(_) | Self::Unnamed => libc::AF_UNIX,
            Self::Other(family) => i32::from(*family),
        }
    }

    /// The port, of the families that have one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::V4(address) => Some(address.port()),
            Self::V6(address) => Some(address.port()),
            _ => None,
        }
    }

    /// An IPv4 address and port.
    #[must_use]
    pub fn v4(ip: Ipv4Addr, port: u16) -> Self {
        Self::V4(SocketAddrV4::new(ip, port))
    }

    /// An IPv6 address and port, with flow information in the host's byte order and scope id.
    #[must_use]
    pub fn v6(ip: Ipv6Addr, port: u16, flowinfo: u32, scope_id: u32) -> Self {
        Self::V6(SocketAddrV6::new(ip, port, flowinfo, scope_id))
    }

    /// What the kernel reported; nothing is what the peer of some unnamed sockets has.
    pub(crate) fn from_any(any: Option<&SocketAddrAny>) -> Self {
        any.map_or(Self::Unnamed, sys::decode_address)
    }

    /// The form that the kernel takes.
    ///
    /// # Errors
    /// `ENAMETOOLONG` for a Unix path that does not fit, `EINVAL` for one with a 0 in it, `EAFNOSUPPORT` for a
    /// family that this type cannot hold.
    pub(crate) fn to_any(&self) -> io::Result<SocketAddrAny> {
        match self {
            Self::V4(address) => Ok((*address).into()),
            Self::V6(address) => Ok((*address).into()),
            Self::UnixPath(path) => Ok(SocketAddrUnix::new(path.as_slice())?.into()),
            Self::UnixAbstract(name) => Ok(SocketAddrUnix::new_abstract_name(name)?.into()),
            Self::Unnamed => Ok(SocketAddrUnix::new_unnamed().into()),
            Self::Other(_) => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(formatter),
            Self::V6(address) => address.fmt(formatter),
            Self::UnixPath(path) => formatter.write_str(&String::from_utf8_lossy(path)),
            Self::UnixAbstract(name) => write!(formatter, "@{}", String::from_utf8_lossy(name)),
            Self::Unnamed => formatter.write_str("(unnamed)"),
            Self::Other(family) => write!(formatter, "(family {family})"),
        }
    }
}
