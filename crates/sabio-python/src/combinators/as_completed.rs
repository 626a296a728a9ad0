//! `as_completed`: futures in the order in which they end (asyncio: Waiting Primitives), as a plain iterator of
//! coroutines or, as from 3.13, as an asynchronous iterator of the futures themselves; on every version.
//!
//! One observer watches the futures and owns everything; the iterator and its coroutines share the state.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::exceptions::{PyStopAsyncIteration, PyTimeoutError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PySet;
use sabio_sync::Waiters;

use super::distinct::Distinct;
use super::ensure::{ensure, is_awaitable};
use super::{add_awaiter, awaiting_task, discard_awaiter, event_loop_of_caller};
use crate::coroutine::create_for;
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, LocalQueue, Obj, ObjCell, Ref, Signature, Slot, Visit,
    add_function, call_method,
};
use crate::names::names;
use crate::observer::{Observe, Observer, unwatch, watch};
use crate::outcome;
use crate::waker::visit_waker;

/// What the observer, the iterator and its coroutines share.
struct Completions {
    /// The futures that have ended and were not asked for yet; None for each that the timeout has cut off.
    done: LocalQueue<Option<Obj>>,
    /// The coroutines that wait for one.
    waiters: Waiters,
    /// How many futures are pending, and with a timeout which.
    pending: Cell<usize>,
    todo: ObjCell,
    /// How many items the iterator has still to give.
    left: Cell<usize>,
    waiter: ObjCell,
    timer: ObjCell,
}

impl Observe for Rc<Completions> {
    /// A future is done, or (None in its place) the time is up.
    fn done(&self, py: Python<'_>, slf: &Ref<Observer>, future: &Obj) -> PyResult<()> {
        if self.pending.get() == 0 {
            return Ok(());
        }
        if future.bind(py).is_none() {
            return self.time_out(py, slf);
        }
        if let Some(todo) = self.todo.get() {
            todo.bind(py).call_method1("remove", (future.bind(py),))?;
        }
        let pending = self.pending.get() - 1;
        self.pending.set(pending);
        discard_awaiter(py, future, self.waiter.get().as_ref())?;
        self.put(Some(future.clone()));
        if pending == 0
            && let Some(timer) = self.timer.take()
        {
            call_method(py, &timer, &names(py)?.cancel, &[])?;
        }
        Ok(())
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.queue(&self.done, |visit, future| visit.option(future.as_ref()));
        self.waiters.visit(&mut |waker| visit_waker(visit, waker));
        visit.slot(&self.todo);
        visit.slot(&self.waiter);
        visit.slot(&self.timer);
    }

    fn clear(&self) {
        drop(self.done.take_all());
        self.todo.set(None);
        self.waiter.set(None);
        self.timer.set(None);
    }
}

impl Completions {
    fn put(&self, future: Option<Obj>) {
        self.done.push(future);
        self.waiters.wake_one();
    }

    /// Cuts off what is pending: each gives a TimeoutError to one coroutine.
    fn time_out(&self, py: Python<'_>, observer: &Ref<Observer>) -> PyResult<()> {
        let waiter = self.waiter.get();
        if let Some(todo) = self.todo.take() {
            for future in todo.bind(py).try_iter()? {
                let future = Obj::from(future?);
                unwatch(py, &future, observer)?;
                discard_awaiter(py, &future, waiter.as_ref())?;
            }
        }
        for _ in 0..self.pending.replace(0) {
            self.put(None);
        }
        Ok(())
    }

    /// The next future that has ended. TimeoutError for one that was cut off.
    async fn next(&self) -> PyResult<Obj> {
        loop {
            match self.done.pop() {
                Some(Some(future)) => return Ok(future),
                Some(None) => return Err(PyTimeoutError::new_err(())),
                None => self.waiters.wait().await,
            }
        }
    }

    /// Counts one item as given. False if none is left.
    fn give(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

/// What the iterator was made of, and from its start on what it shares with its coroutines.
pub(crate) struct AsCompleted {
    given: ObjCell,
    timeout: ObjCell,
    completions: RefCell<Option<Rc<Completions>>>,
    observer: Slot<Ref<Observer>>,
}

static AS_COMPLETED: ClassCell = ClassCell::new();

impl Class for AsCompleted {
    const NAME: &'static std::ffi::CStr = c"sabio._AsCompletedIterator";

    fn cell() -> &'static ClassCell {
        &AS_COMPLETED
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.given);
        visit.slot(&self.timeout);
        visit.slot(&self.observer);
    }

    fn clear(&self) {
        self.given.set(None);
        self.timeout.set(None);
        self.observer.set(None);
    }
}

impl AsCompleted {
    /// Makes the futures and begins to watch them, the first time.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let Some(given) = self.given.take() else {
            return Ok(());
        };
        let given = given.bind(py);
        check(given)?;
        let event_loop = event_loop_of_caller(py)?;
        let waiter = awaiting_task(py, &event_loop)?;
        let futures = make_futures(given, &event_loop)?;
        let completions = Rc::new(Completions {
            done: LocalQueue::with_capacity(futures.len()),
            waiters: Waiters::new(),
            pending: Cell::new(futures.len()),
            todo: ObjCell::new(None),
            left: Cell::new(futures.len()),
            waiter: ObjCell::new(waiter.clone()),
            timer: ObjCell::new(None),
        });
        let observer = Observer::create(py, Rc::clone(&completions))?;
        for future in &futures {
            watch(py, future, &observer)?;
            add_awaiter(py, future, waiter.as_ref())?;
        }
        let timeout = self.timeout.take();
        if let Some(timeout) = timeout.filter(|timeout| !timeout.bind(py).is_none() && !futures.is_empty()) {
            let todo = PySet::new(py, futures.iter().map(|future| future.bind(py)))?;
            completions.todo.set(Some(Obj::from(&todo)));
            let callback = Observer::callback(&observer, py)?;
            let timer = event_loop
                .bind(py)
                .call_method1("call_later", (timeout.bind(py), callback.bind(py), py.None()))?;
            completions.timer.set(Some(timer.into()));
        }
        self.observer.set(Some(observer));
        self.completions.replace(Some(completions));
        Ok(())
    }

    /// What there is to give, and the owner for a coroutine; nothing if the iterator could not start.
    fn started(&self, py: Python<'_>) -> PyResult<Option<(Rc<Completions>, Obj)>> {
        self.start(py)?;
        let completions = self.completions.borrow().as_ref().map(Rc::clone);
        Ok(completions.zip(self.observer.get().map(Ref::into_obj)))
    }
}

/// TypeError for one awaitable where several are meant.
fn check(given: &Bound<'_, PyAny>) -> PyResult<()> {
    if !is_awaitable(given)? {
        return Ok(());
    }
    let expected = if cfg!(Py_3_13) {
        "expects an iterable of awaitables"
    } else {
        "expect an iterable of futures"
    };
    let class = given.get_type().name()?;
    Err(PyTypeError::new_err(format!("{expected}, not {class}")))
}

/// `__next__`: a coroutine that gives the result of the next future or raises its exception.
fn next(slf: &Ref<AsCompleted>, py: Python<'_>) -> PyResult<Option<Obj>> {
    let Some((completions, owner)) = slf.started(py)? else {
        return Ok(None);
    };
    if !completions.give() {
        return Ok(None);
    }
    let name = "_AsCompletedIterator._wait_for_one";
    let coroutine = create_for(py, name, owner, async move {
        let future = completions.next().await?;
        Python::attach(|py| outcome::result(py, &future))
    })?;
    Ok(Some(coroutine))
}

/// `__anext__`: a coroutine that gives the next future.
fn anext(slf: &Ref<AsCompleted>, py: Python<'_>) -> PyResult<Obj> {
    let name = "_AsCompletedIterator.__anext__";
    let Some((completions, owner)) = slf.started(py)? else {
        return Err(PyStopAsyncIteration::new_err(()));
    };
    create_for(py, name, owner, async move {
        if !completions.give() {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        completions.next().await
    })
}

/// `as_completed(fs, *, timeout=None)`.
fn as_completed(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [given, timeout] = args.parse(&Signature {
        function: "as_completed",
        parameters: ["fs", "timeout"],
        required: 1,
        positional: 1,
    })?;
    let iterator = Ref::create(
        py,
        AsCompleted {
            given: ObjCell::new(given.map(Obj::from)),
            timeout: ObjCell::new(timeout.map(Obj::from)),
            completions: RefCell::new(None),
            observer: Slot::new(None),
        },
    )?;
    // Before 3.13 it is a generator, which starts when the first item is asked for.
    if cfg!(Py_3_13) {
        iterator.start(py)?;
    }
    Ok(iterator.into_obj())
}

/// A future for each argument that was not given before, in the order in which they were given.
fn make_futures(given: &Bound<'_, PyAny>, event_loop: &Obj) -> PyResult<Vec<Obj>> {
    let py = given.py();
    let arguments = given.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    let mut distinct = Distinct::with_capacity(arguments.len());
    let mut kept = Vec::with_capacity(arguments.len());
    for argument in &arguments {
        if distinct.insert(argument, 0)?.is_none() {
            kept.push(argument);
        }
    }
    let mut futures = Vec::with_capacity(kept.len());
    let mut made = Distinct::with_capacity(kept.len());
    for argument in kept {
        let future = ensure(argument, Some(event_loop))?;
        if made.insert(future.bind(py), 0)?.is_none() {
            futures.push(future);
        }
    }
    Ok(futures)
}

/// Builds the class and adds the function to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ClassBuilder::<AsCompleted>::new(
        c"The iterator that as_completed() gives: of coroutines, or asynchronously of futures.",
    )
    .iterator(next)
    .async_iterator(anext)
    .weakrefs()
    .build(module.py(), &Base::Object)?;
    add_function(
        module,
        c"as_completed",
        c"as_completed(fs, *, timeout=None)\n--\n\nAwaitables in the order in which they end: `for` gives coroutines, `async for` futures.",
        as_completed,
    )
}
