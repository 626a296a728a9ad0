//! The resolver: its threads, and that the shortcut for numeric hosts says what the C library says.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::ffi::CString;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sabio_reactor::socket::Address;
use sabio_reactor::{AddrInfo, Query, ResolveError, Resolver, numeric};
use support::block_on;

fn text(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

fn query(host: &str, service: &str) -> Query {
    Query {
        host: text(host),
        service: text(service),
        ..Query::default()
    }
}

fn ask(resolver: &Resolver, query: &Query) -> Result<Vec<AddrInfo>, ResolveError> {
    block_on(resolver.lookup(query.clone())).unwrap()
}

#[test]
fn the_shortcut_says_what_the_c_library_says() {
    let resolver = Resolver::new();
    let hosts = [
        None,
        text("127.0.0.1"),
        text("0.0.0.0"),
        text("255.255.255.255"),
        text("127.1"),
        text("0x7f.1"),
        text("010.0.0.1"),
        text("::1"),
        text("::"),
        text("::ffff:10.0.0.1"),
        text("2001:db8::1"),
        text("fe80::1%lo"),
        text("fe80::1%1"),
        text("fe80::1%12345"),
        text("fe80::1%nope"),
        text("fe80::1%"),
        text("ff02::1%lo"),
        text("ff05::1%3"),
        text("2001:db8::1%7"),
        text("2001:db8::1%lo"),
        text("::1%4294967295"),
        text("::1%4294967296"),
        text("::1%+1"),
        text(""),
        text("1.2.3.4 "),
        text("1.2.3"),
    ];
    let services = [
        None,
        text("0"),
        text("80"),
        text("00080"),
        text("65535"),
        text("65536"),
        text("+80"),
        text(""),
    ];
    let families = [libc::AF_UNSPEC, libc::AF_INET, libc::AF_INET6];
    let kinds = [
        (0, 0),
        (libc::SOCK_STREAM, 0),
        (libc::SOCK_STREAM, libc::IPPROTO_TCP),
        (0, libc::IPPROTO_TCP),
        (0, libc::IPPROTO_UDP),
        (libc::SOCK_DGRAM, 0),
        (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        (libc::SOCK_STREAM, libc::IPPROTO_UDP),
        (libc::SOCK_DGRAM, libc::IPPROTO_TCP),
        (libc::SOCK_RAW, 0),
        (libc::SOCK_RAW, libc::IPPROTO_TCP),
        (libc::SOCK_SEQPACKET, 0),
    ];
    let flags = [
        0,
        libc::AI_PASSIVE,
        libc::AI_NUMERICHOST,
        libc::AI_NUMERICHOST | libc::AI_NUMERICSERV,
        libc::AI_PASSIVE | libc::AI_NUMERICSERV,
        libc::AI_ADDRCONFIG,
        libc::AI_CANONNAME,
        libc::AI_V4MAPPED | libc::AI_ALL,
    ];
    let (mut answered, mut left) = (0, 0);
    for host in &hosts {
        for service in &services {
            for family in families {
                for (socktype, protocol) in kinds {
                    for flags in flags {
                        let query = Query {
                            host: host.clone(),
                            service: service.clone(),
                            family,
                            socktype,
                            protocol,
                            flags,
                        };
                        match numeric(&query) {
                            Some(answer) => {
                                assert_eq!(ask(&resolver, &query), Ok(answer), "{query:?}");
                                answered += 1;
                            }
                            None => left += 1,
                        }
                    }
                }
            }
        }
    }
    assert!(left > 0);
    if cfg!(target_env = "gnu") {
        assert!(answered > 1000, "{answered}");
        // The calls that asyncio makes most are among those that need no thread.
        for (host, family) in [("127.0.0.1", libc::AF_UNSPEC), ("::1", libc::AF_INET6)] {
            let query = Query {
                family,
                socktype: libc::SOCK_STREAM,
                ..query(host, "8080")
            };
            assert_eq!(numeric(&query).map(|answer| answer.len()), Some(1));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_shortcut_says_what_the_c_library_says_of_any_address(
        host in prop_oneof![
            any::<std::net::IpAddr>().prop_map(|ip| ip.to_string()),
            any::<std::net::Ipv6Addr>().prop_map(|ip| format!("{ip}%1")),
            "[0-9a-f:.%]{1,20}",
        ],
        port in prop_oneof!["[0-9]{1,6}", "[ +-]?[0-9]{1,3}[a-z ]?"],
    ) {
        let query = Query { flags: libc::AI_NUMERICHOST | libc::AI_NUMERICSERV, ..query(&host, &port) };
        if let Some(answer) = numeric(&query) {
            prop_assert_eq!(ask(&Resolver::new(), &query), Ok(answer));
        }
    }
}

#[test]
fn a_local_name_resolves_on_a_thread() {
    let resolver = Resolver::new();
    assert_eq!(resolver.thread_count(), 0);
    let query = Query {
        socktype: libc::SOCK_STREAM,
        ..query("localhost", "80")
    };
    assert_eq!(numeric(&query), None);
    let answer = ask(&resolver, &query).unwrap();
    assert!(!answer.is_empty());
    for line in answer {
        assert_eq!(
            (line.socktype, line.protocol),
            (libc::SOCK_STREAM, libc::IPPROTO_TCP)
        );
        assert_eq!(line.address.family(), line.family);
        assert_eq!(line.address.port(), Some(80));
    }
    assert_eq!(resolver.thread_count(), 1);
}

#[test]
fn errors_are_the_c_librarys() {
    let resolver = Resolver::new();
    let flags = libc::AI_NUMERICHOST;
    let error = ask(
        &resolver,
        &Query {
            flags,
            ..query("not-a-number.invalid", "80")
        },
    )
    .unwrap_err();
    assert_eq!((error.code, error.errno), (libc::EAI_NONAME, None));
    assert!(!error.message.is_empty());
    assert_eq!(error.to_string(), error.message);
    let error = ask(
        &resolver,
        &Query {
            family: 12345,
            ..query("127.0.0.1", "80")
        },
    )
    .unwrap_err();
    assert_eq!(error.code, libc::EAI_FAMILY);
    let error = ask(&resolver, &Query::default()).unwrap_err();
    assert_eq!(error.code, libc::EAI_NONAME);
}

#[test]
fn a_canonical_name_comes_with_the_first_line() {
    let resolver = Resolver::new();
    let query = Query {
        flags: libc::AI_CANONNAME,
        ..query("127.0.0.1", "80")
    };
    let answer = ask(&resolver, &query).unwrap();
    assert_eq!(answer[0].canonname.as_deref(), Some(b"127.0.0.1".as_slice()));
    assert!(answer[1..].iter().all(|line| line.canonname.is_none()));
}

#[test]
fn names_of_addresses_come_back() {
    let resolver = Resolver::new();
    let flags = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
    let cases = [
        (Address::v4([127, 0, 0, 1].into(), 8080), "127.0.0.1", "8080"),
        (
            Address::v6(std::net::Ipv6Addr::LOCALHOST, 443, 0, 0),
            "::1",
            "443",
        ),
        (
            Address::v6([0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), 1, 0, 1),
            "fe80::1%lo",
            "1",
        ),
    ];
    for (address, host, service) in cases {
        let name = block_on(resolver.getnameinfo(address, flags)).unwrap().unwrap();
        assert_eq!(
            (name.host, name.service),
            (host.as_bytes().to_vec(), service.as_bytes().to_vec())
        );
    }
    let error = block_on(resolver.getnameinfo(Address::Unnamed, flags))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.code, libc::EAI_FAMILY);
}

#[test]
fn many_lookups_share_four_threads_and_all_are_answered() {
    let resolver = Resolver::new();
    let lookups: Vec<_> = (0..500)
        .map(|port: u32| resolver.lookup(query("127.0.0.1", &port.to_string())))
        .collect();
    assert!(resolver.thread_count() <= 4);
    for (port, lookup) in (0..500).zip(lookups) {
        let answer = block_on(lookup).unwrap().unwrap();
        assert_eq!(answer[0].address.port(), Some(port));
    }
}

/// Lets threads go idle and come back at every moment, where a job could be left lying.
#[test]
fn no_lookup_is_left_lying_while_threads_come_and_go() {
    let resolver = Resolver::with_idle_time(Duration::from_micros(200));
    for round in 0..400_u64 {
        let lookups: Vec<_> = (0..1 + round % 6)
            .map(|_| resolver.lookup(query("127.0.0.1", "1")))
            .collect();
        for lookup in lookups {
            assert!(block_on(lookup).unwrap().is_ok());
        }
        thread::sleep(Duration::from_micros(round % 40 * 10));
    }
}

#[test]
fn idle_threads_take_new_work_at_once() {
    // An idle thread that nobody calls would look by itself after ten seconds.
    let resolver = Resolver::new();
    for _ in 0..20 {
        let start = Instant::now();
        let lookups: Vec<_> = (0..6).map(|_| resolver.lookup(query("127.0.0.1", "1"))).collect();
        for lookup in lookups {
            assert!(block_on(lookup).unwrap().is_ok());
        }
        assert!(start.elapsed() < Duration::from_secs(8));
        // Time enough to go idle.
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn idle_threads_end() {
    let resolver = Resolver::with_idle_time(Duration::from_millis(10));
    ask(&resolver, &query("127.0.0.1", "1")).unwrap();
    let start = Instant::now();
    while resolver.thread_count() > 0 {
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(2));
    }
    // And a new one starts when it is needed again.
    ask(&resolver, &query("127.0.0.1", "1")).unwrap();
}

#[test]
fn a_lookup_that_nobody_waits_for_is_given_up() {
    let resolver = Resolver::new();
    for _ in 0..100 {
        drop(resolver.lookup(query("127.0.0.1", "1")));
    }
    assert!(ask(&resolver, &query("127.0.0.1", "2")).is_ok());
}
