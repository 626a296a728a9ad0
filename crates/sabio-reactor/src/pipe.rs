//! Pipes: making them, and the nonblocking calls of descriptors that are not sockets.
//!
//! Every call here returns at once: what would block fails with `WouldBlock`. The loop's signal pipe is one of them.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{
    Errno, fcntl_dupfd_cloexec, read as read_fd, retry_on_intr, write as write_fd, writev as writev_fd,
};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

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

/// What a large pipe holds, in bytes.
const LARGE: usize = 256 * 1024;
/// How many pipes of a process are large at a time. The kernel gives the new pipes of a user less once his pipes have 64 MiB
/// between them (pipe(7), `pipe-user-pages-soft`); of that, this is a thirty-second part.
const MOST_LARGE: usize = 8;
/// How often a pipe is full before it is made large: half a MiB has gone through it then.
const OFTEN: u8 = 8;

static LARGE_PIPES: AtomicUsize = AtomicUsize::new(0);

/// What one end of a pipe knows of how full it gets. A pipe that is full again and again is made large, so that who writes
/// and who reads take turns less often.
#[derive(Debug, Default)]
pub struct Growth {
    filled: Cell<u8>,
    large: Cell<bool>,
}

impl Growth {
    /// The pipe was found full. Other descriptors may be told of, too; they stay as they are.
    #[inline]
    pub fn filled(&self, fd: impl AsFd) {
        let filled = self.filled.get();
        if filled < OFTEN {
            self.filled.set(filled + 1);
            if filled + 1 == OFTEN {
                self.grow(fd);
            }
        }
    }

    /// Whether a read of so many bytes can have emptied a pipe that was full.
    #[inline]
    #[must_use]
    pub fn may_have_been_full(size: usize) -> bool {
        size >= 64 * 1024
    }

    #[cold]
    fn grow(&self, fd: impl AsFd) {
        let fd = fd.as_fd();
        if !matches!(fcntl_getpipe_size(fd), Ok(size) if size < LARGE) {
            return;
        }
        if LARGE_PIPES.fetch_add(1, Relaxed) < MOST_LARGE && fcntl_setpipe_size(fd, LARGE).is_ok() {
            self.large.set(true);
        } else {
            LARGE_PIPES.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        if self.large.get() {
            LARGE_PIPES.fetch_sub(1, Relaxed);
        }
    }
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

    #[test]
    fn a_pipe_that_is_full_often_is_made_large_and_only_so_many_are() {
        let fill = |growth: &Growth, end: &OwnedFd| (0..OFTEN).for_each(|_| growth.filled(end));
        let pipes: Vec<_> = (0..=MOST_LARGE).map(|_| pipe().unwrap()).collect();
        let size = |end: &OwnedFd| fcntl_getpipe_size(end).unwrap();
        let mut growths: Vec<Growth> = pipes.iter().map(|_| Growth::default()).collect();
        let usual = size(&pipes[0].0);
        (1..OFTEN).for_each(|_| growths[0].filled(&pipes[0].1));
        assert_eq!(size(&pipes[0].0), usual);
        for (growth, (reader, writer)) in growths.iter().zip(&pipes) {
            fill(growth, writer);
            fill(growth, reader);
        }
        let large = pipes.iter().filter(|(reader, _)| size(reader) == LARGE);
        assert_eq!(large.count(), MOST_LARGE);
        // One that is given up makes room for another.
        growths.pop();
        growths.remove(0);
        let next = Growth::default();
        fill(&next, &pipes[MOST_LARGE].1);
        assert_eq!(size(&pipes[MOST_LARGE].1), LARGE);
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = Growth::default();
        (0..OFTEN).for_each(|_| socket.filled(&one));
        assert!(!socket.large.get());
    }
}
