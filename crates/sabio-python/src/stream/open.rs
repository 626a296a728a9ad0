//! `open_connection`, `start_server` and their counterparts for Unix sockets: pairs of streams over the running loop
//! (asyncio: Streams).
//!
//! Any loop will do: the pairs are made of protocols that its `create_connection()` and `create_server()` take.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::parameters;
use super::protocol::StreamReaderProtocol;
use super::stream_reader::StreamReader;
use super::writer::StreamWriter;
use crate::coroutine::create_with;
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Obj, ObjCell, Ref, Visit};
use crate::running_loop::running_loop;

/// What makes the protocols of a server, or gives the one of a client.
enum Factory {
    Client(Ref<StreamReaderProtocol>),
    Server {
        client_connected_cb: ObjCell,
        limit: usize,
        event_loop: Obj,
    },
}

impl Factory {
    /// The factory as loops take it: a callable without arguments.
    fn callable(self, py: Python<'_>) -> PyResult<Obj> {
        let factory = Ref::create(py, self)?;
        Ok(factory.bind(py).getattr("protocol")?.into())
    }

    fn protocol(&self, py: Python<'_>) -> PyResult<Ref<StreamReaderProtocol>> {
        match self {
            Factory::Client(protocol) => Ok(protocol.clone()),
            Factory::Server {
                client_connected_cb,
                limit,
                event_loop,
            } => {
                let reader = StreamReader::create(py, *limit, event_loop)?;
                StreamReaderProtocol::create(py, &reader, client_connected_cb.get(), event_loop)
            }
        }
    }
}

static FACTORY: ClassCell = ClassCell::new();

impl Class for Factory {
    const NAME: &'static std::ffi::CStr = c"sabio._StreamFactory";

    fn cell() -> &'static ClassCell {
        &FACTORY
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        match self {
            Factory::Client(protocol) => visit.obj(protocol.as_obj()),
            Factory::Server {
                client_connected_cb,
                event_loop,
                ..
            } => {
                visit.slot(client_connected_cb);
                visit.obj(event_loop);
            }
        }
    }

    fn clear(&self) {
        if let Factory::Server {
            client_connected_cb, ..
        } = self
        {
            client_connected_cb.set(None);
        }
    }
}

/// Where to connect or to listen: the loop's method, its arguments after the factory, and its keywords.
struct Place {
    method: &'static str,
    address: Vec<Obj>,
    keywords: Option<Obj>,
}

impl Place {
    fn new<const N: usize>(
        method: &'static str,
        address: [&Bound<'_, PyAny>; N],
        keywords: Option<&Bound<'_, PyDict>>,
    ) -> Place {
        Place {
            method,
            address: address.into_iter().map(Obj::from).collect(),
            keywords: keywords.map(Obj::from),
        }
    }

    /// `loop.method(factory, *address, **keywords)`: a coroutine.
    fn call(&self, py: Python<'_>, event_loop: &Obj, factory: Factory) -> PyResult<Obj> {
        let factory = factory.callable(py)?;
        let mut args = vec![factory.bind(py)];
        args.extend(self.address.iter().map(|arg| arg.bind(py)));
        let args = PyTuple::new(py, args)?;
        let keywords = match &self.keywords {
            Some(keywords) => Some(keywords.bind(py).cast::<PyDict>()?),
            None => None,
        };
        Ok(event_loop
            .bind(py)
            .call_method(self.method, args, keywords)?
            .into())
    }
}

/// Connects: `(reader, writer)`.
fn open(py: Python<'_>, name: &'static str, limit: Option<Obj>, place: Place) -> PyResult<Obj> {
    create_with(py, name, |awaiter| async move {
        let (event_loop, reader, protocol, connecting) = Python::attach(|py| {
            let event_loop = running_loop(py)?;
            let limit = parameters::limit(limit.as_ref().map(|limit| limit.bind(py)))?;
            let reader = StreamReader::create(py, limit, &event_loop)?;
            let protocol = StreamReaderProtocol::create(py, &reader, None, &event_loop)?;
            let connecting = place.call(py, &event_loop, Factory::Client(protocol.clone()))?;
            PyResult::Ok((event_loop, reader.into_obj(), protocol.into_obj(), connecting))
        })?;
        drop(place);
        let made = awaiter.hold([event_loop, reader, protocol]);
        let pair = awaiter.wait(connecting).await?;
        let [event_loop, reader, protocol] = &*made;
        Python::attach(|py| {
            let (transport, _) = pair.bind(py).extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let writer = StreamWriter::create(py, &transport.into(), protocol, reader, event_loop)?;
            Ok((reader.bind(py), writer.bind(py)).into_pyobject(py)?.into())
        })
    })
}

/// Listens: a server.
fn serve(
    py: Python<'_>,
    name: &'static str,
    client_connected_cb: &Bound<'_, PyAny>,
    limit: Option<Obj>,
    place: Place,
) -> PyResult<Obj> {
    let client_connected_cb = (!client_connected_cb.is_none()).then(|| Obj::from(client_connected_cb));
    create_with(py, name, |awaiter| async move {
        let starting = Python::attach(|py| {
            let event_loop = running_loop(py)?;
            let factory = Factory::Server {
                client_connected_cb: ObjCell::new(client_connected_cb),
                limit: parameters::limit(limit.as_ref().map(|limit| limit.bind(py)))?,
                event_loop: event_loop.clone(),
            };
            place.call(py, &event_loop, factory)
        })?;
        drop(place);
        awaiter.wait(starting).await
    })
}

fn or_none<'py>(py: Python<'py>, value: Option<&Bound<'py, PyAny>>) -> Bound<'py, PyAny> {
    value.cloned().unwrap_or_else(|| py.None().into_bound(py))
}

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;
type Keywords<'a, 'py> = &'a Bound<'py, PyDict>;

/// Connect to a TCP server: (reader, writer). A coroutine.
#[pyfunction]
#[pyo3(signature = (host=None, port=None, *, limit=None, **kwds), text_signature = "(host=None, port=None, *, limit=65536, **kwds)")]
fn open_connection<'py>(
    py: Python<'py>,
    host: Given<'_, 'py>,
    port: Given<'_, 'py>,
    limit: Given<'_, 'py>,
    kwds: Option<Keywords<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let address = [&or_none(py, host), &or_none(py, port)];
    let place = Place::new("create_connection", address, kwds);
    Ok(open(py, "open_connection", limit.map(Obj::from), place)?.into_bound(py))
}

/// Listen for TCP connections and call client_connected_cb(reader, writer) for each: a Server. A coroutine.
#[pyfunction]
#[pyo3(signature = (client_connected_cb, host=None, port=None, *, limit=None, **kwds), text_signature = "(client_connected_cb, host=None, port=None, *, limit=65536, **kwds)")]
fn start_server<'py>(
    py: Python<'py>,
    client_connected_cb: &Bound<'py, PyAny>,
    host: Given<'_, 'py>,
    port: Given<'_, 'py>,
    limit: Given<'_, 'py>,
    kwds: Option<Keywords<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let address = [&or_none(py, host), &or_none(py, port)];
    let place = Place::new("create_server", address, kwds);
    Ok(serve(
        py,
        "start_server",
        client_connected_cb,
        limit.map(Obj::from),
        place,
    )?
    .into_bound(py))
}

/// Connect to a Unix socket: (reader, writer). A coroutine.
#[pyfunction]
#[pyo3(signature = (path=None, *, limit=None, **kwds), text_signature = "(path=None, *, limit=65536, **kwds)")]
fn open_unix_connection<'py>(
    py: Python<'py>,
    path: Given<'_, 'py>,
    limit: Given<'_, 'py>,
    kwds: Option<Keywords<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let place = Place::new("create_unix_connection", [&or_none(py, path)], kwds);
    Ok(open(py, "open_unix_connection", limit.map(Obj::from), place)?.into_bound(py))
}

/// Listen on a Unix socket and call client_connected_cb(reader, writer) for each connection: a Server. A coroutine.
#[pyfunction]
#[pyo3(signature = (client_connected_cb, path=None, *, limit=None, **kwds), text_signature = "(client_connected_cb, path=None, *, limit=65536, **kwds)")]
fn start_unix_server<'py>(
    py: Python<'py>,
    client_connected_cb: &Bound<'py, PyAny>,
    path: Given<'_, 'py>,
    limit: Given<'_, 'py>,
    kwds: Option<Keywords<'_, 'py>>,
) -> PyResult<Bound<'py, PyAny>> {
    let place = Place::new("create_unix_server", [&or_none(py, path)], kwds);
    Ok(serve(
        py,
        "start_unix_server",
        client_connected_cb,
        limit.map(Obj::from),
        place,
    )?
    .into_bound(py))
}

/// Builds the class of the factories and adds the functions.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ClassBuilder::<Factory>::new(c"Makes the protocols of streams.")
        .members(|table| {
            table.noargs(
                c"protocol",
                c"protocol($self, /)\n--\n\nThe protocol for a connection.",
                |slf, py| slf.protocol(py),
            );
        })
        .build(module.py(), &Base::Object)?;
    module.add_function(wrap_pyfunction!(open_connection, module)?)?;
    module.add_function(wrap_pyfunction!(start_server, module)?)?;
    module.add_function(wrap_pyfunction!(open_unix_connection, module)?)?;
    module.add_function(wrap_pyfunction!(start_unix_server, module)?)
}
