//! What the transport below takes for its protocol: asyncio's `BufferedProtocol`, which passes everything on to the TLS
//! transport above. A stream transport of ours knows it and hands data over without calling it. Programs get at it by the
//! transport's `_ssl_protocol` and put functions of their own in the place of `connection_lost` and `eof_received`, to learn
//! when a connection is really gone: instances have a dict, and these two are called by their names.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::transport::Tls;
use super::{handshake, read, shutdown, write};
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, Ref, Slot, Visit, public_class};

/// The data of a protocol.
pub(crate) struct TlsProtocol {
    transport: Slot<Ref<Tls>>,
}

static PROTOCOL: ClassCell = ClassCell::new();

impl Class for TlsProtocol {
    const NAME: &'static std::ffi::CStr = c"sabio._TLSProtocolCore";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &PROTOCOL
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.transport);
    }

    fn clear(&self) {
        self.transport.set(None);
    }
}

impl TlsProtocol {
    /// The protocol below `transport`.
    pub(super) fn create(py: Python<'_>, transport: &Ref<Tls>) -> PyResult<Ref<TlsProtocol>> {
        let data = TlsProtocol {
            transport: Slot::new(Some(transport.clone())),
        };
        Ok(Ref::create_public(py, data)?)
    }

    /// The transport above, if `protocol` is one of these.
    #[inline]
    pub(in crate::transport) fn above(protocol: &Bound<'_, PyAny>) -> Option<Ref<Tls>> {
        Ref::<TlsProtocol>::downcast(protocol)?.transport.get()
    }

    /// Whether `protocol` is one of these.
    pub(in crate::transport) fn is(protocol: &Bound<'_, PyAny>) -> bool {
        Ref::<TlsProtocol>::downcast(protocol).is_some()
    }
}

/// Passes a call on to the transport above, while there is one.
fn pass(slf: &Ref<TlsProtocol>, call: impl FnOnce(&Ref<Tls>) -> PyResult<()>) -> PyResult<()> {
    slf.transport.get().map_or(Ok(()), |transport| call(&transport))
}

fn define(table: &mut MethodTable<TlsProtocol>) {
    table
        .fast_onearg(
            c"connection_made",
            c"connection_made($self, transport, /)\n--\n\nThere is a connection: the handshake begins.",
            |slf, transport| pass(slf, |tls| handshake::start(tls, transport)),
        )
        .fast_onearg(
            c"connection_lost",
            c"connection_lost($self, exc, /)\n--\n\nThe connection below is gone.",
            |slf, exception| {
                pass(slf, |tls| {
                    let reason = (!exception.is_none()).then(|| Obj::from(exception));
                    shutdown::lower_lost(tls, exception.py(), reason.as_ref())
                })
            },
        )
        .fast_noargs(
            c"eof_received",
            c"eof_received($self, /)\n--\n\nThe peer has ended its half of the connection below.",
            |slf, py| match slf.transport.get() {
                Some(tls) => shutdown::lower_eof(&tls, py),
                None => Ok(false),
            },
        )
        .fast_onearg(
            c"get_buffer",
            c"get_buffer($self, sizehint, /)\n--\n\nMemory for what is received.",
            |slf, hint| match slf.transport.get() {
                Some(tls) => read::get_buffer(&tls, hint.py()),
                None => Ok(Obj::none(hint.py())),
            },
        )
        .fast_onearg(
            c"buffer_updated",
            c"buffer_updated($self, nbytes, /)\n--\n\nSo many bytes were received into that memory.",
            |slf, count| pass(slf, |tls| read::buffer_updated(tls, count)),
        )
        .noargs(
            c"pause_writing",
            c"pause_writing($self, /)\n--\n\nThe transport below holds too much.",
            |slf, _py| {
                pass(slf, |tls| {
                    tls.lower_blocked.set(true);
                    Ok(())
                })
            },
        )
        .fast_noargs(
            c"resume_writing",
            c"resume_writing($self, /)\n--\n\nThe transport below takes data again.",
            |slf, py| pass(slf, |tls| write::lower_resumed(tls, py)),
        )
        .getter(c"_app_transport", c"The TLS transport.", |slf, _py| {
            Ok(slf.transport.get())
        })
        .getter(c"_transport", c"The transport below, or None.", |slf, _py| {
            Ok(slf.transport.get().and_then(|tls| tls.lower.get()))
        })
        .getter(
            c"_app_reading_paused",
            c"Whether the application has paused reading.",
            |slf, _py| Ok(slf.transport.get().is_some_and(|tls| tls.reading_paused.get())),
        )
        .getter(
            c"_app_protocol",
            c"The protocol of the application, or None.",
            |slf, _py| Ok(slf.transport.get().and_then(|tls| tls.protocol.get())),
        )
        .getter(
            c"_sslcontext",
            c"The ssl.SSLContext of the connection, or None.",
            |slf, _py| Ok(slf.transport.get().and_then(|tls| tls.ssl_context.get())),
        );
}

/// Builds the class.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let base = py
        .import("asyncio")?
        .getattr("BufferedProtocol")?
        .cast_into::<PyType>()?;
    let core = ClassBuilder::<TlsProtocol>::new(c"The native part of the protocol below a TLS transport.")
        .members(define)
        .build(py, &Base::Slots(base))?;
    let doc = "The protocol of the transport below a TLS transport.";
    PROTOCOL.set_public(&public_class(py, "_TLSProtocol", &[&core], doc)?)
}
