//! Sending a file without sendfile(2): read block by block on a thread of the default executor, written as the target
//! takes it. This is how files go out over TLS, and through transports that are not ours.
//!
//! Invariant: whatever happens, cancellation included, the transport has its own protocol back afterwards, which is told
//! if it has to pause or resume, and the file's position is behind what was sent.

use std::cell::Cell;

use pyo3::exceptions::{PyConnectionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyMemoryView, PySlice, PyType};
use sabio_sync::oneshot::{Sender, channel};

use super::Request;
use crate::awaiter::Awaiter;
use crate::event_loop::Loop;
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, ObjCell, Ref, Visit};
use crate::held::Shown;
use crate::waker::visit_sender;

/// How much is read and written at a time, in bytes, through a transport.
const BLOCK: usize = 64 * 1024;

/// Through what the blocks go.
pub(super) enum Way {
    /// A socket.
    Socket(Obj),
    /// A transport, whose protocol ours stands in for.
    Transport(StandIn),
}

impl Shown for Way {
    fn show(&self, visit: &mut Visit<'_>) {
        match self {
            Way::Socket(socket) => socket.show(visit),
            Way::Transport(stand_in) => stand_in.show(visit),
        }
    }
}

impl Way {
    /// Takes the place of the transport's protocol.
    ///
    /// # Errors
    /// TypeError for a transport that cannot pause its protocol.
    pub(super) fn transport(py: Python<'_>, transport: &Obj) -> PyResult<Way> {
        Ok(Way::Transport(StandIn::begin(py, transport)?))
    }

    fn block_size(&self, py: Python<'_>) -> PyResult<usize> {
        match self {
            Way::Socket(_) => py
                .import("asyncio.constants")?
                .getattr("SENDFILE_FALLBACK_READBUFFER_SIZE")?
                .extract(),
            Way::Transport(_) => Ok(BLOCK),
        }
    }

    /// Sends a block and waits until there is room for the next one.
    async fn send(&self, event_loop: &Ref<Loop>, awaiter: &Awaiter, block: &Obj) -> PyResult<()> {
        match self {
            Way::Socket(sock) => {
                let sent = Python::attach(|py| {
                    let args = (sock.bind(py), block.bind(py));
                    PyResult::Ok(Obj::from(event_loop.bind(py).call_method1("sock_sendall", args)?))
                })?;
                awaiter.wait(sent).await.map(drop)
            }
            Way::Transport(stand_in) => {
                Python::attach(|py| stand_in.write(py, block))?;
                stand_in.drain().await
            }
        }
    }
}

/// Sends what `request` says; how many bytes that were.
///
/// # Errors
/// Those of the file and of the target; ConnectionError if the connection is lost.
pub(super) async fn send(
    event_loop: &Ref<Loop>,
    awaiter: &Awaiter,
    request: &Request,
    way: Way,
) -> PyResult<Obj> {
    let way = awaiter.hold(way);
    let mut place = Python::attach(|py| Place::open(py, request, way.block_size(py)?))?;
    loop {
        let reading = match Python::attach(|py| place.read(py, event_loop))? {
            Some(reading) => reading,
            None => break,
        };
        let read = awaiter.wait(reading).await?;
        let Some((size, block)) = Python::attach(|py| place.block(py, &read))? else {
            break;
        };
        way.send(event_loop, awaiter, &block).await?;
        place.sent += size;
    }
    Python::attach(|py| {
        let positioned = place.set_position(py);
        let restored = match &*way {
            Way::Transport(stand_in) => stand_in.restore(py),
            Way::Socket(_) => Ok(()),
        };
        positioned.and(restored)?;
        Ok(place.sent.into_pyobject(py)?.into_any().into())
    })
}

/// How far a file has been read.
struct Place {
    file: Obj,
    offset: Obj,
    count: Option<u64>,
    sent: u64,
    /// Memory for one block: a `bytearray`.
    buffer: Obj,
    size: usize,
    positioned: bool,
}

impl Place {
    fn open(py: Python<'_>, request: &Request, most: usize) -> PyResult<Place> {
        let file = request.file.bind(py);
        let offset = request.offset.bind(py);
        if file.hasattr("seek")? {
            file.call_method1("seek", (offset,))?;
        }
        let count = match &request.count {
            Some(count) if count.bind(py).is_truthy()? => Some(super::native::clamped(count.bind(py))?),
            _ => None,
        };
        if let Some(count) = &request.count
            && count.bind(py).lt(0)?
        {
            return Err(PyValueError::new_err("negative count"));
        }
        let size = count.map_or(most, |count| most.min(usize::try_from(count).unwrap_or(most)));
        let zeroes = PyByteArray::new_with(py, size, |_| Ok(()))?;
        Ok(Place {
            file: request.file.clone(),
            offset: request.offset.clone(),
            count,
            sent: 0,
            buffer: zeroes.into_any().into(),
            size,
            positioned: false,
        })
    }

    /// The first `size` bytes of the buffer.
    fn view(&self, py: Python<'_>, size: usize) -> PyResult<Obj> {
        let view = PyMemoryView::from(self.buffer.bind(py))?;
        let slice = PySlice::new(py, 0, size as isize, 1);
        Ok(view.get_item(slice)?.into())
    }

    /// Starts to read the next block on another thread; None if everything was sent.
    fn read(&self, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<Option<Obj>> {
        let left = self.count.map_or(u64::MAX, |count| count - self.sent);
        let size = self.size.min(usize::try_from(left).unwrap_or(usize::MAX));
        if size == 0 {
            return Ok(None);
        }
        let readinto = self.file.bind(py).getattr("readinto")?;
        let view = self.view(py, size)?;
        let args = (py.None(), readinto, view.bind(py));
        let reading = event_loop.bind(py).call_method1("run_in_executor", args)?;
        Ok(Some(reading.into()))
    }

    /// What was read, and how much that is; None at the end of the file.
    fn block(&self, py: Python<'_>, read: &Obj) -> PyResult<Option<(u64, Obj)>> {
        let read = read.bind(py);
        if !read.is_truthy()? {
            return Ok(None);
        }
        let size: usize = read.extract()?;
        Ok(Some((size as u64, self.view(py, size)?)))
    }

    fn set_position(&mut self, py: Python<'_>) -> PyResult<()> {
        let file = self.file.bind(py);
        if !std::mem::replace(&mut self.positioned, true) && self.sent > 0 && file.hasattr("seek")? {
            let position = self.offset.bind(py).add(self.sent)?;
            file.call_method1("seek", (position,))?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody is told of another failure, or of a cancellation, already.
        let _ = Python::attach(|py| self.set_position(py));
    }
}

/// A transport whose protocol ours stands in for, until this is dropped.
pub(super) struct StandIn {
    transport: Obj,
    protocol: Ref<StandInProtocol>,
    was_paused: bool,
    resume_reading: bool,
    restored: Cell<bool>,
}

impl Shown for StandIn {
    fn show(&self, visit: &mut Visit<'_>) {
        self.transport.show(visit);
        self.protocol.show(visit);
    }
}

impl StandIn {
    fn begin(py: Python<'_>, transport: &Obj) -> PyResult<StandIn> {
        let bound = transport.bind(py);
        let Some(paused) = bound.getattr_opt("_protocol_paused")? else {
            return Err(PyTypeError::new_err(
                "transport should be _FlowControlMixin instance",
            ));
        };
        let was_paused = paused.is_truthy()?;
        let original = Obj::from(bound.call_method0("get_protocol")?);
        let resume_reading = bound.call_method0("is_reading")?.is_truthy()?;
        let protocol = Ref::create(
            py,
            StandInProtocol {
                original: ObjCell::new(Some(original)),
                paused: Cell::new(was_paused),
                lost: ObjCell::new(None),
                waiter: Cell::new(None),
            },
        )?;
        bound.call_method0("pause_reading")?;
        bound.call_method1("set_protocol", (protocol.bind(py),))?;
        Ok(StandIn {
            transport: transport.clone(),
            protocol,
            was_paused,
            resume_reading,
            restored: Cell::new(false),
        })
    }

    fn write(&self, py: Python<'_>, block: &Obj) -> PyResult<()> {
        self.check(py)?;
        let transport = self.transport.bind(py);
        transport.call_method1("write", (block.bind(py),)).map(|_| ())
    }

    /// Waits until the transport takes more.
    async fn drain(&self) -> PyResult<()> {
        loop {
            Python::attach(|py| self.check(py))?;
            if !self.protocol.paused.get() {
                return Ok(());
            }
            let (waiter, woken) = channel();
            self.protocol.waiter.set(Some(waiter));
            // A waiter that is dropped comes with a protocol that was collected.
            if woken.await.is_err() {
                return Err(closed());
            }
        }
    }

    /// The reason for which the connection was lost; ConnectionError if it is closing.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(lost) = self.protocol.lost.get() {
            let lost = lost.into_bound(py);
            return Err(if lost.is_none() {
                PyConnectionError::new_err("Connection is closed by peer")
            } else {
                PyErr::from_value(lost)
            });
        }
        if self.transport.bind(py).call_method0("is_closing")?.is_truthy()? {
            return Err(closed());
        }
        Ok(())
    }

    /// Puts the transport's own protocol back, and tells it what it has missed.
    fn restore(&self, py: Python<'_>) -> PyResult<()> {
        if self.restored.replace(true) {
            return Ok(());
        }
        let Some(original) = self.protocol.original.get() else {
            return Ok(());
        };
        let transport = self.transport.bind(py);
        transport.call_method1("set_protocol", (original.bind(py),))?;
        if self.resume_reading {
            transport.call_method0("resume_reading")?;
        }
        if !self.protocol.lost.is_none() {
            return Ok(());
        }
        match (self.was_paused, self.protocol.paused.get()) {
            (true, false) => original.bind(py).call_method0("resume_writing").map(|_| ()),
            (false, true) => original.bind(py).call_method0("pause_writing").map(|_| ()),
            (false, false) | (true, true) => Ok(()),
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        Python::attach(|py| {
            if let Err(error) = self.restore(py) {
                error.write_unraisable(py, Some(self.transport.bind(py)));
            }
        });
    }
}

fn closed() -> PyErr {
    PyConnectionError::new_err("Connection closed by peer")
}

/// The protocol of a transport while a file goes out through it.
pub(super) struct StandInProtocol {
    original: ObjCell,
    paused: Cell<bool>,
    /// What `connection_lost` was called with.
    lost: ObjCell,
    waiter: Cell<Option<Sender<()>>>,
}

static STAND_IN: ClassCell = ClassCell::new();

impl Class for StandInProtocol {
    const NAME: &'static std::ffi::CStr = c"sabio._SendfileFallbackProtocol";

    fn cell() -> &'static ClassCell {
        &STAND_IN
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.original);
        visit.slot(&self.lost);
        visit_sender(&self.waiter, visit);
    }

    fn clear(&self) {
        self.original.set(None);
        self.lost.set(None);
        drop(self.waiter.take());
    }
}

impl StandInProtocol {
    fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.send(());
        }
    }
}

fn connection_lost(slf: &Ref<StandInProtocol>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    slf.lost.set(Some(Obj::from(exception)));
    slf.wake();
    match slf.original.get() {
        Some(original) => original
            .bind(exception.py())
            .call_method1("connection_lost", (exception,))
            .map(|_| ()),
        None => Ok(()),
    }
}

fn unexpected(message: &'static str) -> PyResult<()> {
    Err(PyRuntimeError::new_err(message))
}

const READING: &str = "Invalid state: reading should be paused";

fn define(table: &mut MethodTable<StandInProtocol>) {
    table
        .noargs(c"pause_writing", c"pause_writing($self, /)\n--\n\nThe transport takes no more for now.", |slf, _py| {
            slf.paused.set(true);
            Ok(())
        })
        .noargs(c"resume_writing", c"resume_writing($self, /)\n--\n\nThe transport takes more.", |slf, _py| {
            slf.paused.set(false);
            slf.wake();
            Ok(())
        })
        .method(
            c"connection_lost",
            c"connection_lost($self, exc, /)\n--\n\nThe connection is lost: the transport's own protocol is told, too.",
            |slf, args| connection_lost(slf, args.single("connection_lost", "exc")?),
        )
        .method(c"connection_made", c"connection_made($self, transport, /)\n--\n\nNever called.", |_slf, _args| {
            unexpected("Invalid state: connection should have been established already.")
        })
        .method(c"data_received", c"data_received($self, data, /)\n--\n\nNever called.", |_slf, _args| {
            unexpected(READING)
        })
        .noargs(c"eof_received", c"eof_received($self, /)\n--\n\nNever called.", |_slf, _py| unexpected(READING));
}

/// Builds the class.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let base = py.import("asyncio")?.getattr("Protocol")?.cast_into::<PyType>()?;
    ClassBuilder::<StandInProtocol>::new(c"Stands in for a transport's protocol while a file is sent.")
        .members(define)
        .build(py, &Base::Slots(base))?;
    Ok(())
}
