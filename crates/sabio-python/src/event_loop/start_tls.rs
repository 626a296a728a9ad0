//! `start_tls` (asyncio: TLS Upgrade): TLS on top of a connection that is in use.
//!
//! Nothing is lost on the way: what the transport still has to send leaves before the handshake, and what its stream
//! reader has got already belongs to the handshake of a server.

use std::cell::Cell;
use std::rc::Rc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::establish::until_secure;
use super::stream_arguments::given;
use super::{Loop, Ready, errors};
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, call_method, context_copy, context_copy_current};
use crate::names::names;
use crate::stream::StreamReaderProtocol;
use crate::transport::Stream;
use crate::transport::tls::{Options, Origin, Tls, ssl_module};

/// The arguments of `start_tls`.
struct Request {
    transport: Obj,
    protocol: Obj,
    options: Options,
}

impl Request {
    fn parse(args: Args<'_, '_>) -> PyResult<Request> {
        let py = args.py();
        let signature = Signature {
            function: "start_tls",
            parameters: [
                "transport",
                "protocol",
                "sslcontext",
                "server_side",
                "server_hostname",
                "ssl_handshake_timeout",
                "ssl_shutdown_timeout",
            ],
            required: 3,
            positional: 3,
        };
        let [transport, protocol, context, side, hostname, handshake, shutdown] = args.parse(&signature)?;
        let or_none = |value: Option<&Bound<'_, PyAny>>| value.map_or_else(|| Obj::none(py), Obj::from);
        Ok(Request {
            transport: or_none(transport),
            protocol: or_none(protocol),
            options: Options {
                context: Some(or_none(context)),
                server_side: side.map_or(Ok(false), |side| side.is_truthy())?,
                server_hostname: given(hostname),
                handshake_timeout: given(handshake),
                shutdown_timeout: given(shutdown),
            },
        })
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let context = self.options.context.as_ref().map(|context| context.bind(py));
        if let Some(context) = context
            && !context.is_instance(ssl_module(py)?.ssl_context.bind(py))?
        {
            return Err(PyTypeError::new_err(format!(
                "sslcontext is expected to be an instance of ssl.SSLContext, got {}",
                context.repr()?
            )));
        }
        let transport = self.transport.bind(py);
        let compatible = transport.getattr_opt("_start_tls_compatible")?;
        if !compatible.map_or(Ok(false), |compatible| compatible.is_truthy())? {
            return Err(PyTypeError::new_err(format!(
                "transport {} is not supported by start_tls()",
                transport.repr()?
            )));
        }
        Ok(())
    }

    /// The context of the protocol's callbacks: what it was until now, where that is known.
    fn context(&self, py: Python<'_>) -> PyResult<Obj> {
        Ok(match Ref::<Stream>::downcast(self.transport.bind(py)) {
            Some(stream) => context_copy(py, stream.context())?,
            None => context_copy_current(py)?,
        })
    }
}

/// Puts TLS between the transport and its protocol: the new transport, the future of the handshake, and a flag that
/// takes back what is still to come.
fn begin(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    request: Request,
) -> PyResult<(Ref<Tls>, Obj, Rc<Cell<bool>>)> {
    let context = request.context(py)?;
    let names = names(py)?;
    let waiter = call_method(py, event_loop.as_obj(), &names.create_future, &[])?;
    let Request {
        transport,
        protocol,
        options,
    } = request;
    let server_side = options.server_side;
    let origin = Origin::Upgraded(waiter.clone());
    let tls = Tls::create(py, event_loop, &protocol, options, context, origin)?;
    // Nothing must come for it before it knows of the connection.
    call_method(py, &transport, &names.pause_reading, &[])?;
    if server_side {
        feed_what_was_read(py, &tls, protocol.bind(py))?;
    }
    let below = tls.lower_protocol(py);
    transport
        .bind(py)
        .call_method1("set_protocol", (below.bind(py),))?;
    tls.set_lower(transport.bind(py));
    let given_up = Rc::new(Cell::new(false));
    soon(event_loop, &tls, &given_up, {
        let transport = transport.clone();
        move |py| {
            below
                .bind(py)
                .call_method1("connection_made", (transport.bind(py),))
                .map(drop)
        }
    });
    soon(event_loop, &tls, &given_up, move |py| {
        call_method(py, &transport, &names.resume_reading, &[])?;
        Ok(())
    });
    Ok((tls, waiter, given_up))
}

/// Runs `step` in the loop's next turn, unless it is given up before.
fn soon(
    event_loop: &Ref<Loop>,
    tls: &Ref<Tls>,
    given_up: &Rc<Cell<bool>>,
    step: impl FnOnce(Python<'_>) -> PyResult<()> + 'static,
) {
    let given_up = Rc::clone(given_up);
    event_loop.push(Ready::job(tls.as_obj().clone(), move |py, event_loop| {
        if given_up.get() {
            return Ok(());
        }
        step(py)
            .or_else(|error| errors::exit_or_report(py, event_loop, error, "Exception in start_tls()", &[]))
    }));
}

/// What the stream reader of a server has got is the beginning of the client's handshake.
fn feed_what_was_read(py: Python<'_>, tls: &Ref<Tls>, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(reader) = StreamReaderProtocol::exact(protocol).and_then(|exact| exact.receiver()) {
        let data = reader.take_all(py)?;
        return tls.feed(py, data.bind(py).cast::<PyBytes>()?.as_bytes());
    }
    let class = py.import("asyncio")?.getattr("StreamReaderProtocol")?;
    if !protocol.is_instance(&class)? {
        return Ok(());
    }
    let Some(reader) = protocol
        .getattr_opt("_stream_reader")?
        .filter(|reader| !reader.is_none())
    else {
        return Ok(());
    };
    let buffer = reader.getattr("_buffer")?;
    let data = py.get_type::<PyBytes>().call1((&buffer,))?;
    tls.feed(py, data.cast::<PyBytes>()?.as_bytes())?;
    buffer.call_method0("clear")?;
    Ok(())
}

fn start_tls(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Request::parse(args)?;
    create_with_held(
        args.py(),
        "Loop.start_tls",
        slf,
        |event_loop, awaiter| async move {
            let (tls, waiter, given_up) = Python::attach(|py| {
                request.check(py)?;
                begin(py, &event_loop, request)
            })?;
            let _given_up = GiveUp(given_up);
            let tls = until_secure(&awaiter, tls, waiter).await?;
            Ok(if tls.is_over() {
                // It was closed in the middle of the handshake, by whoever has the transport below.
                Python::attach(Obj::none)
            } else {
                tls.into_obj()
            })
        },
    )
}

/// Takes back what is still to come when the caller does not wait for it any more.
struct GiveUp(Rc<Cell<bool>>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table.method(
        c"start_tls",
        c"start_tls($self, transport, protocol, sslcontext, *, server_side=False, server_hostname=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None)\n--\n\nUpgrade a connection to TLS: the new transport, or None if the connection was closed meanwhile. A coroutine.",
        start_tls,
    );
}
