//! Between this crate's addresses and the structures of the C library.
//!
//! rustix can decode addresses too, but panics on a Unix address whose path fills its place, which any peer
//! may have.

use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::ptr;

use rustix::net::SocketAddrAny;

use crate::socket::Address;

/// The address that the kernel reported.
pub(crate) fn decode(any: &SocketAddrAny) -> Address {
    // SAFETY: rustix keeps the first `addr_len` bytes of what `as_ptr` points to initialized.
    unsafe { read_address(any.as_ptr().cast(), any.addr_len() as usize) }
}

/// # Safety
/// `address` is null or points to `length` readable bytes.
pub(super) unsafe fn read_address(address: *const libc::sockaddr, length: usize) -> Address {
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
        libc::AF_UNIX => {
            // SAFETY: as above.
            let unix = unsafe { &*(&raw const storage).cast::<libc::sockaddr_un>() };
            let path = &unix.sun_path[..(length - PATH_OFFSET.min(length)).min(unix.sun_path.len())];
            read_path(&path.iter().map(|byte| *byte as u8).collect::<Vec<_>>())
        }
        _ => Address::Other(storage.ss_family),
    }
}

/// Where the path stands in a Unix address (unix(7), "Address format").
const PATH_OFFSET: usize = mem::offset_of!(libc::sockaddr_un, sun_path);

/// The three kinds of Unix addresses. A path that fills its place to the last byte has no 0 at its end.
fn read_path(path: &[u8]) -> Address {
    match path {
        [] => Address::Unnamed,
        [0, name @ ..] => Address::UnixAbstract(name.to_vec()),
        path => Address::UnixPath(path.split(|byte| *byte == 0).next().unwrap_or(path).to_vec()),
    }
}

/// The C library's form of an address, and its length in bytes; `None` for a Unix address that does not fit or has a 0
/// in its path, and for other families.
pub(super) fn write_address(address: &Address) -> Option<(libc::sockaddr_storage, libc::socklen_t)> {
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
        Address::UnixPath(path) if !path.contains(&0) => write_unix(&mut storage, path, true)?,
        Address::UnixAbstract(name) => {
            let mut path = vec![0];
            path.extend_from_slice(name);
            write_unix(&mut storage, &path, false)?
        }
        _ => return None,
    };
    Some((storage, length as libc::socklen_t))
}

/// Writes a path or an abstract name; the length of the address, with the 0 that ends a path.
fn write_unix(storage: &mut libc::sockaddr_storage, path: &[u8], terminated: bool) -> Option<usize> {
    // SAFETY: the storage is larger than every address and aligned for each.
    let target = unsafe { &mut *ptr::from_mut(storage).cast::<libc::sockaddr_un>() };
    let length = path.len() + usize::from(terminated);
    if length > target.sun_path.len() {
        return None;
    }
    target.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in target.sun_path.iter_mut().zip(path) {
        *place = *byte as libc::c_char;
    }
    Some(PATH_OFFSET + length)
}
