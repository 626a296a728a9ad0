//! One TLS connection, as libssl sees it.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::ptr::NonNull;

use pyo3::prelude::*;

use super::functions::{Bio, Functions, Key, Ssl};
use super::library::Library;
use super::wire::{self, Wire};
use crate::ffi::{Obj, Room};

const SSL_ERROR_WANT_READ: c_int = 2;
const SSL_ERROR_WANT_WRITE: c_int = 3;
const SSL_ERROR_ZERO_RETURN: c_int = 6;

const SSL_CTRL_MODE: c_int = 33;
const SSL_MODE_RELEASE_BUFFERS: c_long = 0x10;

const SSL_CTRL_GET_PEER_TMP_KEY: c_int = 109;
const SSL_CTRL_GET_TMP_KEY: c_int = 133;
const TLS1_3_VERSION: c_int = 0x304;

/// A type of key that every OpenSSL knows: `EVP_PKEY_RSA`.
const ANY_KEY_TYPE: c_int = 6;

/// `OPENSSL_VERSION_NUMBER` of the first version that makes the buffer for writing when it writes: 3.2. Older ones make
/// it with the one for reading when a client reads a session ticket, and keep it until the next write.
const BUFFERS_WHEN_NEEDED: c_ulong = 0x3020_0000;

/// How far a call of libssl came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// So many bytes were read or written.
    Done(usize),
    /// Not before more was received.
    NeedsData,
    /// The peer has said that it sends nothing more (`close_notify`).
    Ended,
    /// It failed, and why stands in the thread's error queue: the same call through the `_SSLSocket` raises it.
    Failed,
    /// libssl is in the middle of a call on this session: a callback of Python, or another thread meanwhile, made this one.
    Busy,
}

/// A `_ssl._SSLSocket` together with its `SSL` and the wire that its bytes go through.
pub(crate) struct Session {
    socket: Obj,
    ssl: NonNull<Ssl>,
    bio: NonNull<Bio>,
    functions: &'static Functions,
    /// Whether reading may leave an empty buffer behind.
    leaves_buffers: bool,
    busy: Cell<bool>,
}

impl Session {
    /// Puts a wire in the place of the session's BIOs. `ssl` is that of `socket`, and no byte has passed through it.
    pub(super) fn new(library: &'static Library, socket: Obj, ssl: NonNull<Ssl>) -> Result<Session, String> {
        let functions = library.functions;
        let bio = wire::open(functions, &library.method).ok_or("OpenSSL has no memory for a BIO")?;
        // SAFETY: the SSL lives as long as the object that we own. It takes over one reference to the BIO, which serves
        // both directions, and lets go of the BIOs that it had; ours is the second reference.
        unsafe {
            (functions.BIO_up_ref)(bio.as_ptr());
            (functions.SSL_set_bio)(ssl.as_ptr(), bio.as_ptr(), bio.as_ptr());
            (functions.SSL_ctrl)(
                ssl.as_ptr(),
                SSL_CTRL_MODE,
                SSL_MODE_RELEASE_BUFFERS,
                std::ptr::null_mut(),
            );
        }
        Ok(Session {
            socket,
            ssl,
            bio,
            functions,
            // SAFETY: takes nothing and reads a constant.
            leaves_buffers: unsafe { (functions.OpenSSL_version_num)() } < BUFFERS_WHEN_NEEDED,
            busy: Cell::new(false),
        })
    }

    /// The `_ssl._SSLSocket`.
    pub(crate) fn socket(&self) -> &Obj {
        &self.socket
    }

    /// Runs `body` with the wire, unless libssl is at work.
    #[inline]
    fn with_wire<R>(&self, body: impl FnOnce(&mut Wire) -> R) -> Option<R> {
        if self.busy.get() {
            return None;
        }
        // SAFETY: our reference keeps the BIO alive; libssl is not in a call that could touch the wire, `body` makes none.
        Some(body(unsafe { wire::wire(self.functions, self.bio.as_ptr()) }))
    }

    /// Marks the session as being in libssl's hands while `body` runs, which may call into Python. None if it is already.
    pub(crate) fn enter<R>(&self, body: impl FnOnce() -> R) -> Option<R> {
        struct Leave<'a>(&'a Cell<bool>);

        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        if self.busy.replace(true) {
            return None;
        }
        let _leave = Leave(&self.busy);
        Some(body())
    }

    /// Gives what was received: copied, to be read whenever it is wanted. False if libssl is at work.
    pub(crate) fn feed(&self, data: &[u8]) -> bool {
        self.with_wire(|wire| wire.keep(data)).is_some()
    }

    /// Gives what was received for the length of `body`, without a copy; what is not read meanwhile is copied at the end.
    /// None if libssl is at work.
    #[inline]
    pub(crate) fn feed_for<R>(&self, data: &[u8], body: impl FnOnce() -> R) -> Option<R> {
        struct Settle<'a>(&'a Session);

        impl Drop for Settle<'_> {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: as in `with_wire`: whatever call libssl was in has returned or has unwound.
                unsafe { wire::wire(self.0.functions, self.0.bio.as_ptr()) }.settle();
            }
        }

        // SAFETY: `data` is borrowed until the guard has settled.
        self.with_wire(|wire| unsafe { wire.lend(data) })?;
        let settle = Settle(self);
        let result = body();
        drop(settle);
        if self.leaves_buffers {
            self.free_buffers();
        }
        Some(result)
    }

    /// Gives back libssl's buffers, unless there is something in them.
    fn free_buffers(&self) {
        // SAFETY: the SSL is alive, and libssl is in no call with it.
        unsafe { (self.functions.SSL_free_buffers)(self.ssl.as_ptr()) };
    }

    /// The handshake is finished: gives back the memory that only it needed, and that libssl would keep as long as the
    /// connection lives. In TLS 1.3 that is the keys that the secrets of this connection were agreed on with (OpenSSL 3.5
    /// and newer: ML-KEM, 6 to 8 KB); there is no second handshake that could want them.
    pub(crate) fn forget_handshake(&self) {
        let forgotten = self.enter(|| {
            let (functions, ssl) = (self.functions, self.ssl.as_ptr());
            self.free_buffers();
            // SAFETY: reads a field.
            if unsafe { (functions.SSL_version)(ssl) } == TLS1_3_VERSION {
                self.empty_key(SSL_CTRL_GET_PEER_TMP_KEY);
                self.empty_key(SSL_CTRL_GET_TMP_KEY);
            }
            // What could not be done leaves its reason there.
            self.clear_errors();
        });
        debug_assert!(forgotten.is_some(), "between two calls of libssl");
    }

    /// Frees what is in one of the keys of the handshake. The empty key stays in the `SSL`, which frees it at its end.
    fn empty_key(&self, which: c_int) {
        let functions = self.functions;
        let mut key: *mut Key = std::ptr::null_mut();
        // SAFETY: these requests write a reference of our own to the key, or answer 0. Setting a type frees what the key
        // held; nobody but this SSL has the key, which was made for this handshake.
        unsafe {
            let found = (functions.SSL_ctrl)(self.ssl.as_ptr(), which, 0, (&raw mut key).cast());
            if found > 0 && !key.is_null() {
                (functions.EVP_PKEY_set_type)(key, ANY_KEY_TYPE);
                (functions.EVP_PKEY_free)(key);
            }
        }
    }

    /// How many bytes were received that libssl has not looked at yet.
    pub(crate) fn waiting(&self) -> usize {
        self.with_wire(|wire| wire.waiting()).unwrap_or(0)
    }

    /// Lends what is to be sent, to be sent and shortened. None if libssl is at work. No call of libssl, and none into
    /// Python, may be made by `body`.
    #[inline]
    pub(crate) fn with_outgoing<R>(&self, body: impl FnOnce(&mut Vec<u8>) -> R) -> Option<R> {
        self.with_wire(|wire| body(wire.written()))
    }

    /// Reads decrypted data: at most what fits, at most one record (16 KiB).
    #[inline]
    pub(crate) fn read(&self, _py: Python<'_>, room: &mut Room<'_>) -> Step {
        let (target, size) = (room.as_mut_ptr(), room.len());
        let mut count = 0;
        self.step(|functions, ssl| {
            // SAFETY: the GIL is held; the SSL is alive, there is room at the target, `count` takes how much was written.
            let result = unsafe { (functions.SSL_read_ex)(ssl, target.cast(), size, &raw mut count) };
            (result, count)
        })
    }

    /// Encrypts data, all of it or nothing: at most 16 KiB make one record. After `NeedsData` the call has to be repeated
    /// with data that begins with the same bytes.
    #[inline]
    pub(crate) fn write(&self, _py: Python<'_>, data: &[u8]) -> Step {
        let mut count = 0;
        self.step(|functions, ssl| {
            // SAFETY: the GIL is held; the SSL is alive and the data readable; `count` takes how much was used.
            let result = unsafe {
                (functions.SSL_write_ex)(ssl, data.as_ptr().cast::<c_void>(), data.len(), &raw mut count)
            };
            (result, count)
        })
    }

    #[inline]
    fn step(&self, call: impl FnOnce(&Functions, *mut Ssl) -> (c_int, usize)) -> Step {
        let outcome = self.enter(|| {
            let functions = self.functions;
            // SAFETY: touch the thread's own queue only. Looking costs a tenth of what clearing does, and what a failure of
            // another library or module has left there is rare.
            unsafe {
                if (functions.ERR_peek_error)() != 0 {
                    (functions.ERR_clear_error)();
                }
            }
            let (result, count) = call(functions, self.ssl.as_ptr());
            if result > 0 {
                return Step::Done(count);
            }
            // SAFETY: on the thread of the failed call, with its result, and nothing of OpenSSL was called since.
            match unsafe { (functions.SSL_get_error)(self.ssl.as_ptr(), result) } {
                SSL_ERROR_WANT_READ | SSL_ERROR_WANT_WRITE => Step::NeedsData,
                SSL_ERROR_ZERO_RETURN => Step::Ended,
                _ => Step::Failed,
            }
        });
        outcome.unwrap_or(Step::Busy)
    }

    /// Empties the thread's error queue, after a failure was raised.
    pub(crate) fn clear_errors(&self) {
        // SAFETY: touches the thread's own queue only.
        unsafe { (self.functions.ERR_clear_error)() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: our own reference to the BIO; the SSL has another, so that the object works as long as it lives.
        unsafe { (self.functions.BIO_free)(self.bio.as_ptr()) };
    }
}
