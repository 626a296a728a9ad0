//! The end of a pipe that is written to (asyncio: `WriteTransport`).
//!
//! What one callback writes leaves in one writev(2) when it returns, as with sockets (see `transport::write`). To end the
//! stream is to close the pipe. That nobody reads any more shows in the descriptor becoming readable, which the write end
//! of a pipe does for no other reason; so the transport waits for that too, where it is no character device.

use std::cell::Cell;
use std::io;
use std::ops::Deref;

use pyo3::exceptions::{PyAssertionError, PyBrokenPipeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyType};
use sabio_reactor::Interest;
use sabio_reactor::pipe::{self, Growth, Kind};

use super::{PipeParts, give_up, set_up, take};
use crate::asyncio::asyncio;
use crate::event_loop::{CorkedTransport, Loop};
use crate::ffi::{Args, Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, Ref, Visit};
use crate::os_error::os_error;
use crate::transport::channel::PipeChannel;
use crate::transport::queue::{Progress, Queue};
use crate::transport::shared::{self, Shared, Transport, finalize, watch};
use crate::transport::write::{CORKED_AT_MOST, Data};
use crate::transport::{Source, close, flow, in_vain};

const FATAL_WRITE: &str = "Fatal write error on pipe transport";

/// What is said of a file that cannot be waited for.
const REFUSED: &str = "Pipe transport is only for pipes, sockets and character devices";

/// The data of a transport that writes to a pipe.
pub(crate) struct WritePipe {
    shared: Shared,
    queue: Queue,
    /// Whether the descriptor tells that nobody reads any more.
    tells_of_reader: bool,
    /// Whether it will be flushed when the callback that runs now returns.
    corked: Cell<bool>,
    /// Whether what is queued waits for the descriptor to become writable.
    blocked: Cell<bool>,
    growth: Growth,
    /// How many writes came after its end had begun.
    in_vain: Cell<u32>,
}

/// What is logged of writes to a pipe that is closing or lost.
const CLOSED: &str = "pipe closed by peer or os.write(pipe, data) raised exception.";

static WRITE_PIPE: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for WritePipe {
    const NAME: &'static std::ffi::CStr = c"sabio._WritePipeTransport";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &WRITE_PIPE
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.shared.visit(visit);
        self.queue.visit(visit);
    }

    fn clear(&self) {
        self.shared.clear();
    }
}

impl Deref for WritePipe {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Transport for WritePipe {
    const FATAL_READ: &'static str = FATAL_WRITE;

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn queued(&self) -> usize {
        self.queue.size()
    }

    fn drop_queue(&self) {
        self.queue.clear();
        self.blocked.set(false);
    }

    /// Sends what is corked now; `flush` is still called, and finds nothing to do.
    fn flush_now(slf: &Ref<WritePipe>, py: Python<'_>) -> PyResult<()> {
        if slf.corked.get() && !slf.blocked.get() {
            send_queued(slf, py)?;
        }
        Ok(())
    }

    fn source(slf: &Ref<WritePipe>) -> Source {
        Source::WritePipe(slf.clone())
    }

    fn update_interest(slf: &Ref<WritePipe>, py: Python<'_>) -> PyResult<()> {
        let mut interest = Interest::NONE;
        if !slf.is_lost() && slf.started.get() {
            if slf.tells_of_reader && (!slf.closing.get() || slf.blocked.get()) {
                interest |= Interest::READABLE;
            }
            if slf.blocked.get() {
                interest |= Interest::WRITABLE;
            }
        }
        watch(slf, py, interest)
    }

    fn ended(&self, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }
}

impl WritePipe {
    /// A new transport, which waits for nothing before it is started.
    ///
    /// # Errors
    /// ValueError for a file that cannot be waited for, OSError for one that is closed, RuntimeError when the loop is. The
    /// file stays open.
    pub(crate) fn open(parts: &PipeParts<'_, '_>) -> PyResult<Ref<WritePipe>> {
        let py = parts.pipe.py();
        let (owner, kind) = take(parts.event_loop, parts.pipe, REFUSED)?;
        let data = WritePipe {
            shared: Shared::new(parts.event_loop, owner, None, parts.context.clone()),
            queue: Queue::default(),
            tells_of_reader: kind != Kind::Character,
            corked: Cell::new(false),
            blocked: Cell::new(false),
            growth: Growth::default(),
            in_vain: Cell::new(0),
        };
        let transport = Ref::create_as(CLASS.get(py)?.bind(py).cast::<PyType>()?, data)?;
        transport.protocol.set(Some(parts.protocol.clone()));
        if let Err(error) = set_up(&transport, parts) {
            give_up(&transport);
            return Err(error);
        }
        Ok(transport)
    }

    /// The kernel has not taken all.
    fn is_full(&self) {
        self.blocked.set(true);
        if let Ok(fd) = self.descriptor.borrow() {
            self.growth.filled(fd);
        }
    }
}

/// Sends what was written in the callback that has just returned. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn flush(slf: &Ref<WritePipe>, py: Python<'_>) -> PyResult<()> {
    if slf.corked.replace(false) && !slf.blocked.get() {
        return send_queued(slf, py);
    }
    Ok(())
}

/// Nobody reads any more. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn reader_gone(slf: &Ref<WritePipe>, py: Python<'_>) -> PyResult<()> {
    if slf.is_lost() {
        return Ok(());
    }
    if slf.event_loop.get().is_some_and(|event_loop| event_loop.debug()) {
        let logger = asyncio(py)?.logger.bind(py);
        logger.call_method1("info", ("%r was closed by peer", slf.bind(py)))?;
    }
    let reason = if slf.queue.is_empty() {
        None
    } else {
        let error = PyBrokenPipeError::new_err(());
        Some(Obj::from(error.into_value(py).into_bound(py)))
    };
    close::force_close(slf, py, reason)
}

/// The descriptor takes data again. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn writable(slf: &Ref<WritePipe>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    if slf.is_lost() || !slf.blocked.get() {
        return Ok(());
    }
    slf.blocked.set(false);
    send_queued(slf, py)?;
    if slf.is_lost() {
        return Ok(());
    }
    let resumed = flow::maybe_resume(slf, py);
    WritePipe::update_interest(slf, py)?;
    if slf.closing.get() && slf.queue.is_empty() && !slf.is_lost() {
        slf.conn_lost.set(1);
        let lost = close::connection_lost(slf, py, event_loop, None);
        return resumed.and(lost);
    }
    resumed
}

/// Sends what is queued, and waits for the descriptor if the kernel does not take all of it.
fn send_queued(slf: &Ref<WritePipe>, py: Python<'_>) -> PyResult<()> {
    if slf.is_lost() || slf.queue.is_empty() {
        return Ok(());
    }
    let fd = slf.descriptor.borrow();
    match fd.and_then(|fd| slf.queue.send::<PipeChannel>(py, fd)) {
        Ok(Progress::Empty) => Ok(()),
        Ok(Progress::Blocked) => blocked(slf, py),
        Err(error) => failed(slf, py, error),
    }
}

fn blocked(slf: &Ref<WritePipe>, py: Python<'_>) -> PyResult<()> {
    slf.is_full();
    WritePipe::update_interest(slf, py)
}

#[cold]
fn failed(slf: &Ref<WritePipe>, py: Python<'_>, error: io::Error) -> PyResult<()> {
    slf.drop_queue();
    slf.in_vain.set(slf.in_vain.get() + 1);
    close::fatal_error(slf, py, os_error(error), FATAL_WRITE)
}

/// `write(data)`: sends bytes without waiting.
///
/// # Errors
/// AssertionError for what has no bytes.
pub(crate) fn write(slf: &Ref<WritePipe>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = data.py();
    let Some(bytes) = Data::of(data)? else {
        return Err(PyAssertionError::new_err(data.repr()?.to_string()));
    };
    let size = bytes.as_slice().len();
    if size == 0 {
        return Ok(());
    }
    if slf.closing.get() || slf.is_lost() {
        return in_vain::written(py, &slf.in_vain, CLOSED);
    }
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    let may_cork = event_loop.can_cork();
    let mut sent = 0;
    if slf.queue.is_empty() && (size >= CORKED_AT_MOST || !may_cork) {
        event_loop.expect_events();
        let written = slf
            .descriptor
            .borrow()
            .and_then(|fd| pipe::write(fd, bytes.as_slice()));
        sent = match written {
            Ok(count) if count == size => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return failed(slf, py, error),
        };
        slf.is_full();
    }
    bytes.push(py, &slf.queue, sent);
    settle(slf, py, &event_loop, may_cork)
}

/// After something was queued: sends now or leaves it to the end of the callback, and pauses the protocol if need be.
fn settle(slf: &Ref<WritePipe>, py: Python<'_>, event_loop: &Ref<Loop>, may_cork: bool) -> PyResult<()> {
    let size = slf.queue.size();
    if slf.blocked.get() {
        WritePipe::update_interest(slf, py)?;
    } else if may_cork && size < CORKED_AT_MOST && size <= slf.limits.high.get() {
        if !slf.corked.replace(true) {
            event_loop.cork(CorkedTransport::Pipe(slf.clone()));
        }
        return Ok(());
    } else {
        event_loop.expect_events();
        send_queued(slf, py)?;
    }
    flow::maybe_pause(slf, py)
}

/// `writelines(list_of_data)`: as writing all of them joined, but `bytes` are not copied.
fn writelines(slf: &Ref<WritePipe>, args: Args<'_, '_>) -> PyResult<()> {
    let list = args.single("writelines", "list_of_data")?;
    let pieces = PyList::new(list.py(), list.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
    if pieces.iter().all(|piece| piece.cast_exact::<PyBytes>().is_ok()) {
        return pieces.iter().try_for_each(|piece| write(slf, &piece));
    }
    write(
        slf,
        &PyBytes::new(list.py(), b"").call_method1("join", (pieces,))?,
    )
}

fn define(table: &mut MethodTable<WritePipe>) {
    close::define(table);
    close::define_abort(table);
    flow::define(table);
    shared::define(table);
    super::define(table);
    table
        .fast_method(
            c"write",
            c"write($self, data)\n--\n\nSend data (bytes, bytearray or memoryview) without waiting.",
            |slf, args| write(slf, args.single("write", "data")?),
        )
        .fast_method(
            c"writelines",
            c"writelines($self, list_of_data)\n--\n\nSend several pieces of data without waiting.",
            writelines,
        )
        .fast_noargs(
            c"write_eof",
            c"write_eof($self, /)\n--\n\nClose the pipe once everything is sent.",
            close::close,
        )
        .fast_noargs(
            c"can_write_eof",
            c"can_write_eof($self, /)\n--\n\nTrue: the end of the stream is the end of the pipe.",
            |_slf, _py| Ok(true),
        )
        .fast_method(
            c"set_protocol",
            c"set_protocol($self, protocol)\n--\n\nSet the protocol that is told from now on.",
            |slf, args| {
                let protocol = args.single("set_protocol", "protocol")?;
                slf.protocol.set(Some(Obj::from(protocol)));
                Ok(())
            },
        )
        .getter(c"_buffer", c"What is not sent yet, as a list.", |slf, py| {
            Ok(Obj::from(slf.queue.list(py)?))
        });
}

/// Builds the classes.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // As with asyncio's, it is an instance of the class for both directions, too.
    let base = py.import("asyncio")?.getattr("Transport")?;
    let core = ClassBuilder::<WritePipe>::new(c"The native part of sabio.WritePipeTransport.")
        .members(define)
        .finalizer(finalize::<WritePipe>)
        .repr(|slf, py| {
            let more = format!(" bufsize={}", slf.queued());
            super::describe(slf, py, Interest::WRITABLE, &more)
        })
        .build(py, &Base::Slots(base.cast_into::<PyType>()?))?;
    let doc = "The end of a pipe that is written to (asyncio: Transports), written in Rust. Made by the event loop.";
    let class = shared::public_class(module, "WritePipeTransport", &core, doc)?;
    CLASS.set(py, Obj::from(&class));
    Ok(())
}
