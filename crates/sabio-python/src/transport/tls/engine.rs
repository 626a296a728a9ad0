//! The engine of a TLS connection: everything about TLS but the transport. Bytes from the peer go in, bytes for the peer
//! come out, and no socket is known here.
//!
//! Every engine is made of the `ssl.SSLObject` that the user's context gives, so whatever the context is set to (client
//! certificates, ALPN, callbacks, sessions) holds, and the handshake is always that object's: the checks of names and
//! certificates, the callbacks and the exceptions are those of `ssl`. Which engine serves a connection is decided when it
//! is made, or by the environment variable `SABIO_TLS_ENGINE`.
//!
//! Called by the transport beside it, on the loop's thread. Callbacks of the context (SNI, key log) run inside of any of
//! these functions and may do anything, so the caller holds no borrow of its own state meanwhile.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::direct::Direct;
use super::portable::Portable;
use crate::ffi::{Library, Obj, Room, Visit};

/// The environment variable that forces an engine.
const FORCED: &str = "SABIO_TLS_ENGINE";

/// An engine keeps the memory of the most that it was ever fed at once, in bytes: two records.
const FED_AT_ONCE: usize = 32 * 1024;

/// What `SABIO_TLS_ENGINE` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Forced {
    No,
    Portable,
    Libssl,
}

impl Forced {
    fn by_environment() -> PyResult<Forced> {
        match std::env::var_os(FORCED) {
            None => Ok(Forced::No),
            Some(name) if name == "portable" => Ok(Forced::Portable),
            Some(name) if name == "libssl" => Ok(Forced::Libssl),
            Some(name) => Err(PyValueError::new_err(format!(
                "{FORCED} must be 'portable' or 'libssl', not '{}'",
                name.display()
            ))),
        }
    }
}

/// How far the handshake or the shutdown has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// It is finished.
    Done,
    /// It needs more from the peer.
    Blocked,
}

/// What came of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// So many bytes, not 0.
    Data(usize),
    /// It needs more from the peer.
    Blocked,
    /// The peer has said that it sends no more (`close_notify`).
    CloseNotify,
}

/// Why [`Engine::decrypt`] stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Everything is decrypted: more is needed from the peer.
    Blocked,
    /// There is no more room; there may be more data.
    Full,
    /// The peer has said that it sends no more.
    CloseNotify,
    /// What the peer has sent is wrong.
    Failed(PyErr),
}

/// What came of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Write {
    /// So many bytes were taken, not 0.
    Wrote(usize),
    /// It needs something from the peer first.
    Blocked,
}

/// Bytes for the peer, as the engine has them.
pub(crate) enum Outgoing<'a, 'py> {
    /// An object of the interpreter's, which can be queued without a copy.
    Bytes(&'a Bound<'py, PyBytes>),
    /// Memory of the engine's.
    Memory(&'a [u8]),
}

impl Outgoing<'_, '_> {
    /// The bytes, at least one.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Outgoing::Bytes(bytes) => bytes.as_bytes(),
            Outgoing::Memory(memory) => memory,
        }
    }
}

/// One side of a TLS connection.
pub(crate) enum Engine {
    /// See [`Direct`].
    Direct(Direct),
    /// See [`Portable`].
    Portable(Portable),
}

impl Engine {
    /// The engine for a new connection. `server_hostname` is what the peer's certificate must be valid for, on the
    /// client's side.
    ///
    /// # Errors
    /// Those of the context's `wrap_bio()`; ValueError or RuntimeError for a `SABIO_TLS_ENGINE` that names no engine
    /// that there is.
    pub(crate) fn new(
        py: Python<'_>,
        sslcontext: &Bound<'_, PyAny>,
        server_side: bool,
        server_hostname: Option<&Obj>,
    ) -> PyResult<Engine> {
        let forced = Forced::by_environment()?;
        let portable = Portable::new(py, sslcontext, server_side, server_hostname)?;
        if forced == Forced::Portable {
            return Ok(Engine::Portable(portable));
        }
        match Direct::new(py, portable.ssl_object()) {
            Ok(direct) => Ok(Engine::Direct(direct)),
            Err(_) if forced == Forced::No => Ok(Engine::Portable(portable)),
            Err(reason) => Err(PyRuntimeError::new_err(format!(
                "{FORCED} asks for an engine that is not available: 'libssl': {reason}"
            ))),
        }
    }

    /// Takes bytes that the peer has sent.
    ///
    /// # Errors
    /// MemoryError.
    pub(crate) fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        match self {
            Engine::Direct(engine) => engine.feed(data),
            Engine::Portable(engine) => engine.feed(py, data),
        }
    }

    /// How many bytes of the peer's were fed that the engine has not looked at yet.
    pub(crate) fn incoming_size(&self, py: Python<'_>) -> PyResult<usize> {
        match self {
            Engine::Direct(engine) => Ok(engine.incoming_size()),
            Engine::Portable(engine) => engine.incoming_size(py),
        }
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// Those of `SSLObject.do_handshake()`, `ssl.SSLCertVerificationError` among them. There may be an alert for the peer
    /// in what is outgoing then.
    pub(crate) fn handshake(&self, py: Python<'_>) -> PyResult<Progress> {
        match self {
            Engine::Direct(engine) => engine.handshake(py),
            Engine::Portable(engine) => engine.handshake(py),
        }
    }

    /// Decrypts what was fed, at most one record (16 KiB) a call. `into` is not empty.
    ///
    /// # Errors
    /// `ssl.SSLError` as `SSLObject.read()` raises it.
    pub(crate) fn read(&self, py: Python<'_>, into: &mut Room<'_>) -> PyResult<Read> {
        match self {
            Engine::Direct(engine) => engine.read(py, into),
            Engine::Portable(engine) => engine.read(py, into),
        }
    }

    /// Takes bytes that the peer has sent, all of them, and decrypts as much as there is room for: how many bytes there
    /// are in `into` now, and why there are no more. Data that came before an error is given with it.
    pub(crate) fn decrypt(&self, py: Python<'_>, wire: &[u8], mut into: Room<'_>) -> (usize, Stop) {
        let mut filled = 0;
        if wire.is_empty() {
            let stop = self.read_all(py, &mut into, &mut filled);
            return (filled, stop);
        }
        if let Engine::Direct(engine) = self {
            let received = engine.receive(wire, || self.read_all(py, &mut into, &mut filled));
            return (filled, received.unwrap_or_else(Stop::Failed));
        }
        let mut stop = Stop::Blocked;
        for piece in wire.chunks(FED_AT_ONCE) {
            if let Err(error) = self.feed(py, piece) {
                return (filled, Stop::Failed(error));
            }
            if matches!(stop, Stop::Blocked) {
                stop = self.read_all(py, &mut into, &mut filled);
            }
        }
        (filled, stop)
    }

    /// Reads until there is nothing to read or no room.
    fn read_all(&self, py: Python<'_>, into: &mut Room<'_>, filled: &mut usize) -> Stop {
        loop {
            if *filled == into.len() {
                return Stop::Full;
            }
            match self.read(py, &mut into.after(*filled)) {
                Ok(Read::Data(count)) => {
                    *filled += count;
                    // A record was read whole, and another has not begun: no need to be told so.
                    if *filled < into.len() && matches!(self.incoming_size(py), Ok(0)) {
                        return Stop::Blocked;
                    }
                }
                Ok(Read::Blocked) => return Stop::Blocked,
                Ok(Read::CloseNotify) => return Stop::CloseNotify,
                Err(error) => return Stop::Failed(error),
            }
        }
    }

    /// Encrypts data, which is not empty, for the peer.
    ///
    /// # Errors
    /// `ssl.SSLError` as `SSLObject.write()` raises it.
    pub(crate) fn write(&self, py: Python<'_>, data: &[u8]) -> PyResult<Write> {
        match self {
            Engine::Direct(engine) => engine.write(py, data),
            Engine::Portable(engine) => engine.write(py, data),
        }
    }

    /// Tells the peer that nothing more comes (`close_notify`), and waits until the peer says the same.
    ///
    /// # Errors
    /// `ssl.SSLError` as `SSLObject.unwrap()` raises it.
    pub(crate) fn shutdown(&self, py: Python<'_>) -> PyResult<Progress> {
        match self {
            Engine::Direct(engine) => engine.shutdown(py),
            Engine::Portable(engine) => engine.shutdown(py),
        }
    }

    /// How many bytes there are for the peer.
    pub(crate) fn outgoing_size(&self, py: Python<'_>) -> PyResult<usize> {
        match self {
            Engine::Direct(engine) => Ok(engine.outgoing_size()),
            Engine::Portable(engine) => engine.outgoing_size(py),
        }
    }

    /// Gives everything there is for the peer to `take`, in one piece, and forgets it; `take` is not called when there is
    /// nothing. `take` sends or keeps the bytes, all of them, and runs no Python code.
    ///
    /// # Errors
    /// MemoryError, before `take` is called.
    pub(crate) fn take_outgoing(&self, py: Python<'_>, take: impl FnOnce(Outgoing<'_, '_>)) -> PyResult<()> {
        match self {
            Engine::Direct(engine) => {
                engine.take_outgoing(take);
                Ok(())
            }
            Engine::Portable(engine) => engine.take_outgoing(py, take),
        }
    }

    /// The `ssl.SSLObject`.
    pub(crate) fn ssl_object(&self) -> &Obj {
        match self {
            Engine::Direct(engine) => engine.ssl_object(),
            Engine::Portable(engine) => engine.ssl_object(),
        }
    }

    /// Shows what it owns to the garbage collector.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        match self {
            Engine::Direct(engine) => engine.visit(visit),
            Engine::Portable(engine) => engine.visit(visit),
        }
    }
}

/// The name of the TLS engine that new connections get, and why.
///
/// # Errors
/// ValueError for a `SABIO_TLS_ENGINE` that names no engine.
#[pyfunction]
fn _tls_engine(py: Python<'_>) -> PyResult<(&'static str, String)> {
    Ok(match (Forced::by_environment()?, Library::get(py)) {
        (Forced::Portable, _) => ("portable", format!("{FORCED} asks for it")),
        (_, Ok(library)) => ("libssl", library.describe()),
        (_, Err(reason)) => ("portable", reason.to_owned()),
    })
}

/// Adds `_tls_engine()`.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Not for users: it is no part of the module's `__all__`.
    module.setattr("_tls_engine", wrap_pyfunction!(_tls_engine, module)?)
}
