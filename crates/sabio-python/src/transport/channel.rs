//! The system calls by which bytes come and go: those of sockets, and those of everything else.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use sabio_reactor::{pipe, socket};

/// How a kind of descriptor is read and written; every call returns at once, with `WouldBlock` if it has to.
pub(super) trait Channel {
    /// Receives into memory.
    fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize>;

    /// Receives into memory that nothing was written to yet; what came stands at its start.
    fn receive_uninit<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]>;

    /// Sends what fits.
    fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize>;

    /// Sends what fits of several pieces.
    fn send_vectored(fd: BorrowedFd<'_>, data: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// A socket that a stream transport owns.
pub(super) struct SocketChannel;

impl Channel for SocketChannel {
    #[inline]
    fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        socket::recv(fd, buffer)
    }

    #[inline]
    fn receive_uninit<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
        socket::recv_uninit(fd, buffer)
    }

    #[inline]
    fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
        socket::send(fd, data)
    }

    #[inline]
    fn send_vectored(fd: BorrowedFd<'_>, data: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::send_vectored(fd, data)
    }
}

/// A pipe, a terminal, or whatever else a user calls a pipe.
pub(super) struct PipeChannel;

impl Channel for PipeChannel {
    #[inline]
    fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        pipe::read(fd, buffer)
    }

    #[inline]
    fn receive_uninit<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
        pipe::read_uninit(fd, buffer)
    }

    #[inline]
    fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
        pipe::write(fd, data)
    }

    #[inline]
    fn send_vectored(fd: BorrowedFd<'_>, data: &[IoSlice<'_>]) -> io::Result<usize> {
        pipe::write_vectored(fd, data)
    }
}
