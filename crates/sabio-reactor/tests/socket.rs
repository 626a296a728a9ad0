//! Sockets: the nonblocking calls over real connections.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use sabio_reactor::socket::{self, Address, Connect};
use sabio_reactor::{Events, Interest, Poller, Token};
use support::errno;

fn wait_for(fd: &OwnedFd, interest: Interest) {
    let poller = Poller::new().unwrap();
    poller.add(fd.as_raw_fd(), Token::new(0, 0), interest).unwrap();
    let mut events = Events::new();
    poller.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
    assert_eq!(events.len(), 1);
}

fn stream(family: i32) -> OwnedFd {
    socket::socket(family, libc::SOCK_STREAM, 0).unwrap()
}

/// A listener on the loopback address, and its address.
fn listener() -> (OwnedFd, Address) {
    let listener = stream(libc::AF_INET);
    socket::set_reuse_address(&listener, true).unwrap();
    socket::bind(&listener, &Address::v4(Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket::listen(&listener, 100).unwrap();
    let address = socket::local_address(&listener).unwrap();
    (listener, address)
}

/// A connection: the client's end and the server's.
fn connection() -> (OwnedFd, OwnedFd) {
    let (listener, address) = listener();
    let client = stream(libc::AF_INET);
    if socket::connect(&client, &address).unwrap() == Connect::InProgress {
        wait_for(&client, Interest::WRITABLE);
        socket::take_error(&client).unwrap();
    }
    wait_for(&listener, Interest::READABLE);
    let (server, peer) = socket::accept(&listener).unwrap();
    assert_eq!(peer, socket::local_address(&client).unwrap());
    assert_eq!(socket::peer_address(&server).unwrap(), peer);
    assert_eq!(socket::peer_address(&client).unwrap(), address);
    (client, server)
}

#[test]
fn sockets_are_nonblocking_and_closed_on_exec_from_the_start() {
    let (client, server) = connection();
    for fd in [&client, &server] {
        assert!(fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
    }
    socket::set_nonblocking(&client, false).unwrap();
    assert!(!fcntl_getfl(&client).unwrap().contains(OFlags::NONBLOCK));
}

#[test]
fn what_would_block_says_so() {
    let (listener, _) = listener();
    assert_eq!(
        socket::accept(&listener).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let (client, _server) = connection();
    assert_eq!(
        socket::recv(&client, &mut [0; 8]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let mut memory = [MaybeUninit::uninit(); 8];
    assert_eq!(
        socket::recv_uninit(&client, &mut memory).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let chunk = [0; 65536];
    let full = std::iter::repeat_with(|| socket::send(&client, &chunk))
        .find_map(Result::err)
        .unwrap();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
}

#[test]
fn bytes_arrive_whichever_way_they_are_sent_and_received() {
    let (client, server) = connection();
    assert_eq!(socket::send(&client, b"hello ").unwrap(), 6);
    let pieces = [IoSlice::new(b"wor"), IoSlice::new(b""), IoSlice::new(b"ld")];
    assert_eq!(socket::send_vectored(&client, &pieces).unwrap(), 5);
    wait_for(&server, Interest::READABLE);
    let mut first = [0; 4];
    assert_eq!(socket::recv(&server, &mut first).unwrap(), 4);
    assert_eq!(&first, b"hell");
    let mut rest = [MaybeUninit::uninit(); 64];
    assert_eq!(socket::recv_uninit(&server, &mut rest).unwrap(), b"o world");
    socket::shutdown_write(&client).unwrap();
    wait_for(&server, Interest::READABLE);
    assert_eq!(socket::recv(&server, &mut first).unwrap(), 0);
    assert!(socket::recv_uninit(&server, &mut rest).unwrap().is_empty());
}

#[test]
fn more_pieces_than_the_kernel_takes_are_sent_in_part() {
    let (client, server) = connection();
    let pieces = vec![IoSlice::new(b"x"); 1500];
    assert_eq!(socket::send_vectored(&client, &pieces).unwrap(), 1024);
    wait_for(&server, Interest::READABLE);
    assert_eq!(socket::recv(&server, &mut [0; 4096]).unwrap(), 1024);
    assert_eq!(socket::send_vectored(&client, &[]).unwrap(), 0);
}

#[test]
fn writing_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    let (client, server) = connection();
    drop(server);
    let error = (0..1000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(1));
        socket::send(&client, b"x").err()
    });
    let kind = error.map(|error| error.kind());
    assert!(
        matches!(kind, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)),
        "{kind:?}"
    );
}

#[test]
fn a_refused_connect_is_told_at_once_or_when_it_is_over() {
    let (listener, address) = listener();
    drop(listener);
    let client = stream(libc::AF_INET);
    let result = match socket::connect(&client, &address) {
        Ok(_) => {
            wait_for(&client, Interest::WRITABLE);
            socket::take_error(&client)
        }
        Err(error) => Err(error),
    };
    assert_eq!(errno(result), Some(libc::ECONNREFUSED));
    // Taken: the next look finds nothing.
    socket::take_error(&client).unwrap();
}

#[test]
fn options_are_set() {
    use rustix::net::sockopt;
    let fd = stream(libc::AF_INET6);
    socket::set_v6only(&fd, true).unwrap();
    socket::set_reuse_port(&fd, true).unwrap();
    socket::set_reuse_address(&fd, true).unwrap();
    socket::set_keepalive(&fd, true).unwrap();
    socket::set_nodelay(&fd, true).unwrap();
    assert!(sockopt::ipv6_v6only(&fd).unwrap() && sockopt::socket_reuseport(&fd).unwrap());
    assert!(sockopt::socket_reuseaddr(&fd).unwrap() && sockopt::socket_keepalive(&fd).unwrap());
    assert!(sockopt::tcp_nodelay(&fd).unwrap());
    socket::set_nodelay(&fd, false).unwrap();
    assert!(!sockopt::tcp_nodelay(&fd).unwrap());
    let unix = stream(libc::AF_UNIX);
    assert!(errno(socket::set_nodelay(&unix, true)).is_some());
}

#[test]
fn a_port_in_use_is_an_error() {
    let (_listener, address) = listener();
    let second = stream(libc::AF_INET);
    assert_eq!(errno(socket::bind(&second, &address)), Some(libc::EADDRINUSE));
}

#[test]
fn unknown_families_types_and_protocols_are_errors() {
    assert_eq!(
        errno(socket::socket(-1, libc::SOCK_STREAM, 0)),
        Some(libc::EAFNOSUPPORT)
    );
    assert_eq!(
        errno(socket::socket(1 << 20, libc::SOCK_STREAM, 0)),
        Some(libc::EAFNOSUPPORT)
    );
    assert_eq!(errno(socket::socket(libc::AF_INET, -1, 0)), Some(libc::EINVAL));
    assert_eq!(
        errno(socket::socket(libc::AF_INET, libc::SOCK_STREAM, -1)),
        Some(libc::EPROTONOSUPPORT)
    );
    assert_eq!(
        errno(socket::connect(stream(libc::AF_INET), &Address::Other(99))),
        Some(libc::EAFNOSUPPORT)
    );
}

#[test]
fn unix_addresses_go_to_the_kernel_and_back() {
    let path = std::env::temp_dir().join(format!("sabio-socket-{}", std::process::id()));
    let named = Address::UnixPath(path.as_os_str().as_encoded_bytes().to_vec());
    let hidden = Address::UnixAbstract(format!("sabio-{}", std::process::id()).into_bytes());
    for address in [named, hidden] {
        let listener = stream(libc::AF_UNIX);
        assert_eq!(socket::local_address(&listener).unwrap(), Address::Unnamed);
        socket::bind(&listener, &address).unwrap();
        socket::listen(&listener, 1).unwrap();
        assert_eq!(socket::local_address(&listener).unwrap(), address);
        let client = stream(libc::AF_UNIX);
        assert_eq!(socket::connect(&client, &address).unwrap(), Connect::Done);
        let (_server, peer) = socket::accept(&listener).unwrap();
        assert_eq!(peer, Address::Unnamed);
        assert_eq!(socket::peer_address(&client).unwrap(), address);
    }
    std::fs::remove_file(path).unwrap();
    let long = Address::UnixPath(vec![b'x'; 500]);
    assert_eq!(
        errno(socket::bind(stream(libc::AF_UNIX), &long)),
        Some(libc::ENAMETOOLONG)
    );
}

/// The kernel takes 108 bytes without a 0 at the end, and reports one byte more than the structure has.
#[test]
fn a_peer_may_have_the_longest_path_there_is() {
    let mut path = std::env::temp_dir()
        .join(format!("sabio-{}-", std::process::id()))
        .into_os_string();
    while path.len() < 108 {
        path.push("x");
    }
    let listener = stream(libc::AF_UNIX);
    let name = Address::UnixAbstract(format!("sabio-longest-{}", std::process::id()).into_bytes());
    socket::bind(&listener, &name).unwrap();
    socket::listen(&listener, 1).unwrap();
    let client = stream(libc::AF_UNIX);
    let longest = Address::UnixPath(path.as_encoded_bytes().to_vec());
    socket::bind(&client, &longest).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(socket::local_address(&client).unwrap(), longest);
    assert_eq!(socket::connect(&client, &name).unwrap(), Connect::Done);
    let (_server, peer) = socket::accept(&listener).unwrap();
    assert_eq!(peer, longest);
}

#[test]
fn ipv6_addresses_keep_their_scope() {
    let fd = stream(libc::AF_INET6);
    let Ok(()) = socket::bind(&fd, &Address::v6(Ipv6Addr::LOCALHOST, 0, 0, 0)) else {
        return; // No IPv6 on this machine.
    };
    let address = socket::local_address(&fd).unwrap();
    assert_eq!(address.family(), libc::AF_INET6);
    assert!(address.port().is_some_and(|port| port > 0));
    let Address::V6(address) = address else {
        panic!("{address:?}")
    };
    assert_eq!((*address.ip(), address.scope_id()), (Ipv6Addr::LOCALHOST, 0));
}

#[test]
fn addresses_print_as_people_write_them() {
    let printed = [
        (Address::v4(Ipv4Addr::LOCALHOST, 80), "127.0.0.1:80"),
        (Address::v6(Ipv6Addr::LOCALHOST, 80, 0, 0), "[::1]:80"),
        (Address::UnixPath(b"/tmp/x".to_vec()), "/tmp/x"),
        (Address::UnixAbstract(b"x".to_vec()), "@x"),
    ];
    for (address, expected) in printed {
        assert_eq!(address.to_string(), expected);
    }
}

#[test]
fn a_borrowed_number_works_like_its_descriptor() {
    let (client, server) = connection();
    let borrowed = sabio_reactor::sys::borrow(client.as_raw_fd()).unwrap();
    socket::send(borrowed, b"x").unwrap();
    wait_for(&server, Interest::READABLE);
    assert_eq!(socket::recv(server.as_fd(), &mut [0; 2]).unwrap(), 1);
}
