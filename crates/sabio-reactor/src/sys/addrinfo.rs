//! getaddrinfo(3) and getnameinfo(3), which have no counterpart among the system calls.
//!
//! Both block, for as long as a name server does not answer: they are called on the resolver's threads.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::ptr;

use crate::resolver::{AddrInfo, NameInfo, Query, ResolveError};
use crate::socket::Address;

/// Looks up a name (getaddrinfo(3)).
///
/// # Errors
/// What the C library says.
pub(crate) fn getaddrinfo(query: &Query) -> Result<Vec<AddrInfo>, ResolveError> {
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    let mut list = ptr::null_mut();
    // SAFETY: an all-zero addrinfo is a valid one: numbers, and pointers that are null.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_family = query.family;
    hints.ai_socktype = query.socktype;
    hints.ai_protocol = query.protocol;
    hints.ai_flags = query.flags;
    // SAFETY: the strings are null or end with a 0 and live in `query`; `hints` and `list` are ours and
    // outlive the call, which keeps no pointer to them.
    let code = unsafe {
        libc::getaddrinfo(
            pointer(&query.host),
            pointer(&query.service),
            &raw const hints,
            &raw mut list,
        )
    };
    if code != 0 {
        return Err(resolve_error(code));
    }
    let mut answer = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: the list is the C library's, unchanged and not freed before the loop is over.
        let line = unsafe { &*next };
        // SAFETY: a line's address points to as many bytes as its length says, or is null.
        let address = unsafe { read_address(line.ai_addr, line.ai_addrlen as usize) };
        // SAFETY: a canonical name is null or a string that lives as long as the list.
        let canonname = unsafe { read_name(line.ai_canonname) };
        answer.push(AddrInfo {
            family: line.ai_family,
            socktype: line.ai_socktype,
            protocol: line.ai_protocol,
            canonname,
            address,
        });
        next = line.ai_next;
    }
    if !list.is_null() {
        // SAFETY: the list came from getaddrinfo and nothing points into it any more.
        unsafe { libc::freeaddrinfo(list) };
    }
    Ok(answer)
}

/// Looks up the names of an address (getnameinfo(3)).
///
/// # Errors
/// What the C library says; `EAI_FAMILY` for an address that is neither IPv4 nor IPv6.
pub(crate) fn getnameinfo(address: &Address, flags: i32) -> Result<NameInfo, ResolveError> {
    // The lengths that RFC 2553 gave the C library, and Python, for them.
    let mut host = [0_u8; 1025];
    let mut service = [0_u8; 32];
    let Some((storage, length)) = write_address(address) else {
        return Err(resolve_error(libc::EAI_FAMILY));
    };
    // SAFETY: `storage` holds an address of `length` bytes, and the two buffers are ours and as long as
    // their lengths say; no pointer is kept.
    let code = unsafe {
        libc::getnameinfo(
            (&raw const storage).cast(),
            length,
            host.as_mut_ptr().cast(),
            host.len() as libc::socklen_t,
            service.as_mut_ptr().cast(),
            service.len() as libc::socklen_t,
            flags,
        )
    };
    if code != 0 {
        return Err(resolve_error(code));
    }
    let text = |buffer: &[u8]| CStr::from_bytes_until_nul(buffer).map(|text| text.to_bytes().to_vec());
    Ok(NameInfo {
        host: text(&host).unwrap_or_default(),
        service: text(&service).unwrap_or_default(),
    })
}

/// The number of the network interface of that name (if_nametoindex(3)). Does not block.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with a 0 and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// To be called at once after the call that failed, because of `errno`.
fn resolve_error(code: i32) -> ResolveError {
    let system = io::Error::last_os_error();
    if code == libc::EAI_SYSTEM {
        return ResolveError {
            code,
            errno: system.raw_os_error(),
            message: system.to_string(),
        };
    }
    // SAFETY: gai_strerror takes any number and gives a string that is never freed nor changed.
    let words = unsafe { read_name(libc::gai_strerror(code)) }.unwrap_or_default();
    ResolveError {
        code,
        errno: None,
        message: String::from_utf8_lossy(&words).into_owned(),
    }
}

/// # Safety
/// `text` is null or a string that ends with a 0 and is not changed meanwhile.
unsafe fn read_name(text: *const libc::c_char) -> Option<Vec<u8>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and a string by this function's contract.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}

/// # Safety
/// `address` is null or points to `length` readable bytes.
unsafe fn read_address(address: *const libc::sockaddr, length: usize) -> Address {
    if address.is_null() || length < size_of::<libc::sa_family_t>() {
        return Address::Other(libc::AF_UNSPEC as u16);
    }
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    // SAFETY: at most as many bytes are read as the caller vouches for and written as the storage has. All
    // zeroes is a valid address, and so is what was copied over it: it consists of numbers.
    let storage = unsafe {
        let bytes = length.min(size_of::<libc::sockaddr_storage>());
        ptr::copy_nonoverlapping(address.cast::<u8>(), storage.as_mut_ptr().cast::<u8>(), bytes);
        storage.assume_init()
    };
    match i32::from(storage.ss_family) {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the storage is larger than every address, aligned for each, and all numbers.
            let v4 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Address::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let flowinfo = u32::from_be(v6.sin6_flowinfo);
            Address::V6(SocketAddrV6::new(
                ip,
                u16::from_be(v6.sin6_port),
                flowinfo,
                v6.sin6_scope_id,
            ))
        }
        _ => Address::Other(storage.ss_family),
    }
}

/// The C library's form of an IPv4 or IPv6 address, and its length in bytes.
fn write_address(address: &Address) -> Option<(libc::sockaddr_storage, libc::socklen_t)> {
    // SAFETY: all zeroes is a valid address: it consists of numbers.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = match address {
        Address::V4(v4) => {
            // SAFETY: the storage is larger than every address and aligned for each.
            let target = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            target.sin_family = libc::AF_INET as libc::sa_family_t;
            target.sin_port = v4.port().to_be();
            target.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        Address::V6(v6) => {
            // SAFETY: as above.
            let target = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            target.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            target.sin6_port = v6.port().to_be();
            target.sin6_flowinfo = v6.flowinfo().to_be();
            target.sin6_addr.s6_addr = v6.ip().octets();
            target.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
        _ => return None,
    };
    Some((storage, length as libc::socklen_t))
}
