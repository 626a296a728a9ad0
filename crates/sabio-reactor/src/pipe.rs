//! Pipes: making them, and the nonblocking calls of descriptors that are not sockets.
//!
//! Every call here returns at once: what would block fails with `WouldBlock`. The loop's signal pipe is one of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{read as read_fd, retry_on_intr, write as write_fd};
use rustix::pipe::{PipeFlags, pipe_with};

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
}
