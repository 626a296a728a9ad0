//! The methods of queues.

use std::rc::Rc;
use std::task::{Poll, ready};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use sabio_sync::{Line, Place};

use super::errors::{get_error, put_error, wait_error};
use super::overrides::Method;
use super::{Queue, State};
use crate::begun::Wait;
use crate::coroutine;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature, call_method};
use crate::names::names;

/// `put(item)`: a coroutine.
fn put(slf: &Ref<Queue>, args: Args<'_, '_>) -> PyResult<Obj> {
    let item = Obj::from(args.single("put", "item")?);
    coroutine::create_waiting(args.py(), "Queue.put", slf.as_obj().clone(), Some(item), &PUT)
}

/// The item is the coroutine's until it is put.
static PUT: Wait = Wait {
    at_once: |py, owner, item| {
        let state = state_of(py, owner)?;
        if !state.store().has_room_at_once() {
            return Ok(None);
        }
        let item = item.take().unwrap_or_else(|| Obj::none(py));
        state.put_nowait(item).map_err(put_error)?;
        Ok(Some(Obj::none(py)))
    },
    poll: |py, owner, item, place, cx| {
        let state = state_of(py, owner)?;
        state.store().know(py, owner)?;
        ready!(state.poll_turn(Line::Putters, place, cx)).map_err(wait_error)?;
        let item = item.take().unwrap_or_else(|| Obj::none(py));
        if state.store().overrides.has(Method::PutNowait) {
            call_method(py, owner, &names(py)?.put_nowait, &[&item])?;
        } else {
            state.put_nowait(item).map_err(put_error)?;
        }
        Poll::Ready(Ok(Obj::none(py)))
    },
    take_waker: |py, owner, place| state_of(py, owner).ok()?.putters().take_waker(place),
    leave: |py, owner, place| leave(py, owner, Line::Putters, place),
};

/// `get()`: a coroutine.
fn get(slf: &Ref<Queue>, py: Python<'_>) -> PyResult<Obj> {
    coroutine::create_waiting(py, "Queue.get", slf.as_obj().clone(), None, &GET)
}

static GET: Wait = Wait {
    at_once: |py, owner, _argument| {
        let state = state_of(py, owner)?;
        if !state.store().has_item_at_once() {
            return Ok(None);
        }
        Ok(Some(state.get_nowait().map_err(get_error)?))
    },
    poll: |py, owner, _argument, place, cx| {
        let state = state_of(py, owner)?;
        state.store().know(py, owner)?;
        ready!(state.poll_turn(Line::Getters, place, cx)).map_err(wait_error)?;
        Poll::Ready(if state.store().overrides.has(Method::GetNowait) {
            call_method(py, owner, &names(py)?.get_nowait, &[])
        } else {
            Ok(state.get_nowait().map_err(get_error)?)
        })
    },
    take_waker: |py, owner, place| state_of(py, owner).ok()?.getters().take_waker(place),
    leave: |py, owner, place| leave(py, owner, Line::Getters, place),
};

/// A coroutine that waited in a line of the queue will not go on.
fn leave(py: Python<'_>, owner: &Obj, line: Line, place: &Place) {
    if let Ok(state) = state_of(py, owner) {
        state.leave(line, place);
    }
}

/// The state of the queue whose coroutine it is.
#[inline]
fn state_of<'a>(py: Python<'a>, owner: &'a Obj) -> PyResult<&'a Rc<State>> {
    match Ref::<Queue>::downcast(owner.bind(py)) {
        Some(queue) => Ok(&queue.state),
        None => Err(PyTypeError::new_err("not a queue of sabio's")),
    }
}

fn put_nowait(slf: &Ref<Queue>, args: Args<'_, '_>) -> PyResult<()> {
    let item = Obj::from(args.single("put_nowait", "item")?);
    slf.state.put_nowait(item).map_err(put_error)
}

fn get_nowait(slf: &Ref<Queue>, _py: Python<'_>) -> PyResult<Obj> {
    slf.state.get_nowait().map_err(get_error)
}

fn task_done(slf: &Ref<Queue>, _py: Python<'_>) -> PyResult<()> {
    slf.state
        .task_done()
        .map_err(|_| PyValueError::new_err("task_done() called too many times"))
}

/// `join()`: a coroutine.
fn join(slf: &Ref<Queue>, py: Python<'_>) -> PyResult<Obj> {
    let state = Rc::clone(&slf.state);
    state.store().know(py, slf.as_obj())?;
    let none = Obj::none(py);
    coroutine::create_for(py, "Queue.join", slf.as_obj().clone(), async move {
        if state.unfinished() > 0 {
            let items = state.store();
            items.join_loop.bind_as(|py| items.itself(py))?;
            state.join().await;
        }
        Ok(none)
    })
}

fn shutdown(slf: &Ref<Queue>, args: Args<'_, '_>) -> PyResult<()> {
    let [immediate] = args.parse(&Signature {
        function: "shutdown",
        parameters: ["immediate"],
        required: 0,
        positional: 1,
    })?;
    let immediate = immediate.map_or(Ok(false), |immediate| immediate.is_truthy())?;
    slf.state.shutdown(immediate)
}

/// Adds the methods to the class.
pub(super) fn define(table: &mut MethodTable<Queue>) {
    table
        .fast_method(
            c"put",
            c"put($self, /, item)\n--\n\nPut an item, waiting for room if the queue is full. QueueShutDown.",
            put,
        )
        .fast_noargs(
            c"get",
            c"get($self, /)\n--\n\nTake the next item, waiting until there is one. QueueShutDown.",
            get,
        )
        .fast_method(
            c"put_nowait",
            c"put_nowait($self, /, item)\n--\n\nPut an item. QueueFull, QueueShutDown.",
            put_nowait,
        )
        .fast_noargs(
            c"get_nowait",
            c"get_nowait($self, /)\n--\n\nTake the next item. QueueEmpty, QueueShutDown.",
            get_nowait,
        )
        .fast_noargs(
            c"task_done",
            c"task_done($self, /)\n--\n\nOne item that was taken is dealt with. ValueError if all were.",
            task_done,
        )
        .fast_noargs(
            c"join",
            c"join($self, /)\n--\n\nWait until every item that was put is dealt with.",
            join,
        )
        .method(
            c"shutdown",
            c"shutdown($self, /, immediate=False)\n--\n\nEnd the queue: put() raises QueueShutDown from now on, and get() when the queue is empty, or at once if immediate.",
            shutdown,
        )
        .fast_noargs(c"qsize", c"qsize($self, /)\n--\n\nHow many items there are.", |slf, py| {
            slf.items().own_len(py)
        })
        .fast_noargs(c"empty", c"empty($self, /)\n--\n\nWhether there is no item.", |slf, py| {
            slf.items().own_is_empty(py)
        })
        .fast_noargs(c"full", c"full($self, /)\n--\n\nWhether there are maxsize items.", |slf, py| {
            slf.items().own_is_full(py)
        })
        .method(c"_init", c"_init($self, /, maxsize)\n--\n\nStart without items; to be overridden.", |slf, args| {
            args.single("_init", "maxsize")?;
            slf.items().reset(args.py());
            Ok(())
        })
        .method(c"_put", c"_put($self, /, item)\n--\n\nTake an item in; to be overridden.", |slf, args| {
            slf.items().own_put(args.py(), &Obj::from(args.single("_put", "item")?))
        })
        .noargs(c"_get", c"_get($self, /)\n--\n\nGive the next item; to be overridden.", |slf, py| {
            slf.items().own_get(py)
        });
}
