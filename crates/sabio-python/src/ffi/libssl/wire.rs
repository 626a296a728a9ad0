//! The BIO of a session: libssl reads what was received and writes what is to be sent, in memory of ours.
//!
//! What is received is *lent* for the length of a call and decrypted from where it lies; only what libssl leaves of it is
//! kept. What libssl writes is kept until it is taken away as a whole. Either memory is given back as soon as it is empty,
//! so that an idle connection holds none.
//!
//! A [`Wire`] belongs to its BIO, which the `SSL` and the [`Session`](super::Session) own together, and is freed with it.
//! It is touched by the callbacks below, which libssl calls on the thread that called it, and by the session between
//! such calls; nobody holds a reference into it for longer than one of these steps.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr::NonNull;

use super::functions::{self, Bio, BioMethod, Functions};

const BIO_TYPE_SOURCE_SINK: c_int = 0x400;
const BIO_FLAGS_READ: c_int = 1;
const BIO_FLAGS_SHOULD_RETRY: c_int = 8;
const BIO_RETRY_MASK: c_int = 0xf;
const BIO_CTRL_PENDING: c_int = 10;
const BIO_CTRL_FLUSH: c_int = 11;
const BIO_CTRL_WPENDING: c_int = 13;

/// What libssl reads and writes.
pub(super) struct Wire {
    /// Received and not read yet: first what is kept, from `start` on, then what is lent.
    kept: Vec<u8>,
    start: usize,
    lent: *const u8,
    lent_size: usize,
    /// Written and not taken yet.
    written: Vec<u8>,
}

impl Wire {
    fn new() -> Wire {
        Wire {
            kept: Vec::new(),
            start: 0,
            lent: std::ptr::null(),
            lent_size: 0,
            written: Vec::new(),
        }
    }

    /// Copies what was received.
    pub(super) fn keep(&mut self, data: &[u8]) {
        self.kept.drain(..self.start);
        self.start = 0;
        self.kept.extend_from_slice(data);
    }

    /// Lends what was received to libssl. Nothing else is lent.
    ///
    /// # Safety
    /// The memory stays as it is until `settle` is called.
    pub(super) unsafe fn lend(&mut self, data: &[u8]) {
        self.lent = data.as_ptr();
        self.lent_size = data.len();
    }

    /// Ends the loan: what libssl has not read is kept.
    #[inline]
    pub(super) fn settle(&mut self) {
        let size = std::mem::take(&mut self.lent_size);
        if size > 0 {
            // SAFETY: `lend` was called with so many bytes from here on, which stay until now.
            let rest = unsafe { std::slice::from_raw_parts(self.lent, size) };
            self.keep(rest);
        }
        self.lent = std::ptr::null();
    }

    /// How many bytes were received and not read yet.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.kept.len() - self.start + self.lent_size
    }

    pub(super) fn written(&mut self) -> &mut Vec<u8> {
        &mut self.written
    }

    /// Copies what comes next to `target`; 0 if nothing is waiting.
    ///
    /// # Safety
    /// `size` bytes can be written at `target`.
    #[inline]
    unsafe fn read(&mut self, target: *mut u8, size: usize) -> usize {
        let kept = self.kept.len() - self.start;
        if kept == 0 {
            let count = size.min(self.lent_size);
            // SAFETY: so many bytes are lent, and there is room for so many.
            unsafe {
                std::ptr::copy_nonoverlapping(self.lent, target, count);
                self.lent = self.lent.add(count);
            }
            self.lent_size -= count;
            return count;
        }
        let count = size.min(kept);
        // SAFETY: so many bytes are in the vector from `start` on, and there is room for so many.
        unsafe { std::ptr::copy_nonoverlapping(self.kept.as_ptr().add(self.start), target, count) };
        self.start += count;
        if count == kept {
            self.kept = Vec::new();
            self.start = 0;
        }
        count
    }
}

/// The kind of BIO, which lives as long as the process.
pub(super) struct WireMethod(NonNull<BioMethod>);

/// Tells OpenSSL of the kind.
pub(super) fn method(functions: &Functions) -> Result<WireMethod, String> {
    // SAFETY: functions of OpenSSL with arguments as documented; the callbacks below keep to their contracts.
    unsafe {
        let kind = (functions.BIO_get_new_index)();
        if kind == -1 {
            return Err("OpenSSL has no number left for a kind of BIO".to_owned());
        }
        let method = (functions.BIO_meth_new)(kind | BIO_TYPE_SOURCE_SINK, c"sabio".as_ptr());
        let method = NonNull::new(method).ok_or("OpenSSL has no memory for a kind of BIO")?;
        let pointer = method.as_ptr();
        let set = [
            (functions.BIO_meth_set_read_ex)(pointer, read),
            (functions.BIO_meth_set_write_ex)(pointer, write),
            (functions.BIO_meth_set_ctrl)(pointer, control),
            (functions.BIO_meth_set_destroy)(pointer, destroy),
        ];
        if set.contains(&0) {
            return Err("OpenSSL does not take the callbacks of a BIO".to_owned());
        }
        Ok(WireMethod(method))
    }
}

/// A new BIO with its own wire; the caller owns the only reference. None if there is no memory.
pub(super) fn open(functions: &Functions, method: &WireMethod) -> Option<NonNull<Bio>> {
    // SAFETY: the method is complete; the wire's memory is given to the BIO, whose `destroy` gives it back.
    unsafe {
        let bio = NonNull::new((functions.BIO_new)(method.0.as_ptr()))?;
        let wire = Box::into_raw(Box::new(Wire::new()));
        (functions.BIO_set_data)(bio.as_ptr(), wire.cast());
        (functions.BIO_set_init)(bio.as_ptr(), 1);
        Some(bio)
    }
}

/// The wire of a BIO.
///
/// # Safety
/// The BIO was made by [`open`] and is alive. No other reference to its wire is in use.
#[inline]
pub(super) unsafe fn wire<'a>(functions: &Functions, bio: *mut Bio) -> &'a mut Wire {
    // SAFETY: `open` has put a wire there, which stays until `destroy`.
    unsafe { &mut *(functions.BIO_get_data)(bio).cast::<Wire>() }
}

/// libssl wants to read. Nothing waiting means "try again": the end of the connection is the transport's business.
unsafe extern "C" fn read(bio: *mut Bio, target: *mut c_char, size: usize, count: *mut usize) -> c_int {
    let Some(functions) = functions::found() else {
        return -1;
    };
    // SAFETY: called by OpenSSL with a BIO of ours, `size` bytes of room and a place for the count; see the module's text.
    unsafe {
        let wire = wire(functions, bio);
        let got = wire.read(target.cast(), size);
        count.write(got);
        (functions.BIO_clear_flags)(bio, BIO_RETRY_MASK);
        if got > 0 {
            return 1;
        }
        (functions.BIO_set_flags)(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
        -1
    }
}

/// libssl has written.
unsafe extern "C" fn write(bio: *mut Bio, data: *const c_char, size: usize, count: *mut usize) -> c_int {
    let Some(functions) = functions::found() else {
        return -1;
    };
    // SAFETY: called by OpenSSL with a BIO of ours, `size` readable bytes and a place for the count.
    unsafe {
        (functions.BIO_clear_flags)(bio, BIO_RETRY_MASK);
        count.write(size);
        if size > 0 {
            let data = std::slice::from_raw_parts(data.cast::<u8>(), size);
            wire(functions, bio).written.extend_from_slice(data);
        }
        1
    }
}

unsafe extern "C" fn control(
    bio: *mut Bio,
    request: c_int,
    _number: c_long,
    _pointer: *mut c_void,
) -> c_long {
    let Some(functions) = functions::found() else {
        return 0;
    };
    // SAFETY: called by OpenSSL with a BIO of ours.
    let wire = unsafe { wire(functions, bio) };
    match request {
        BIO_CTRL_FLUSH => 1,
        BIO_CTRL_PENDING => wire.waiting() as c_long,
        BIO_CTRL_WPENDING => wire.written.len() as c_long,
        _ => 0,
    }
}

/// Nobody has the BIO any more.
unsafe extern "C" fn destroy(bio: *mut Bio) -> c_int {
    let Some(functions) = functions::found() else {
        return 0;
    };
    // SAFETY: called once by OpenSSL, with a BIO of ours whose wire nobody uses then.
    unsafe {
        let wire = (functions.BIO_get_data)(bio).cast::<Wire>();
        if !wire.is_null() {
            (functions.BIO_set_data)(bio, std::ptr::null_mut());
            drop(Box::from_raw(wire));
        }
    }
    1
}
