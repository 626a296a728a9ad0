//! Numeric hosts, answered without a thread and without the C library.
//!
//! The answer is exactly glibc's, down to the order of its lines, or there is none: whatever depends on
//! the machine's configuration, or is spelt in a way that only the C library reads (`127.1`, a service's
//! name), is left to it. A test compares the two over all combinations of arguments.

use std::ffi::CStr;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::query::{AddrInfo, Query};
use crate::socket::Address;
use crate::sys;

/// What getaddrinfo(3) would answer, if that can be told without asking it.
#[must_use]
pub fn numeric(query: &Query) -> Option<Vec<AddrInfo>> {
    // Which lines are given for an unspecified socket type is glibc's own choice.
    if cfg!(not(target_env = "gnu")) {
        return None;
    }
    let understood = libc::AI_PASSIVE | libc::AI_NUMERICHOST | libc::AI_NUMERICSERV;
    if query.flags & !understood != 0 {
        return None;
    }
    let port = match &query.service {
        Some(service) => parse_port(service)?,
        None => 0,
    };
    let address = parse_host(query.host.as_deref()?, port)?;
    if query.family != libc::AF_UNSPEC && query.family != address.family() {
        return None;
    }
    let lines = lines(query.socktype, query.protocol)?;
    let answer = lines.iter().map(|&(socktype, protocol)| AddrInfo {
        family: address.family(),
        socktype,
        protocol,
        canonname: None,
        address: address.clone(),
    });
    Some(answer.collect())
}

const STREAM: (i32, i32) = (libc::SOCK_STREAM, libc::IPPROTO_TCP);
const DATAGRAM: (i32, i32) = (libc::SOCK_DGRAM, libc::IPPROTO_UDP);
const RAW: (i32, i32) = (libc::SOCK_RAW, 0);

/// The lines that a socket type and a protocol select, in glibc's order.
fn lines(socktype: i32, protocol: i32) -> Option<&'static [(i32, i32)]> {
    match (socktype, protocol) {
        (0, 0) => Some(&[STREAM, DATAGRAM, RAW]),
        (libc::SOCK_STREAM | 0, libc::IPPROTO_TCP) | (libc::SOCK_STREAM, 0) => Some(&[STREAM]),
        (libc::SOCK_DGRAM | 0, libc::IPPROTO_UDP) | (libc::SOCK_DGRAM, 0) => Some(&[DATAGRAM]),
        _ => None,
    }
}

/// One to five digits.
fn parse_port(service: &CStr) -> Option<u16> {
    let digits = service.to_str().ok()?;
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

fn parse_host(host: &CStr, port: u16) -> Option<Address> {
    let text = host.to_str().ok()?;
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(Address::v4(ip, port));
    }
    let Some((ip, scope)) = text.split_once('%') else {
        return text
            .parse::<Ipv6Addr>()
            .ok()
            .map(|ip| Address::v6(ip, port, 0, 0));
    };
    let ip: Ipv6Addr = ip.parse().ok()?;
    let scope_id = parse_scope(ip, scope)?;
    Some(Address::v6(ip, port, 0, scope_id))
}

/// RFC 4007, section 11: the name of an interface where one is meant, else a number.
fn parse_scope(ip: Ipv6Addr, scope: &str) -> Option<u32> {
    let link_local_multicast = ip.octets()[0] == 0xff && ip.octets()[1] & 0x0f == 2;
    if (ip.is_unicast_link_local() || link_local_multicast)
        && let Some(index) = sys::interface_index(scope)
    {
        return Some(index);
    }
    if scope.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    scope.parse().ok()
}
