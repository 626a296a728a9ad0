//! The calls of stream sockets: make, connect, accept, receive, send, shut down.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::Address;

/// How far a connect has come.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Connect {
    /// The socket is connected.
    Done,
    /// The socket becomes writable when it is over; [`take_error`](super::take_error) then tells how it ended.
    InProgress,
}

/// Makes a nonblocking socket that is closed on exec (socket(2)). The numbers are those of the C library, as
/// Python's `socket` module has them; protocol 0 leaves the choice to the kernel.
///
/// # Errors
/// `EAFNOSUPPORT`, `EPROTONOSUPPORT`, `EINVAL` for numbers that the kernel does not know, `EMFILE`, `ENFILE`.
pub fn socket(family: i32, socktype: i32, protocol: i32) -> io::Result<OwnedFd> {
    let family = u16::try_from(family).map_err(|_| Errno::AFNOSUPPORT)?;
    let socktype = u32::try_from(socktype).map_err(|_| Errno::INVAL)?;
    let protocol = u32::try_from(protocol).map_err(|_| Errno::PROTONOSUPPORT)?;
    let socket = net::socket_with(
        AddressFamily::from_raw(family),
        SocketType::from_raw(socktype),
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        NonZeroU32::new(protocol).map(Protocol::from_raw),
    )?;
    Ok(socket)
}

/// Starts to connect (connect(2)).
///
/// # Errors
/// What the kernel knows at once, `ECONNREFUSED` and `ENETUNREACH` among them; `EAGAIN` when the queue of a
/// Unix listener is full.
pub fn connect(fd: impl AsFd, address: &Address) -> io::Result<Connect> {
    match net::connect(fd, &address.to_any()?) {
        Ok(()) => Ok(Connect::Done),
        // An interrupted connect goes on, as one in progress does.
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(Connect::InProgress),
        Err(error) => Err(error.into()),
    }
}

/// Takes a connection from a listener's queue, nonblocking and closed on exec (accept4(2)), and its peer's
/// address.
///
/// # Errors
/// `WouldBlock` when the queue is empty; `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` when the process or the machine
/// cannot take one more; `ECONNABORTED` and network errors of a connection that is gone again.
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Address)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listener = listener.as_fd();
    let (socket, peer) = retry_on_intr(|| net::acceptfrom_with(listener, flags))?;
    Ok((socket, Address::from_any(peer.as_ref())))
}

/// Receives into `buffer` (recv(2)): how many bytes came; 0 is the end of the stream. Does not block, whatever the
/// descriptor would have it do.
///
/// # Errors
/// `WouldBlock` when nothing has come; `ECONNRESET` and the other errors of the connection.
#[inline]
pub fn recv(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = fd.as_fd();
    let (count, _) = retry_on_intr(|| net::recv(fd, &mut *buffer, RecvFlags::DONTWAIT))?;
    Ok(count)
}

/// Receives into memory that nothing was written to yet; what came stands at its start.
///
/// # Errors
/// Those of [`recv`].
#[inline]
pub fn recv_uninit(fd: impl AsFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<&mut [u8]> {
    let fd = fd.as_fd();
    match net::recv(fd, buffer, RecvFlags::DONTWAIT) {
        Ok(((received, _), _)) => Ok(received),
        // Nothing was received; the descriptor is as ready as it was, and the poller will say so.
        Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// Sends what fits into the socket's buffer (send(2)), without SIGPIPE: how many bytes went. Does not block, whatever
/// the descriptor would have it do.
///
/// # Errors
/// `WouldBlock` when nothing fits; `EPIPE`, `ECONNRESET` and the other errors of the connection.
#[inline]
pub fn send(fd: impl AsFd, data: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| {
        net::send(fd, data, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    })?)
}

/// Sends several pieces of memory in one call (sendmsg(2)): how many bytes went in all. The kernel takes 1,024
/// pieces at most; what lies beyond is not sent.
///
/// # Errors
/// Those of [`send`].
#[inline]
pub fn send_vectored(fd: impl AsFd, data: &[IoSlice<'_>]) -> io::Result<usize> {
    let fd = fd.as_fd();
    let data = &data[..data.len().min(MOST_PIECES)];
    let mut control = net::SendAncillaryBuffer::default();
    Ok(retry_on_intr(|| {
        net::sendmsg(fd, data, &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    })?)
}

/// `IOV_MAX`.
const MOST_PIECES: usize = 1024;

/// Ends the outgoing half of a connection (shutdown(2)): `write_eof`.
///
/// # Errors
/// `ENOTCONN` when the peer is gone already.
pub fn shutdown_write(fd: impl AsFd) -> io::Result<()> {
    Ok(net::shutdown(fd, net::Shutdown::Write)?)
}

/// The socket's own address (getsockname(2)).
///
/// # Errors
/// `ENOTSOCK`, `EBADF`.
pub fn local_address(fd: impl AsFd) -> io::Result<Address> {
    Ok(Address::from_any(Some(&net::getsockname(fd)?)))
}

/// The address of the other end (getpeername(2)).
///
/// # Errors
/// `ENOTCONN`, `ENOTSOCK`, `EBADF`.
pub fn peer_address(fd: impl AsFd) -> io::Result<Address> {
    Ok(Address::from_any(net::getpeername(fd)?.as_ref()))
}
