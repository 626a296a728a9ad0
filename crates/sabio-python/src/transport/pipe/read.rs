//! The end of a pipe that is read from (asyncio: `ReadTransport`).
//!
//! The end of the stream closes it, whatever the protocol says to `eof_received()`: there is no other half to keep open.
//! As in asyncio an exception of the protocol's `data_received()` is reported and the transport goes on.

use std::cell::Cell;
use std::io;
use std::ops::Deref;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyType;
use sabio_reactor::Interest;
use sabio_reactor::pipe::Growth;

use super::{PipeParts, give_up, set_up, take};
use crate::asyncio::asyncio;
use crate::event_loop::{Loop, Ready, errors};
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, Ref, Visit};
use crate::names::names;
use crate::os_error::os_error;
use crate::stream::{Reader, StreamReaderProtocol};
use crate::subprocess::PipeProtocol;
use crate::transport::channel::PipeChannel;
use crate::transport::read::FATAL_DATA_RECEIVED;
use crate::transport::reading::{self, Reading};
use crate::transport::receive::{Amount, NoMemory, receive_bytes, receive_for_reader};
use crate::transport::shared::{self, Shared, Transport, finalize, watch};
use crate::transport::turn::Turn;
use crate::transport::{Source, close};

/// `EIO`: the other side of a terminal is gone, which is the ordinary end of one.
const INPUT_OUTPUT_ERROR: i32 = 5;

/// What is said of a file that cannot be waited for.
const REFUSED: &str = "Pipe transport is for pipes/sockets only.";

/// The data of a transport that reads from a pipe.
pub(crate) struct ReadPipe {
    shared: Shared,
    delivery: Cell<Delivery>,
    reading_paused: Cell<bool>,
    /// How much the next read is expected to give.
    expected: Cell<Amount>,
    growth: Growth,
}

/// How the protocol gets its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Delivery {
    /// By `data_received()`.
    Data,
    /// It is put into the protocol's `StreamReader`, if that takes it.
    Reader,
    /// It is put into the reader of the process whose pipe it is, if there is one that takes it.
    Process,
}

static READ_PIPE: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();

impl Class for ReadPipe {
    const NAME: &'static std::ffi::CStr = c"sabio._ReadPipeTransport";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &READ_PIPE
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.shared.visit(visit);
    }

    fn clear(&self) {
        self.shared.clear();
    }
}

impl Deref for ReadPipe {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Transport for ReadPipe {
    const FATAL_READ: &'static str = "Fatal read error on pipe transport";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn queued(&self) -> usize {
        0
    }

    fn drop_queue(&self) {}

    fn flush_now(_slf: &Ref<ReadPipe>, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    fn source(slf: &Ref<ReadPipe>) -> Source {
        Source::ReadPipe(slf.clone())
    }

    fn update_interest(slf: &Ref<ReadPipe>, py: Python<'_>) -> PyResult<()> {
        let interest = if slf.wants_data() {
            Interest::READABLE
        } else {
            Interest::NONE
        };
        watch(slf, py, interest)
    }

    fn is_expected(py: Python<'_>, error: &PyErr) -> bool {
        error.is_instance_of::<PyOSError>(py)
            && error
                .value(py)
                .getattr("errno")
                .is_ok_and(|number| number.eq(INPUT_OUTPUT_ERROR).unwrap_or(false))
    }

    fn ended(&self, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }
}

impl ReadPipe {
    /// A new transport, which does nothing before it is started.
    ///
    /// # Errors
    /// ValueError for a file that cannot be waited for, OSError for one that is closed, RuntimeError when the loop is. The
    /// file stays open.
    pub(crate) fn open(parts: &PipeParts<'_, '_>) -> PyResult<Ref<ReadPipe>> {
        let py = parts.pipe.py();
        let (owner, _kind) = take(parts.event_loop, parts.pipe, REFUSED)?;
        let data = ReadPipe {
            shared: Shared::new(parts.event_loop, owner, None, parts.context.clone()),
            delivery: Cell::new(Delivery::Data),
            reading_paused: Cell::new(false),
            expected: Cell::default(),
            growth: Growth::default(),
        };
        let transport = Ref::create_as(CLASS.get(py)?.bind(py).cast::<PyType>()?, data)?;
        transport.set_protocol(parts.protocol.bind(py));
        if let Err(error) = set_up(&transport, parts) {
            give_up(&transport);
            return Err(error);
        }
        Ok(transport)
    }

    fn set_protocol(&self, protocol: &Bound<'_, PyAny>) {
        self.delivery
            .set(if StreamReaderProtocol::exact(protocol).is_some() {
                Delivery::Reader
            } else if Ref::<PipeProtocol>::downcast(protocol).is_some() {
                Delivery::Process
            } else {
                Delivery::Data
            });
        self.protocol.set(Some(Obj::from(protocol)));
    }

    fn wants_data(&self) -> bool {
        self.started.get() && self.is_reading()
    }
}

impl Reading for ReadPipe {
    fn reading_paused(&self) -> &Cell<bool> {
        &self.reading_paused
    }

    fn expected(&self) -> &Cell<Amount> {
        &self.expected
    }
}

/// The descriptor has data, or its end. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn readable(slf: &Ref<ReadPipe>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    let mut turn = Turn::default();
    loop {
        read(slf, py, event_loop, &mut turn)?;
        if !turn.goes_on(event_loop) {
            return Ok(());
        }
    }
}

/// Reads once, in whatever way and for whomever it is to be done now.
fn read(slf: &Ref<ReadPipe>, py: Python<'_>, event_loop: &Ref<Loop>, turn: &mut Turn) -> PyResult<()> {
    // A protocol, another one or this transport's, may have paused or closed it since the event was fetched.
    if slf.is_lost() || !slf.wants_data() {
        return Ok(());
    }
    let Some(protocol) = slf.protocol.get() else {
        return Ok(());
    };
    let receiver = match slf.delivery.get() {
        Delivery::Data => None,
        Delivery::Reader => StreamReaderProtocol::exact(protocol.bind(py)).and_then(|exact| exact.receiver()),
        Delivery::Process => {
            Ref::<PipeProtocol>::downcast(protocol.bind(py)).and_then(|own| own.receiver(py))
        }
    };
    let expected = slf.expected.get();
    let read = match &receiver {
        Some(reader) => read_for_reader(slf, py, event_loop, expected, reader),
        None => read_data(slf, py, event_loop, expected, &protocol),
    };
    match read? {
        Some(Ok(0)) => at_eof(slf, py, event_loop, protocol),
        Some(Ok(size)) => {
            if Growth::may_have_been_full(size)
                && let Ok(fd) = slf.descriptor.borrow()
            {
                slf.growth.filled(fd);
            }
            slf.expected.set(expected.after(size));
            turn.read(size, expected.most());
            Ok(())
        }
        Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Some(Err(error)) => close::fatal_error(slf, py, os_error(error), ReadPipe::FATAL_READ),
        None => Ok(()),
    }
}

fn read_for_reader(
    slf: &Ref<ReadPipe>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    expected: Amount,
    reader: &Reader,
) -> PyResult<Option<io::Result<usize>>> {
    let received = match receive_for_reader::<PipeChannel>(&slf.descriptor, py, event_loop, expected, reader)
    {
        Ok(received) => received,
        Err(NoMemory::ToReceive(error)) => return not_read(slf, py, event_loop, error),
        // What comes next would follow a gap.
        Err(NoMemory::ToKeep(error)) => {
            return close::fatal_error(slf, py, error, FATAL_DATA_RECEIVED).map(|()| None);
        }
    };
    if matches!(received, Ok(size) if size > 0)
        && let Err(error) = reader.received(py)
    {
        failed(slf, py, event_loop, "data_received", error)?;
    }
    Ok(Some(received))
}

fn read_data(
    slf: &Ref<ReadPipe>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    expected: Amount,
    protocol: &Obj,
) -> PyResult<Option<io::Result<usize>>> {
    let mut size = 0;
    let received = receive_bytes::<PipeChannel>(&slf.descriptor, py, event_loop, expected, &mut size);
    let data = match received {
        Ok(Ok(data)) => data,
        Ok(Err(error)) => return Ok(Some(Err(error))),
        Err(error) if size == 0 => return not_read(slf, py, event_loop, error),
        Err(error) => return close::fatal_error(slf, py, error, ReadPipe::FATAL_READ).map(|()| None),
    };
    if size > 0
        && let Err(error) = slf.notify(py, protocol, &names(py)?.data_received, &[&data])
    {
        failed(slf, py, event_loop, "data_received", error)?;
    }
    Ok(Some(Ok(size)))
}

/// There was no memory to read into, and nothing was read: it is tried again, as in asyncio.
#[cold]
fn not_read(
    slf: &Ref<ReadPipe>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    error: PyErr,
) -> PyResult<Option<io::Result<usize>>> {
    let keys = [("transport", slf.as_obj())];
    errors::exit_or_report(py, event_loop, error, ReadPipe::FATAL_READ, &keys).map(|()| None)
}

/// A method of the protocol raised: SystemExit and KeyboardInterrupt come back, everything else is reported.
#[cold]
fn failed(
    slf: &Ref<ReadPipe>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    method: &str,
    error: PyErr,
) -> PyResult<()> {
    let protocol = slf.protocol.get().unwrap_or_else(|| Obj::none(py));
    let class = protocol.bind(py).get_type().qualname()?;
    let message = format!("Exception in callback {class}.{method}()");
    let keys = [("transport", slf.as_obj()), ("protocol", &protocol)];
    errors::exit_or_report(py, event_loop, error, &message, &keys)
}

/// Nobody writes any more: the protocol is told in the next turn, and then that the connection is lost.
fn at_eof(slf: &Ref<ReadPipe>, py: Python<'_>, event_loop: &Ref<Loop>, protocol: Obj) -> PyResult<()> {
    if event_loop.debug() {
        let logger = asyncio(py)?.logger.bind(py);
        logger.call_method1("info", ("%r was closed by peer", slf.bind(py)))?;
    }
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, event_loop| {
        let told = transport.notify(py, &protocol, &names(py)?.eof_received, &[]);
        told.map(drop)
            .or_else(|error| failed(&transport, py, event_loop, "eof_received", error))
    }));
    close::close(slf, py)
}

fn define(table: &mut MethodTable<ReadPipe>) {
    close::define(table);
    shared::define(table);
    super::define(table);
    reading::define(table);
    table.fast_method(
        c"set_protocol",
        c"set_protocol($self, protocol)\n--\n\nSet the protocol that is told from now on.",
        |slf, args| {
            slf.set_protocol(args.single("set_protocol", "protocol")?);
            Ok(())
        },
    );
}

/// Builds the classes.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = py.import("asyncio")?.getattr("ReadTransport")?;
    let core = ClassBuilder::<ReadPipe>::new(c"The native part of sabio.ReadPipeTransport.")
        .members(define)
        .finalizer(finalize::<ReadPipe>)
        .repr(|slf, py| super::describe(slf, py, Interest::READABLE, ""))
        .build(py, &Base::Slots(base.cast_into::<PyType>()?))?;
    let doc =
        "The end of a pipe that is read from (asyncio: Transports), written in Rust. Made by the event loop.";
    let class = shared::public_class(module, "ReadPipeTransport", &core, doc)?;
    CLASS.set(py, Obj::from(&class));
    Ok(())
}
