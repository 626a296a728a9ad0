//! Sending: sendmmsg(2) for several datagrams or rows of them, sendto(2) for one.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::{CONTROL_SIZE, Control, MOST_DATAGRAMS, retry};
use crate::socket::Address;
use crate::sys::address::write_address;

/// The most bytes that go as one row: what fits into one IP packet, headers aside.
const MOST_ROW_BYTES: usize = 65_000;

/// The most datagrams in a row: `UDP_MAX_SEGMENTS` of the first kernels that know them.
const MOST_IN_ROW: usize = 64;

/// What the kernel answers when the way to an address takes no rows: a network device, encryption on the way, datagrams
/// that are too long for the device.
const NO_ROWS: [i32; 5] = [
    libc::EINVAL,
    libc::EIO,
    libc::EMSGSIZE,
    libc::ENOPROTOOPT,
    libc::EOPNOTSUPP,
];

type Outgoing<'a> = (&'a [u8], Option<&'a Address>);

/// Sends up to [`MOST_DATAGRAMS`] datagrams, each to its address or, without one, to where the socket is connected; says
/// how many were sent. Does not block. Rows go as one if `rows` says so, which is unset when it turns out that they
/// cannot.
///
/// # Errors
/// What became of the first one: `WouldBlock` when the socket's buffer is full, `EMSGSIZE` when it is too long,
/// `ECONNREFUSED` for an earlier one. What became of a later one is told when it is the first.
pub fn send_batch(fd: BorrowedFd<'_>, datagrams: &[Outgoing<'_>], rows: &mut bool) -> io::Result<usize> {
    match datagrams {
        [] => Ok(0),
        [(data, address)] => send_one(fd, data, *address).map(|_| 1),
        _ => {
            let datagrams = &datagrams[..datagrams.len().min(MOST_DATAGRAMS)];
            let sent = send_several(fd, datagrams, *rows);
            match sent {
                Err(error)
                    if *rows
                        && row_length(datagrams) > 1
                        && error.raw_os_error().is_some_and(|code| NO_ROWS.contains(&code)) =>
                {
                    *rows = false;
                    send_several(fd, datagrams, false)
                }
                sent => sent,
            }
        }
    }
}

fn unsupported() -> io::Error {
    io::Error::from_raw_os_error(libc::EAFNOSUPPORT)
}

const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

fn send_one(fd: BorrowedFd<'_>, data: &[u8], address: Option<&Address>) -> io::Result<usize> {
    let Some(address) = address else {
        // SAFETY: the kernel reads the data's own bytes; without an address there is nothing else.
        return retry(|| unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), FLAGS) });
    };
    let (storage, length) = write_address(address).ok_or_else(unsupported)?;
    // SAFETY: the kernel reads the data's own bytes and `length` bytes of the address, which has as many.
    retry(|| unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            FLAGS,
            ptr::from_ref(&storage).cast(),
            length,
        )
    })
}

/// How many datagrams from the first on make a row: of its size and to its address, but for the last, which may be
/// shorter. At least 1.
fn row_length(datagrams: &[Outgoing<'_>]) -> usize {
    let Some(((first, address), rest)) = datagrams.split_first() else {
        return 0;
    };
    let size = first.len();
    if size == 0 {
        return 1;
    }
    let most = (MOST_ROW_BYTES / size).clamp(1, MOST_IN_ROW);
    let mut length = 1;
    for (data, to) in rest.iter().take(most - 1) {
        if data.is_empty() || data.len() > size || to != address {
            break;
        }
        length += 1;
        if data.len() < size {
            break;
        }
    }
    length
}

/// One control message that says how long the datagrams of a row are.
fn row_control(header: &mut libc::msghdr, control: &mut Control, size: usize) {
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_SIZE;
    // SAFETY: the control memory is aligned for a header and large enough for one and a number.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as libc::c_uint) as usize;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), size as u16);
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as libc::c_uint) as usize;
    }
}

fn send_several(fd: BorrowedFd<'_>, datagrams: &[Outgoing<'_>], rows: bool) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MOST_DATAGRAMS];
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; MOST_DATAGRAMS];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; MOST_DATAGRAMS];
    let mut parts = [IoSlice::new(&[]); MOST_DATAGRAMS];
    for (part, (data, _)) in parts.iter_mut().zip(datagrams) {
        *part = IoSlice::new(data);
    }
    // How many datagrams each header stands for.
    let mut lengths = [0_usize; MOST_DATAGRAMS];
    let mut count = 0;
    let mut next = 0;
    let places = headers
        .iter_mut()
        .zip(names.iter_mut())
        .zip(controls.iter_mut())
        .zip(lengths.iter_mut());
    for (((header, name), control), length) in places {
        let Some((data, address)) = datagrams.get(next) else {
            break;
        };
        // SAFETY: a header consists of numbers and of pointers that may be null: zeroes are valid.
        let header = unsafe {
            header.as_mut_ptr().write_bytes(0, 1);
            header.assume_init_mut()
        };
        if let Some(address) = address {
            let Some((storage, size)) = write_address(address) else {
                break;
            };
            header.msg_hdr.msg_name = ptr::from_mut(name.write(storage)).cast();
            header.msg_hdr.msg_namelen = size;
        }
        *length = if rows { row_length(&datagrams[next..]) } else { 1 };
        header.msg_hdr.msg_iov = parts[next..].as_mut_ptr().cast();
        header.msg_hdr.msg_iovlen = *length;
        if *length > 1 {
            row_control(&mut header.msg_hdr, control.write(Control::EMPTY), data.len());
        }
        next += *length;
        count += 1;
    }
    if count == 0 {
        return Err(unsupported());
    }
    // SAFETY: the first `count` headers are valid, and what they point to lives until the end of this function; an
    // `IoSlice` is an iovec, and the kernel only reads the data.
    let sent = retry(|| unsafe {
        libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr().cast(), count, FLAGS) as isize
    })?;
    Ok(lengths.iter().take(sent).sum())
}
