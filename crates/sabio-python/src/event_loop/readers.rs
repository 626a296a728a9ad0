//! Watching descriptors (asyncio: Watching file descriptors): `add_reader`, `add_writer` and their removal.
//!
//! A descriptor is given as a number or as an object with `fileno()`; such an object is kept for as long as it is
//! watched, so that it is not closed by the collector, and can still be removed after its owner has closed it.
//! Descriptors that a transport owns are refused. Called by users; `run` passes on what the reactor reports.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::RawFd;

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use sabio_reactor::Token;

use super::{Loop, Ready};
use crate::ffi::Captured;
use crate::ffi::{Args, MethodTable, Obj, Ref, Visit, context_copy_current};
use crate::handle::{Handle, Kind};
use crate::names::names;
use crate::os_error::os_error;
use crate::transport::check_unused;

/// Which way a watched descriptor is to be ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// The objects that stand for watched descriptors, by number.
#[derive(Default)]
pub(crate) struct Files(RefCell<HashMap<RawFd, Watched>>);

struct Watched {
    file: Obj,
    reader: bool,
    writer: bool,
}

impl Watched {
    fn direction(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

impl Files {
    /// What stands for `fd` so far.
    fn file(&self, fd: RawFd) -> Option<Obj> {
        self.0.borrow().get(&fd).map(|watched| watched.file.clone())
    }

    /// Forgets what stands for `fd`. The caller drops what comes back.
    fn forget(&self, fd: RawFd) -> Option<Obj> {
        let watched = self.0.borrow_mut().remove(&fd);
        watched.map(|watched| watched.file)
    }

    /// Keeps `file` (None: a bare number) as what stands for `fd`, unless something does already.
    fn keep(&self, fd: RawFd, file: Option<Obj>, direction: Direction) {
        let mut files = self.0.borrow_mut();
        if let Some(watched) = files.get_mut(&fd) {
            *watched.direction(direction) = true;
        } else if let Some(file) = file {
            let mut watched = Watched {
                file,
                reader: false,
                writer: false,
            };
            *watched.direction(direction) = true;
            files.insert(fd, watched);
        }
    }

    /// Lets the object go when nothing watches it any more. The caller drops what comes back.
    fn release(&self, fd: RawFd, direction: Direction) -> Option<Obj> {
        let mut files = self.0.borrow_mut();
        let watched = files.get_mut(&fd)?;
        *watched.direction(direction) = false;
        if watched.reader || watched.writer {
            return None;
        }
        files.remove(&fd).map(|watched| watched.file)
    }

    /// The number under which `file` was given, which has been closed since.
    fn number_of(&self, file: &Bound<'_, PyAny>) -> Option<RawFd> {
        let files = self.0.borrow();
        let found = files.iter().find(|(_, watched)| watched.file.is(file));
        found.map(|(fd, _)| *fd)
    }

    /// Takes all objects out, to be dropped by the caller.
    pub(super) fn take_all(&self) -> Vec<Obj> {
        let files = self.0.take();
        files.into_values().map(|watched| watched.file).collect()
    }

    /// Shows the objects to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        if let Ok(files) = self.0.try_borrow() {
            files.values().for_each(|watched| visit.obj(&watched.file));
        }
    }
}

/// The number of a descriptor, -1 for a closed one. ValueError for what is neither a number nor has one.
fn number(file: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    if file.is_instance_of::<PyInt>() {
        return file.extract();
    }
    let py = file.py();
    let number = file
        .call_method0(names(py)?.fileno.text(py))
        .and_then(|number| py.get_type::<PyInt>().call1((number,))?.extract());
    number.map_err(|error| {
        if error.is_instance_of::<PyAttributeError>(py)
            || error.is_instance_of::<PyTypeError>(py)
            || error.is_instance_of::<PyValueError>(py)
        {
            return match file.repr() {
                Ok(text) => PyValueError::new_err(format!("Invalid file object: {text}")),
                Err(error) => error,
            };
        }
        error
    })
}

#[cold]
fn invalid_descriptor(fd: RawFd) -> PyErr {
    PyValueError::new_err(format!("Invalid file descriptor: {fd}"))
}

/// `add_reader(fd, callback, *args)` and `add_writer`.
fn add_public(
    slf: &Ref<Loop>,
    args: Args<'_, '_>,
    function: &'static str,
    direction: Direction,
) -> PyResult<()> {
    let (file, callback) = args.leading_pair(function, ["fd", "callback"])?;
    add(slf, file, callback, None, args, direction).map(|_| ())
}

/// `_add_reader(fd, callback, *args, context=None)` and `_add_writer`: the new handle.
fn add_private(
    slf: &Ref<Loop>,
    args: Args<'_, '_>,
    function: &'static str,
    direction: Direction,
) -> PyResult<Ref<Handle>> {
    let (Some(file), Some(callback)) = (args.get(0), args.get(1)) else {
        return Err(PyTypeError::new_err(format!(
            "{function}() takes a file and a callback"
        )));
    };
    let context = args.only_keyword(function, &names(args.py())?.context_keyword)?;
    add(slf, file, callback, context, args, direction)
}

/// Watches `file`; what `args` holds behind file and callback is the callback's.
fn add(
    slf: &Ref<Loop>,
    file: &Bound<'_, PyAny>,
    callback: &Bound<'_, PyAny>,
    context: Option<&Bound<'_, PyAny>>,
    args: Args<'_, '_>,
    direction: Direction,
) -> PyResult<Ref<Handle>> {
    let py = file.py();
    let fd = number(file)?;
    check_unused(slf, file, fd)?;
    slf.check_closed()?;
    if fd < 0 {
        return Err(invalid_descriptor(fd));
    }
    let context = match context.filter(|context| !context.is_none()) {
        Some(context) => Obj::from(context),
        None => context_copy_current(py)?,
    };
    let data = Handle::new(
        Obj::from(callback),
        Captured {
            context,
            shared: false,
        },
        slf.clone(),
        Kind::Persistent,
    );
    let handle = Ref::create(py, data)?;
    handle.arguments().fill(args.positional_from(2));
    if slf.debug() {
        handle.record_source(py)?;
    }
    slf.expect_events();
    let added = match direction {
        Direction::Read => slf.reactor().add_reader(fd, handle.clone()),
        Direction::Write => slf.reactor().add_writer(fd, handle.clone()),
    };
    let previous = added.map_err(os_error)?;
    keep_file(slf, fd, file, direction);
    if let Some(previous) = previous {
        Handle::cancel(&previous, py)?;
    }
    Ok(handle)
}

/// Notes what the user calls `fd`. A closed file whose number was reused since must not stand for the new one.
fn keep_file(slf: &Ref<Loop>, fd: RawFd, file: &Bound<'_, PyAny>, direction: Direction) {
    let is_number = file.is_instance_of::<PyInt>();
    if let Some(before) = slf.files.file(fd) {
        let before = before.bind(file.py());
        if !before.is(file) && (!is_number || !matches!(number(before), Ok(now) if now == fd)) {
            drop(slf.files.forget(fd));
        }
    }
    let file = (!is_number).then(|| Obj::from(file));
    slf.files.keep(fd, file, direction);
}

/// Stops watching `fd`: the handle that was called so far.
fn forget(slf: &Ref<Loop>, fd: RawFd, direction: Direction) -> Option<Ref<Handle>> {
    let handle = match direction {
        Direction::Read => slf.reactor().remove_reader(fd),
        Direction::Write => slf.reactor().remove_writer(fd),
    };
    drop(slf.files.release(fd, direction));
    handle
}

/// `remove_reader(fd)` and `remove_writer`: whether there was one.
fn remove(slf: &Ref<Loop>, file: &Bound<'_, PyAny>, direction: Direction) -> PyResult<bool> {
    let mut fd = number(file)?;
    check_unused(slf, file, fd)?;
    if slf.is_closed() {
        return Ok(false);
    }
    if fd < 0 {
        fd = slf.files.number_of(file).ok_or_else(|| invalid_descriptor(fd))?;
    }
    match forget(slf, fd, direction) {
        Some(handle) => {
            Handle::cancel(&handle, file.py())?;
            Ok(true)
        }
        None => Ok(false),
    }
}

/// Puts the handles of a descriptor that is ready on the ready queue. One that was cancelled by itself, not removed, is
/// removed now: the poller would report its descriptor for ever.
pub(super) fn ready(slf: &Ref<Loop>, token: Token, reader: Option<Ref<Handle>>, writer: Option<Ref<Handle>>) {
    for (direction, handle) in [(Direction::Read, reader), (Direction::Write, writer)] {
        let Some(handle) = handle else { continue };
        if !handle.is_cancelled() {
            slf.push(Ready::Call(handle));
        } else if let Some(fd) = slf.reactor().descriptor(token) {
            drop(forget(slf, fd, direction));
        }
    }
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"add_reader",
            c"add_reader($self, fd, callback, *args)\n--\n\nCall callback(*args) whenever fd (a number or an object with fileno()) is readable.",
            |slf, args| add_public(slf, args, "add_reader", Direction::Read),
        )
        .method(
            c"add_writer",
            c"add_writer($self, fd, callback, *args)\n--\n\nCall callback(*args) whenever fd (a number or an object with fileno()) is writable.",
            |slf, args| add_public(slf, args, "add_writer", Direction::Write),
        )
        .method(
            c"remove_reader",
            c"remove_reader($self, fd)\n--\n\nStop watching fd for reading; whether it was watched.",
            |slf, args| remove(slf, args.single("remove_reader", "fd")?, Direction::Read),
        )
        .method(
            c"remove_writer",
            c"remove_writer($self, fd)\n--\n\nStop watching fd for writing; whether it was watched.",
            |slf, args| remove(slf, args.single("remove_writer", "fd")?, Direction::Write),
        )
        .method(
            c"_add_reader",
            c"_add_reader($self, fd, callback, /, *args, context=None)\n--\n\nAs add_reader(); gives the handle.",
            |slf, args| add_private(slf, args, "_add_reader", Direction::Read),
        )
        .method(
            c"_add_writer",
            c"_add_writer($self, fd, callback, /, *args, context=None)\n--\n\nAs add_writer(); gives the handle.",
            |slf, args| add_private(slf, args, "_add_writer", Direction::Write),
        )
        .fast_onearg(
            c"_remove_reader",
            c"_remove_reader($self, fd, /)\n--\n\nAs remove_reader().",
            |slf, file| remove(slf, file, Direction::Read),
        )
        .fast_onearg(
            c"_remove_writer",
            c"_remove_writer($self, fd, /)\n--\n\nAs remove_writer().",
            |slf, file| remove(slf, file, Direction::Write),
        );
}
