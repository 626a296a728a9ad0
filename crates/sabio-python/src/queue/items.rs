//! What a queue's items are kept in.
//!
//! A `Queue` or `LifoQueue` keeps them natively until somebody asks for `_queue` or sets it; from then on they are in
//! that Python object, which both sides use. A `PriorityQueue` has a list from the start, ordered by the C functions of
//! `heapq`, which survive comparisons that raise or come back. Methods that a subclass overrides are called on it.

use std::cell::Cell;
use std::task::Waker;

use pyo3::exceptions::{PyIndexError, PyReferenceError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyWeakrefMethods, PyWeakrefReference};
use sabio_sync::Store;

use super::limit::Limit;
use super::overrides::{Method, Overrides};
use crate::ffi::{Global, LocalQueue, NativeFunction, Obj, ObjCell, Visit, call_method};
use crate::loop_binding::LoopBinding;
use crate::names::names;

/// The order of the items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Fifo,
    Lifo,
    Priority,
}

/// The items of a queue, and what else its state needs of Python.
pub(super) struct Items {
    kind: Kind,
    pub(super) overrides: Overrides,
    /// Whether everything is done natively: nothing is overridden, and the items are in `native`.
    plain: Cell<bool>,
    native: LocalQueue<Obj>,
    /// The Python object that holds the items, if one does; `native` is empty then.
    object: ObjCell,
    maxsize: ObjCell,
    limit: Cell<Limit>,
    /// A weak reference to the queue: for overridden methods, and for its `repr` in errors. Most queues have no use for
    /// it until somebody waits.
    itself: ObjCell,
    /// The loop of those who wait for items or room, and of those in `join()`.
    pub(super) event_loop: LoopBinding,
    pub(super) join_loop: LoopBinding,
}

/// `heapq.heappush` and `heapq.heappop`, and `collections.deque`.
struct Helpers {
    push: NativeFunction,
    pop: NativeFunction,
    deque: Obj,
}

static HELPERS: Global<Helpers> = Global::new();

/// Finds the functions.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let heapq = py.import("heapq")?;
    HELPERS.set(
        py,
        Helpers {
            push: NativeFunction::new(&heapq.getattr("heappush")?),
            pop: NativeFunction::new(&heapq.getattr("heappop")?),
            deque: py.import("collections")?.getattr("deque")?.into(),
        },
    );
    Ok(())
}

/// A new `collections.deque` of these objects.
pub(super) fn deque(py: Python<'_>, objects: &Bound<'_, PyList>) -> PyResult<Obj> {
    Ok(HELPERS.get(py)?.deque.bind(py).call1((objects,))?.into())
}

impl Items {
    /// No items, without a limit.
    pub(super) fn new(py: Python<'_>, kind: Kind, overrides: Overrides) -> PyResult<Items> {
        let items = Items {
            kind,
            overrides,
            plain: Cell::new(false),
            native: LocalQueue::with_capacity(0),
            object: ObjCell::new(None),
            maxsize: ObjCell::new(None),
            limit: Cell::new(Limit::None),
            itself: ObjCell::new(None),
            event_loop: LoopBinding::default(),
            join_loop: LoopBinding::default(),
        };
        items.reset(py);
        Ok(items)
    }

    /// The queue itself. ReferenceError once the garbage collector has it.
    pub(super) fn itself(&self, py: Python<'_>) -> PyResult<Obj> {
        let itself = self.itself.get();
        let upgraded = match &itself {
            Some(weak) => weak.bind(py).cast::<PyWeakrefReference>()?.upgrade(),
            None => None,
        };
        upgraded
            .map(Obj::from)
            .ok_or_else(|| PyReferenceError::new_err("the queue is gone"))
    }

    /// Makes sure that the queue, which is `owner`, can be found from here.
    #[inline]
    pub(super) fn know(&self, py: Python<'_>, owner: &Obj) -> PyResult<()> {
        if self.itself.is_none() {
            self.itself
                .set(Some(PyWeakrefReference::new(owner.bind(py))?.into_any().into()));
        }
        Ok(())
    }

    /// `maxsize`, as it was given.
    pub(super) fn maxsize(&self) -> Option<Obj> {
        self.maxsize.get()
    }

    /// Sets the limit.
    pub(super) fn set_maxsize(&self, maxsize: &Bound<'_, PyAny>) {
        self.limit.set(Limit::of(maxsize));
        self.maxsize.set(Some(Obj::from(maxsize)));
    }

    /// Starts without items: `_init(maxsize)`.
    pub(super) fn initialize(&self, py: Python<'_>) -> PyResult<()> {
        if self.overrides.has(Method::Init) {
            let maxsize = self.maxsize().unwrap_or_else(|| Obj::none(py));
            call_method(py, &self.itself(py)?, &names(py)?.queue_init, &[&maxsize])?;
        } else {
            self.reset(py);
        }
        Ok(())
    }

    /// Forgets the items: `_init` of our classes.
    pub(super) fn reset(&self, py: Python<'_>) {
        let object = (self.kind == Kind::Priority).then(|| Obj::from(PyList::empty(py)));
        self.plain.set(object.is_none() && self.overrides.is_empty());
        self.object.set(object);
        drop(self.native.take_all());
    }

    /// `_queue`: the items as a Python object, in which they are from now on.
    pub(super) fn object(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(object) = self.object.get() {
            return Ok(object);
        }
        let list = PyList::empty(py);
        let object = match self.kind {
            Kind::Fifo => deque(py, &list)?,
            Kind::Lifo | Kind::Priority => Obj::from(&list),
        };
        self.plain.set(false);
        self.object.set(Some(object.clone()));
        for item in self.native.take_all() {
            call_method(py, &object, &names(py)?.append, &[&item])?;
        }
        Ok(object)
    }

    /// The items for a copy of the queue: the Python object that holds them, or one of the same items.
    pub(super) fn copied(&self, py: Python<'_>) -> PyResult<Obj> {
        let shown = self.shown(py)?;
        match self.kind {
            Kind::Fifo if self.object.is_none() => deque(py, shown.bind(py).cast()?),
            Kind::Fifo | Kind::Lifo | Kind::Priority => Ok(shown),
        }
    }

    /// Puts a Python object in the place of the items.
    pub(super) fn set_object(&self, object: Obj) {
        self.plain.set(false);
        self.object.set(Some(object));
        drop(self.native.take_all());
    }

    /// The items for a `repr`: the Python object that holds them, or a list of them.
    pub(super) fn shown(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(object) = self.object.get() {
            return Ok(object);
        }
        let items = self.native.snapshot();
        let list = PyList::new(py, items.iter().map(|item| item.bind(py)))?;
        Ok(Obj::from(&list))
    }

    /// `qsize()` of our classes.
    pub(super) fn own_len(&self, py: Python<'_>) -> PyResult<usize> {
        match self.object.get() {
            None => Ok(self.native.len()),
            Some(object) => object.bind(py).len(),
        }
    }

    /// `empty()` of our classes.
    pub(super) fn own_is_empty(&self, py: Python<'_>) -> PyResult<bool> {
        match self.object.get() {
            None => Ok(self.native.is_empty()),
            Some(object) => Ok(!object.bind(py).is_truthy()?),
        }
    }

    /// `full()` of our classes.
    pub(super) fn own_is_full(&self, py: Python<'_>) -> PyResult<bool> {
        let limit = self.limit.get();
        if limit == Limit::None {
            return Ok(false);
        }
        if limit == Limit::Object
            && let Some(maxsize) = self.maxsize.get()
            && maxsize.bind(py).le(0)?
        {
            return Ok(false);
        }
        if let Limit::Items(limit) = limit
            && !self.overrides.has(Method::QSize)
        {
            return Ok(self.own_len(py)? >= limit);
        }
        let size = if self.overrides.has(Method::QSize) {
            call_method(py, &self.itself(py)?, &names(py)?.qsize, &[])?.into_bound(py)
        } else {
            self.own_len(py)?.into_pyobject(py)?.into_any()
        };
        let maxsize = self.maxsize.get().unwrap_or_else(|| Obj::none(py));
        size.ge(maxsize.bind(py))
    }

    /// `_put(item)` of our classes.
    pub(super) fn own_put(&self, py: Python<'_>, item: &Obj) -> PyResult<()> {
        let Some(object) = self.object.get() else {
            self.native.make_room()?;
            self.native.push(item.clone());
            return Ok(());
        };
        match self.kind {
            Kind::Fifo | Kind::Lifo => call_method(py, &object, &names(py)?.append, &[item])?,
            Kind::Priority => HELPERS.get(py)?.push.call(py, [&object, item])?,
        };
        Ok(())
    }

    /// `_get()` of our classes.
    pub(super) fn own_get(&self, py: Python<'_>) -> PyResult<Obj> {
        let Some(object) = self.object.get() else {
            return self.take_native().ok_or_else(|| {
                PyIndexError::new_err(match self.kind {
                    Kind::Fifo => "pop from an empty deque",
                    Kind::Lifo | Kind::Priority => "pop from empty list",
                })
            });
        };
        Ok(match self.kind {
            Kind::Fifo => call_method(py, &object, &names(py)?.popleft, &[])?,
            Kind::Lifo => call_method(py, &object, &names(py)?.pop, &[])?,
            Kind::Priority => HELPERS.get(py)?.pop.call(py, [&object])?,
        })
    }

    /// Whether an item can be put without waiting and without asking Python.
    #[inline]
    pub(super) fn has_room_at_once(&self) -> bool {
        self.plain.get()
            && match self.limit.get() {
                Limit::None => true,
                Limit::Items(limit) => self.native.len() < limit,
                Limit::Object => false,
            }
    }

    /// Whether an item can be taken without waiting and without asking Python.
    #[inline]
    pub(super) fn has_item_at_once(&self) -> bool {
        self.plain.get() && !self.native.is_empty()
    }

    #[inline]
    fn take_native(&self) -> Option<Obj> {
        match self.kind {
            Kind::Fifo => self.native.pop(),
            Kind::Lifo | Kind::Priority => self.native.pop_newest(),
        }
    }

    #[cold]
    fn is_empty_slowly(&self) -> PyResult<bool> {
        Python::attach(|py| {
            if self.overrides.has(Method::Empty) {
                let empty = call_method(py, &self.itself(py)?, &names(py)?.empty_method, &[])?;
                return empty.bind(py).is_truthy();
            }
            self.own_is_empty(py)
        })
    }

    #[cold]
    fn is_full_slowly(&self) -> PyResult<bool> {
        Python::attach(|py| {
            if self.overrides.has(Method::Full) {
                let full = call_method(py, &self.itself(py)?, &names(py)?.full, &[])?;
                return full.bind(py).is_truthy();
            }
            self.own_is_full(py)
        })
    }

    #[cold]
    fn put_slowly(&self, item: &Obj) -> PyResult<()> {
        Python::attach(|py| {
            if self.overrides.has(Method::Put) {
                call_method(py, &self.itself(py)?, &names(py)?.queue_put, &[item])?;
                return Ok(());
            }
            self.own_put(py, item)
        })
    }

    #[cold]
    fn get_slowly(&self) -> PyResult<Obj> {
        Python::attach(|py| {
            if self.overrides.has(Method::Get) {
                return Ok(call_method(py, &self.itself(py)?, &names(py)?.queue_get, &[])?);
            }
            self.own_get(py)
        })
    }

    /// Shows what the queue owns to the garbage collector.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.queue(&self.native, |visit, item| visit.obj(item));
        for slot in [&self.object, &self.maxsize, &self.itself] {
            visit.slot(slot);
        }
        self.event_loop.visit(visit);
        self.join_loop.visit(visit);
    }

    /// Lets go of what may be part of a cycle.
    pub(super) fn clear(&self) {
        drop(self.native.take_all());
        self.object.set(None);
        self.event_loop.set(None);
        self.join_loop.set(None);
    }
}

impl Store for Items {
    type Item = Obj;
    type Error = PyErr;

    #[inline]
    fn is_empty(&self) -> PyResult<bool> {
        if self.plain.get() {
            return Ok(self.native.is_empty());
        }
        self.is_empty_slowly()
    }

    #[inline]
    fn is_full(&self) -> PyResult<bool> {
        if self.plain.get() {
            match self.limit.get() {
                Limit::None => return Ok(false),
                Limit::Items(limit) => return Ok(self.native.len() >= limit),
                Limit::Object => {}
            }
        }
        self.is_full_slowly()
    }

    #[inline]
    fn put(&self, item: Obj) -> PyResult<()> {
        if self.plain.get() {
            self.native.make_room()?;
            self.native.push(item);
            return Ok(());
        }
        self.put_slowly(&item)
    }

    #[inline]
    fn get(&self) -> PyResult<Option<Obj>> {
        if self.plain.get() {
            return Ok(self.take_native());
        }
        self.get_slowly().map(Some)
    }

    #[inline(always)]
    fn before_waiting(&self, waker: &Waker) -> PyResult<()> {
        self.event_loop.bind_for(waker, |py| self.itself(py))
    }
}
