//! getaddrinfo(3) and getnameinfo(3), which have no counterpart among the system calls.
//!
//! Both block, for as long as a name server does not answer: they are called on the resolver's threads.

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::ptr;

use super::address::{read_address, write_address};
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
