//! Pipes: making them, and the nonblocking calls of descriptors that are not sockets.
//!
//! Every call here returns at once: what would block fails with `WouldBlock`. The loop's signal pipe is one of them.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{
    Errno, fcntl_dupfd_cloexec, read as read_fd, retry_on_intr, write as write_fd, writev as writev_fd,
};
use rustix::pipe::{PipeFlags, pipe_with};

/// `IOV_MAX`.
const MOST_PIECES: usize = 1024;

/// What a descriptor is, of those that can be waited for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A pipe or a FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A terminal or another character device.
    Character,
    /// Anything else: a regular file, a directory, a block device.
    Other,
}

/// Makes a pipe, both ends nonblocking and closed on exec (pipe2(2)): the end to read from, then the one to write to.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?)
}

/// Reads into `buffer` (read(2)): how many bytes came; 0 is the end of the file.
///
/// # Errors
/// `WouldBlock` when nothing has come and the descriptor is nonblocking; otherwise those of read(2).
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| read_fd(fd, &mut *buffer))?)
}

/// Writes what fits (write(2)): how many bytes went. SIGPIPE is the process's own affair.
///
/// # Errors
/// `WouldBlock` when nothing fits and the descriptor is nonblocking; `EPIPE` when nobody reads.
pub fn write(fd: impl AsFd, data: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd();
    Ok(retry_on_intr(|| write_fd(fd, data))?)
}

/// Reads into memory that nothing was written to yet; what came stands at its start.
///
/// # Errors
/// Those of [`read`].
pub fn read_uninit(fd: impl AsFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<&mut [u8]> {
    match read_fd(fd, buffer) {
        Ok((received, _)) => Ok(received),
        // Nothing was read; the descriptor is as ready as it was, and the poller will say so.
        Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// Writes what fits of several pieces of memory in one call (writev(2)): how many bytes went in all. The kernel takes
/// 1,024 pieces at most; what lies beyond is not written.
///
/// # Errors
/// Those of [`write`].
pub fn write_vectored(fd: impl AsFd, data: &[IoSlice<'_>]) -> io::Result<usize> {
    let fd = fd.as_fd();
    let data = &data[..data.len().min(MOST_PIECES)];
    Ok(retry_on_intr(|| writev_fd(fd, data))?)
}

/// What the descriptor is (fstat(2)).
///
/// # Errors
/// `EBADF`.
pub fn kind(fd: impl AsFd) -> io::Result<Kind> {
    Ok(match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::Character,
        _ => Kind::Other,
    })
}

/// Makes the open file nonblocking, for all descriptors of it (fcntl(2), `O_NONBLOCK`).
///
/// # Errors
/// `EBADF`.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd();
    let flags = fcntl_getfl(fd)?;
    if flags.contains(OFlags::NONBLOCK) {
        return Ok(());
    }
    Ok(fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// Another descriptor of the same open file, closed on exec (fcntl(2), `F_DUPFD_CLOEXEC`).
///
/// # Errors
/// `EBADF`, `EMFILE`.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, 0)?)
}

// Miri knows none of these system calls, or not all of what is asked of them.
#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_an_empty_pipe_would_block() {
        let (reader, writer) = pipe().unwrap();
        assert_eq!(write(&writer, b"abc").unwrap(), 3);
        let mut buffer = [0; 8];
        assert_eq!(read(&reader, &mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
        assert_eq!(
            read(&reader, &mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(writer);
        assert_eq!(read(&reader, &mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_full_pipe_would_block() {
        let (_reader, writer) = pipe().unwrap();
        let full = loop {
            if let Err(error) = write(&writer, &[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
    #[test]
    fn several_pieces_leave_in_one_write_and_come_in_one_read() {
        let (reader, writer) = pipe().unwrap();
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(write_vectored(&writer, &pieces).unwrap(), 5);
        let mut memory = [MaybeUninit::uninit(); 8];
        assert_eq!(read_uninit(&reader, &mut memory).unwrap(), b"abcde");
        assert_eq!(
            read_uninit(&reader, &mut memory).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn descriptors_are_told_apart() {
        let (reader, _writer) = pipe().unwrap();
        assert_eq!(kind(&reader).unwrap(), Kind::Fifo);
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(kind(&socket).unwrap(), Kind::Socket);
        assert_eq!(
            kind(std::fs::File::open("/dev/null").unwrap()).unwrap(),
            Kind::Character
        );
        assert_eq!(kind(std::fs::File::open("/").unwrap()).unwrap(), Kind::Other);
    }

    #[test]
    fn a_blocking_descriptor_is_made_nonblocking_through_any_duplicate() {
        let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let twin = duplicate(&reader).unwrap();
        set_nonblocking(&twin).unwrap();
        let error = read(&reader, &mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
