//! What is asked of the resolver, and what it answers.

use std::ffi::CString;
use std::fmt;

use crate::socket::Address;

/// The arguments of getaddrinfo(3); numbers are those of the C library, as Python's `socket` module has them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// A name or a numeric address; `None` for the wildcard or the loopback address.
    pub host: Option<CString>,
    /// A service's name or a port number.
    pub service: Option<CString>,
    /// `AF_UNSPEC`, `AF_INET`, `AF_INET6`.
    pub family: i32,
    /// `SOCK_STREAM` and so on; 0 for any.
    pub socktype: i32,
    /// `IPPROTO_TCP` and so on; 0 for any.
    pub protocol: i32,
    /// `AI_*`.
    pub flags: i32,
}

/// One line of the answer of getaddrinfo(3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddrInfo {
    /// `AF_INET` or `AF_INET6`.
    pub family: i32,
    /// `SOCK_STREAM` and so on.
    pub socktype: i32,
    /// `IPPROTO_TCP` and so on.
    pub protocol: i32,
    /// The canonical name as the C library gave it, if it was asked for; only the first line has it.
    pub canonname: Option<Vec<u8>>,
    /// The address to connect or bind to.
    pub address: Address,
}

/// The answer of getnameinfo(3), as the C library gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameInfo {
    /// The host's name, or its address in numbers.
    pub host: Vec<u8>,
    /// The service's name, or its port.
    pub service: Vec<u8>,
}

/// Why a lookup failed: what Python's `socket.gaierror` tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolveError {
    /// `EAI_*`.
    pub code: i32,
    /// The system's own error behind `EAI_SYSTEM`, which Python raises as `OSError`.
    pub errno: Option<i32>,
    /// The C library's words for it (gai_strerror(3)).
    pub message: String,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ResolveError {}
