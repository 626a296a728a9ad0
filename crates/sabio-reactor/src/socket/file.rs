//! From a file to a socket without a copy through this process: sendfile(2), and what has to be known of the file.
//!
//! The file is read at an offset that the caller keeps, so its own position does not move until [`seek`] moves it. A call
//! does not wait for the socket, which has to be nonblocking, but it may wait for the disk.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, SeekFrom};
use rustix::io::retry_on_intr;

/// Sends up to `count` bytes of `file` from `offset` on (both in bytes) through `socket`: how many went. 0 is the end of
/// the file.
///
/// # Errors
/// `WouldBlock` when nothing fits into the socket's buffer; `EINVAL`, `ESPIPE` for a file that cannot be sent so;
/// `EPIPE`, `ECONNRESET` and the other errors of the connection; `EIO` of the disk. As sendfile(2) has no flag against
/// it, `EPIPE` comes with SIGPIPE, which Rust and Python programs ignore.
pub fn send_file(socket: impl AsFd, file: impl AsFd, offset: u64, count: usize) -> io::Result<usize> {
    let (socket, file) = (socket.as_fd(), file.as_fd());
    let sent = retry_on_intr(|| {
        let mut position = offset;
        fs::sendfile(socket, file, Some(&mut position), count)
    })?;
    Ok(sent)
}

/// The size of a file in bytes (fstat(2)); 0 for what has none, such as a pipe.
///
/// # Errors
/// `EBADF`.
pub fn file_size(file: impl AsFd) -> io::Result<u64> {
    let status = fs::fstat(file)?;
    Ok(u64::try_from(status.st_size).unwrap_or(0))
}

/// Moves the file's own position to `offset`, in bytes (lseek(2)).
///
/// # Errors
/// `ESPIPE` for what has no position, `EBADF`.
pub fn seek(file: impl AsFd, offset: u64) -> io::Result<()> {
    fs::seek(file, SeekFrom::Start(offset))?;
    Ok(())
}

// Miri knows none of these system calls, or not all of what is asked of them.
#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn file_with(data: &[u8]) -> File {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("sabio-send-{}-{:p}", std::process::id(), data));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a file can be made");
        std::fs::remove_file(&path).expect("it is there");
        file.write_all(data).expect("it can be written");
        file
    }

    #[test]
    fn the_part_that_was_asked_for_arrives_and_the_position_stays() {
        let mut file = file_with(b"0123456789");
        let (left, mut right) = UnixStream::pair().expect("a pair");
        assert_eq!(send_file(&left, &file, 2, 5).expect("sent"), 5);
        let mut received = [0; 5];
        right.read_exact(&mut received).expect("it arrives");
        assert_eq!(&received, b"23456");
        assert_eq!(file.stream_position().expect("a position"), 10);
        seek(&file, 3).expect("it has a position");
        assert_eq!(file.stream_position().expect("a position"), 3);
        assert_eq!(file_size(&file).expect("a size"), 10);
    }

    #[test]
    fn behind_the_end_there_is_nothing() {
        let file = file_with(b"0123456789");
        let (left, _right) = UnixStream::pair().expect("a pair");
        assert_eq!(send_file(&left, &file, 10, 5).expect("nothing"), 0);
        assert_eq!(send_file(&left, &file, 1000, 5).expect("nothing"), 0);
    }

    #[test]
    fn a_full_socket_would_block() {
        let file = file_with(&vec![b'x'; 1 << 20]);
        let (left, _right) = UnixStream::pair().expect("a pair");
        left.set_nonblocking(true).expect("it can be");
        let mut offset = 0;
        let error = loop {
            match send_file(&left, &file, offset % (1 << 20), 1 << 20) {
                Ok(sent) => offset += sent as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_pipe_has_no_size_and_no_position() {
        let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
        assert_eq!(file_size(&reader).expect("a size"), 0);
        assert!(seek(&reader, 0).is_err());
    }
}
