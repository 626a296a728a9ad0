//! Receiving: everything that waits in the socket, up to a batch, in one system call for each time it is readable.

use std::cell::Cell;
use std::io;
use std::ptr;

use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError, PyOSError};
use pyo3::prelude::*;
use sabio_reactor::socket::{MOST_DATAGRAMS, ReceiveBatch, receive_rows};

use super::send::flush;
use super::{Datagram, Family, ReceivedRows};
use crate::event_loop::{Loop, errors};
use crate::ffi::{Obj, Ref, bytes_from_slice};
use crate::names::names;
use crate::os_error::os_error;
use crate::transport::close;
use crate::transport::reading::Reading;
use crate::transport::shared::Transport;

/// The most that an IP datagram can have, in bytes.
const INTERNET_SIZE: usize = 64 * 1024;

/// The most that is taken of a Unix datagram, in bytes: asyncio's `max_size`.
const UNIX_SIZE: usize = 256 * 1024;

/// So many rows of datagrams are received in one call; each may have as many datagrams as a whole batch otherwise.
const MOST_ROWS: usize = 4;

/// So many Unix datagrams are received in one call.
const UNIX_COUNT: usize = 8;

/// The memory that a loop's transports receive into. It is out while one of them does.
#[derive(Default)]
pub(crate) struct Batches {
    internet: Cell<Option<Box<ReceiveBatch>>>,
    unix: Cell<Option<Box<ReceiveBatch>>>,
}

impl Batches {
    fn place(&self, family: Family) -> &Cell<Option<Box<ReceiveBatch>>> {
        match family {
            Family::Unix => &self.unix,
            Family::Internet(_) | Family::Other => &self.internet,
        }
    }

    fn take(&self, family: Family) -> Box<ReceiveBatch> {
        self.place(family).take().unwrap_or_else(|| {
            Box::new(match family {
                Family::Unix => ReceiveBatch::new(UNIX_COUNT, UNIX_SIZE),
                Family::Internet(_) | Family::Other => ReceiveBatch::new(MOST_DATAGRAMS, INTERNET_SIZE),
            })
        })
    }

    fn put_back(&self, family: Family, batch: Box<ReceiveBatch>) {
        self.place(family).set(Some(batch));
    }
}

/// How many datagrams are asked for at a time.
///
/// Asking for many where there is one costs a second look into the socket. So an endpoint that got one at a time several
/// times over asks for one, and for many again every now and then.
#[derive(Default)]
pub(super) struct Pace(Cell<u8>);

/// After so many single datagrams one is asked for, ...
const SINGLE: u8 = 4;

/// ... and after so many, each time, many.
const LOOK_AGAIN: u8 = 16;

impl Pace {
    fn most(&self) -> usize {
        let singles = self.0.get();
        if singles < SINGLE || singles.is_multiple_of(LOOK_AGAIN) {
            MOST_DATAGRAMS
        } else {
            1
        }
    }

    fn learn(&self, received: usize) {
        self.0.set(match (received, self.0.get()) {
            (1, u8::MAX) => SINGLE,
            (1, singles) => singles + 1,
            _ => 0,
        });
    }
}

/// The socket is readable. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn ready(slf: &Ref<Datagram>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    // Another callback may have paused or closed it since the event was fetched.
    if slf.is_lost() || !slf.is_reading() {
        return Ok(());
    }
    deliver_waiting(slf, py, event_loop)?;
    if slf.is_lost() || !slf.is_reading() {
        return Ok(());
    }
    slf.receiving.set(true);
    let received = match slf.family {
        Family::Other => receive_one(slf, py, event_loop),
        family => {
            let mut batch = event_loop.datagrams.take(family);
            let received = receive_batch(slf, py, event_loop, &mut batch);
            event_loop.datagrams.put_back(family, batch);
            // There was no memory: what has come is lost.
            received.or_else(|error| close::fatal_error(slf, py, error, Datagram::FATAL_READ))
        }
    };
    slf.receiving.set(false);
    let flushed = flush(slf, py);
    received.and(flushed)
}

fn receive_batch(
    slf: &Ref<Datagram>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    batch: &mut ReceiveBatch,
) -> PyResult<()> {
    let most = match slf.received_rows.get() {
        ReceivedRows::Yes => slf.pace.most().min(MOST_ROWS),
        ReceivedRows::NotYet | ReceivedRows::Never => slf.pace.most(),
    };
    let count = match slf.descriptor.borrow().and_then(|fd| batch.receive(fd, most)) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return error_received(slf, py, event_loop, os_error(error)),
    };
    slf.pace.learn(count);
    // The sender and the size of the datagram before.
    let mut before = (ptr::null_mut(), 0);
    let mut is_row = false;
    let max_size = slf.expected.get().max_size();
    for index in 0..count {
        let Some(datagram) = batch.datagram(index) else {
            break;
        };
        let pieces = datagram.pieces();
        let from = match datagram.from {
            Some(address) => slf.peers.object(py, address)?,
            None => Obj::none(py),
        };
        let sender = (from.as_ptr(), datagram.data.len());
        is_row |= sender == before;
        before = sender;
        for piece in pieces {
            let data = bytes_from_slice(py, &piece[..piece.len().min(max_size)])?;
            if slf.reading_paused.get() {
                slf.waiting.borrow_mut().push_back((data, from.clone()));
                continue;
            }
            deliver(slf, py, event_loop, &data, &from)?;
            if slf.is_lost() || slf.closing.get() {
                return Ok(());
            }
        }
    }
    if is_row && slf.received_rows.get() == ReceivedRows::NotYet {
        // Where it cannot be, they go on coming one by one.
        let set = slf.descriptor.borrow().and_then(receive_rows);
        slf.received_rows.set(match set {
            Ok(()) => ReceivedRows::Yes,
            Err(_) => ReceivedRows::Never,
        });
    }
    Ok(())
}

/// What was received before the protocol paused reading, as far as it has not paused it again.
pub(super) fn deliver_waiting(slf: &Ref<Datagram>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    while !slf.is_lost() && slf.is_reading() {
        let next = slf.waiting.borrow_mut().pop_front();
        let Some((data, from)) = next else { break };
        deliver(slf, py, event_loop, &data, &from)?;
    }
    Ok(())
}

/// Receives by the Python socket, which knows the addresses of every family.
fn receive_one(slf: &Ref<Datagram>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    let socket = slf.descriptor.python_socket(py)?;
    let received = socket
        .bind(py)
        .call_method1("recvfrom", (slf.expected.get().max_size(),));
    match received.and_then(|received| received.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()) {
        Ok((data, from)) => deliver(slf, py, event_loop, &data.into(), &from.into()),
        Err(error)
            if error.is_instance_of::<PyBlockingIOError>(py)
                || error.is_instance_of::<PyInterruptedError>(py) =>
        {
            Ok(())
        }
        Err(error) if error.is_instance_of::<PyOSError>(py) => error_received(slf, py, event_loop, error),
        Err(error) => close::fatal_error(slf, py, error, Datagram::FATAL_READ),
    }
}

fn deliver(
    slf: &Ref<Datagram>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    data: &Obj,
    from: &Obj,
) -> PyResult<()> {
    let Some(protocol) = slf.protocol.get() else {
        return Ok(());
    };
    match slf.notify(py, &protocol, &names(py)?.datagram_received, &[data, from]) {
        Ok(_) => Ok(()),
        Err(error) => {
            let args = [data.clone(), from.clone()];
            errors::call_failed(
                py,
                event_loop,
                &method(py, &protocol, "datagram_received"),
                &args,
                error,
            )
        }
    }
}

/// The method, for a message that names it.
fn method(py: Python<'_>, protocol: &Obj, name: &str) -> Obj {
    protocol
        .bind(py)
        .getattr(name)
        .map_or_else(|_| protocol.clone(), Obj::from)
}

/// Tells the protocol of an error that does not end the endpoint: what became of a datagram that was sent.
pub(super) fn error_received(
    slf: &Ref<Datagram>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    error: PyErr,
) -> PyResult<()> {
    let Some(protocol) = slf.protocol.get() else {
        return Ok(());
    };
    let error = Obj::from(error.into_value(py).into_bound(py));
    match slf.notify(py, &protocol, &names(py)?.error_received, &[&error]) {
        Ok(_) => Ok(()),
        Err(raised) => {
            let callback = method(py, &protocol, "error_received");
            errors::call_failed(py, event_loop, &callback, &[error], raised)
        }
    }
}
