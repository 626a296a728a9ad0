//! Sending: what one callback or task step sends leaves in one system call when it returns, in order.
//!
//! An error is that of one datagram: the protocol is told (`error_received`), the datagram is dropped and the next one
//! sent. Only exact `bytes` and tuples get into the queue by our own hand; whatever else does is dropped when nothing is
//! borrowed.

use std::collections::VecDeque;
use std::io;

use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString, PyTuple};
use sabio_reactor::socket::{Address, MOST_DATAGRAMS, can_send_rows, send_batch};

use super::receive::error_received;
use super::{Datagram, Family};
use crate::event_loop::{CorkedTransport, Loop};
use crate::ffi::{Args, MethodTable, Obj, ReadBuffer, Ref, Signature, Visit, is_audited};
use crate::os_error::os_error;
use crate::transport::shared::Transport;
use crate::transport::write::LOST;
use crate::transport::{address_from_python, close, flow, in_vain, unix_address_from_python};

/// What a waiting datagram counts beside its data, in bytes: from 3.13, where datagrams may be empty.
const HEADER_SIZE: usize = if cfg!(Py_3_13) { 8 } else { 0 };

const FATAL_WRITE: &str = "Fatal write error on datagram transport";

/// Where a datagram goes.
enum Target {
    /// Where the socket is connected.
    Connected,
    Address(Address),
    /// An address that only the Python socket understands.
    Object(Obj),
}

struct Outgoing {
    data: Obj,
    target: Target,
}

impl Outgoing {
    fn size(&self, py: Python<'_>) -> usize {
        self.bytes(py).len() + HEADER_SIZE
    }

    fn bytes<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        match self.data.bind(py).cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes(),
            Err(_) => unreachable!("only bytes are queued"),
        }
    }
}

/// What is not sent yet.
#[derive(Default)]
pub(super) struct Queue {
    datagrams: VecDeque<Outgoing>,
}

impl Queue {
    /// Shows what it owns to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        for outgoing in &self.datagrams {
            visit.obj(&outgoing.data);
            if let Target::Object(object) = &outgoing.target {
                visit.obj(object);
            }
        }
    }
}

/// How sending the first datagrams of the queue went.
enum Attempt {
    Nothing,
    Sent(usize),
    Blocked,
    Failed(PyErr),
    /// The first one is for the Python socket: its data and address.
    ForPython(Obj, Obj),
}

impl Datagram {
    /// Sends what the kernel takes in one call of those before the first one that only Python can send.
    fn attempt(&self, py: Python<'_>) -> Attempt {
        let queue = self.queue.borrow();
        let sent = match queue.datagrams.front() {
            None => return Attempt::Nothing,
            Some(first) => match &first.target {
                Target::Object(object) => return Attempt::ForPython(first.data.clone(), object.clone()),
                Target::Address(address) if queue.datagrams.len() == 1 => {
                    self.send_batch(&[(first.bytes(py), Some(address))])
                }
                Target::Connected if queue.datagrams.len() == 1 => {
                    self.send_batch(&[(first.bytes(py), None)])
                }
                Target::Address(_) | Target::Connected => self.send_several(py, &queue.datagrams),
            },
        };
        match sent {
            Ok(sent) => Attempt::Sent(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Attempt::Blocked,
            Err(error) => Attempt::Failed(os_error(error)),
        }
    }

    fn send_several(&self, py: Python<'_>, datagrams: &VecDeque<Outgoing>) -> io::Result<usize> {
        let mut batch: [(&[u8], Option<&Address>); MOST_DATAGRAMS] = [(&[], None); MOST_DATAGRAMS];
        let mut count = 0;
        for (place, outgoing) in batch.iter_mut().zip(datagrams) {
            let address = match &outgoing.target {
                Target::Connected => None,
                Target::Address(address) => Some(address),
                Target::Object(_) => break,
            };
            *place = (outgoing.bytes(py), address);
            count += 1;
        }
        self.send_batch(&batch[..count])
    }

    fn send_batch(&self, batch: &[(&[u8], Option<&Address>)]) -> io::Result<usize> {
        let fd = self.descriptor.borrow()?;
        if batch.len() < 2 {
            return send_batch(fd, batch, &mut false);
        }
        let mut rows = self.sends_rows.get().unwrap_or_else(|| can_send_rows(fd));
        let sent = send_batch(fd, batch, &mut rows);
        self.sends_rows.set(Some(rows));
        sent
    }

    /// Takes the first datagrams off the queue.
    fn remove(&self, py: Python<'_>, count: usize) {
        for _ in 0..count {
            // Dropped when nothing is borrowed any more.
            let removed = self.queue.borrow_mut().datagrams.pop_front();
            if let Some(outgoing) = removed {
                let size = outgoing.size(py);
                self.queued.set(self.queued.get().saturating_sub(size));
            }
        }
    }

    fn has_queued(&self) -> bool {
        !self.queue.borrow().datagrams.is_empty()
    }
}

/// Sends what was written in the callback that has just returned. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn flush(transport: &Ref<Datagram>, py: Python<'_>) -> PyResult<()> {
    if transport.corked.replace(false) {
        send_queued(transport, py)
    } else {
        Ok(())
    }
}

/// Sends what is corked now, if anything is.
pub(super) fn flush_now(slf: &Ref<Datagram>, py: Python<'_>) -> PyResult<()> {
    // `flush` is still called, and finds nothing to do.
    if slf.corked.get() {
        send_queued(slf, py)
    } else {
        Ok(())
    }
}

/// Sends until nothing is left or the kernel takes no more.
fn send_queued(slf: &Ref<Datagram>, py: Python<'_>) -> PyResult<()> {
    while !slf.blocked.get() && !slf.is_lost() {
        let attempt = match slf.attempt(py) {
            Attempt::ForPython(data, address) => send_by_python(slf, py, &data, &address),
            attempt => attempt,
        };
        match attempt {
            Attempt::Nothing | Attempt::ForPython(..) => return Ok(()),
            Attempt::Sent(0) => return Ok(()),
            Attempt::Sent(count) => slf.remove(py, count),
            Attempt::Blocked => {
                slf.blocked.set(true);
                Datagram::update_interest(slf, py)?;
            }
            Attempt::Failed(error) => {
                slf.remove(py, 1);
                failed(slf, py, error)?;
            }
        }
    }
    Ok(())
}

fn send_by_python(slf: &Datagram, py: Python<'_>, data: &Obj, address: &Obj) -> Attempt {
    let sent = slf.descriptor.python_socket(py).and_then(|socket| {
        let socket = socket.bind(py);
        socket.call_method1("sendto", (data.bind(py), address.bind(py)))
    });
    match sent {
        Ok(_) => Attempt::Sent(1),
        Err(error)
            if error.is_instance_of::<PyBlockingIOError>(py)
                || error.is_instance_of::<PyInterruptedError>(py) =>
        {
            Attempt::Blocked
        }
        Err(error) => Attempt::Failed(error),
    }
}

/// A datagram could not be sent: an error of the network or of a wrong address ends nothing but it, any other the endpoint.
#[cold]
fn failed(slf: &Ref<Datagram>, py: Python<'_>, error: PyErr) -> PyResult<()> {
    if !error.is_instance_of::<PyOSError>(py) {
        return close::fatal_error(slf, py, error, FATAL_WRITE);
    }
    match slf.event_loop.get() {
        Some(event_loop) => error_received(slf, py, &event_loop, error),
        None => Ok(()),
    }
}

/// The descriptor takes datagrams again. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn writable(slf: &Ref<Datagram>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    if slf.is_lost() || !slf.blocked.replace(false) {
        return Ok(());
    }
    let sent = send_queued(slf, py);
    let resumed = flow::maybe_resume(slf, py);
    Datagram::update_interest(slf, py)?;
    if slf.closing.get() && !slf.is_lost() && !slf.has_queued() {
        slf.conn_lost.set(1);
        close::connection_lost(slf, py, event_loop, None)?;
    }
    sent.and(resumed)
}

/// The bytes of what may be sent: the object itself if it cannot change, otherwise a copy.
fn check<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>()
    {
        return Ok(PyBytes::new(data.py(), ReadBuffer::new(data)?.as_slice()));
    }
    let name = data.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "data argument must be a bytes-like object, not {}",
        name.repr()?
    )))
}

fn sendto(slf: &Ref<Datagram>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let signature = Signature {
        function: "sendto",
        parameters: ["data", "addr"],
        required: 1,
        positional: 2,
    };
    let [Some(data), address] = args.parse(&signature)? else {
        return Err(PyTypeError::new_err("sendto() takes the data"));
    };
    let data = check(data)?;
    if cfg!(not(Py_3_13)) && data.as_bytes().is_empty() {
        return Ok(());
    }
    let address = address.filter(|address| !address.is_none()).map(Obj::from);
    let address = match slf.remote.get() {
        Some(remote) => {
            if let Some(address) = &address
                && !address.bind(py).eq(remote.bind(py))?
            {
                let remote = remote.bind(py).str()?;
                let message = format!("Invalid address: must be None or {remote}");
                return Err(PyValueError::new_err(message));
            }
            Some(remote)
        }
        None => address,
    };
    if slf.is_lost() {
        return sent_in_vain(slf, py);
    }
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    let target = match address {
        _ if slf.connected => Target::Connected,
        Some(address) => target(slf, py, address),
        // As in asyncio, the socket complains.
        None => Target::Object(Obj::none(py)),
    };
    let outgoing = Outgoing {
        data: data.into_any().into(),
        target,
    };
    slf.queued.set(slf.queued.get() + outgoing.size(py));
    slf.queue.borrow_mut().datagrams.push_back(outgoing);
    settle(slf, py, &event_loop)
}

/// The address for the kernel, if it is one that can be told without asking anybody. A hook that hears of what is sent
/// where, and may refuse it, is asked by the Python socket.
fn target(slf: &Datagram, py: Python<'_>, address: Obj) -> Target {
    if is_audited(py) {
        return Target::Object(address);
    }
    if let Some(known) = slf.peers.address(&address) {
        return Target::Address(known);
    }
    let bound = address.bind(py);
    let found = match slf.family {
        Family::Internet(family) if bound.is_exact_instance_of::<PyTuple>() => {
            address_from_python(family, bound)
        }
        Family::Unix
            if bound.is_exact_instance_of::<PyString>() || bound.is_exact_instance_of::<PyBytes>() =>
        {
            unix_address_from_python(bound).ok()
        }
        Family::Internet(_) | Family::Unix | Family::Other => None,
    };
    match found {
        Some(Address::Unnamed) | None => Target::Object(address),
        Some(found) => {
            slf.peers.learn(&address, &found);
            Target::Address(found)
        }
    }
}

/// After something was queued: sends now or leaves it to the end of the callback, and pauses the protocol if need be.
fn settle(slf: &Ref<Datagram>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    if !slf.blocked.get() {
        let few = slf.queue.borrow().datagrams.len() < MOST_DATAGRAMS;
        if few && slf.queued.get() <= slf.limits.high.get() && event_loop.can_cork() {
            if !slf.corked.replace(true) && !slf.receiving.get() {
                event_loop.cork(CorkedTransport::Datagram(slf.clone()));
            }
            return Ok(());
        }
        event_loop.expect_events();
        send_queued(slf, py)?;
    }
    flow::maybe_pause(slf, py)
}

/// Counts a datagram to a lost endpoint, and warns from the fifth on.
#[cold]
fn sent_in_vain(slf: &Ref<Datagram>, py: Python<'_>) -> PyResult<()> {
    let count = slf.conn_lost.get();
    in_vain::warn(py, count, LOST)?;
    if count > 0 {
        slf.conn_lost.set(count.saturating_add(1));
    }
    Ok(())
}

pub(super) fn define(table: &mut MethodTable<Datagram>) {
    table.fast_method(
        c"sendto",
        c"sendto($self, data, addr=None)\n--\n\nSend a datagram (bytes, bytearray or memoryview) without waiting.",
        sendto,
    );
}
