//! The options of sockets that connecting and listening set, and binding itself.

use std::io;
use std::os::fd::AsFd;

use rustix::io::ioctl_fionbio;
use rustix::net::{self, sockopt};

use super::Address;

/// Takes the error that a connect or a peer left on the socket (`SO_ERROR`).
///
/// # Errors
/// That error; or those of getsockopt(2), `ENOTSOCK` and `EBADF`.
pub fn take_error(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::socket_error(fd)??)
}

/// Sends small packets at once (`TCP_NODELAY`), as asyncio does for every TCP transport.
///
/// # Errors
/// `ENOPROTOOPT` or `EOPNOTSUPP` when it is not a TCP socket.
pub fn set_nodelay(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(fd, on)?)
}

/// Has the kernel probe idle connections (`SO_KEEPALIVE`).
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_keepalive(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_keepalive(fd, on)?)
}

/// Lets a listener bind while old connections of its port linger (`SO_REUSEADDR`).
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_reuse_address(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(fd, on)?)
}

/// Lets several listeners share a port (`SO_REUSEPORT`).
///
/// # Errors
/// `ENOPROTOOPT` or `EOPNOTSUPP` where the socket's family has no such thing.
pub fn set_reuse_port(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(fd, on)?)
}

/// Keeps an IPv6 listener to IPv6 (`IPV6_V6ONLY`), so that an IPv4 one can have the same port.
///
/// # Errors
/// `EINVAL` when it is bound already; `ENOPROTOOPT` or `EOPNOTSUPP` when it is not an IPv6 socket.
pub fn set_v6only(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_ipv6_v6only(fd, on)?)
}

/// Sets whether calls on the descriptor may block (`O_NONBLOCK`).
///
/// # Errors
/// `EBADF`, or `ENOTTY` for files that are neither sockets, pipes nor terminals.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(ioctl_fionbio(fd, on)?)
}

/// Gives the socket an address of its own (bind(2)).
///
/// # Errors
/// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `EINVAL`.
pub fn bind(fd: impl AsFd, address: &Address) -> io::Result<()> {
    Ok(net::bind(fd, &address.to_any()?)?)
}

/// Starts to take connections (listen(2)), `backlog` of which may wait to be accepted.
///
/// # Errors
/// `EADDRINUSE`, `EOPNOTSUPP`.
pub fn listen(fd: impl AsFd, backlog: i32) -> io::Result<()> {
    Ok(net::listen(fd, backlog)?)
}
