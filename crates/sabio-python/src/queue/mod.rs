//! `sabio.Queue`, `LifoQueue` and `PriorityQueue` (asyncio: Queues): the Python face of `sabio_sync::Queue`.
//!
//! One native class is under all three; what tells them apart is how [`Items`] keeps the items. The waiting, and the
//! rules of it, are in `sabio_sync`. What is here: `methods` for what Python calls, `items` for what holds the items
//! and for methods that a subclass overrides, `attributes` for what may be looked at, `errors` for the exceptions.
//!
//! Invariant: the coroutines of `put` and `get` own the queue and the item, and that of `join` the queue, so that the
//! garbage collector sees everything; a Rust future holds only the state behind the object.

mod attributes;
mod errors;
mod items;
mod limit;
mod methods;
mod overrides;

use std::rc::Rc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Global, Obj, Ref, Visit, public_class};
use crate::waker::{is_doomed, visit_waker};
use items::{Items, Kind};

/// The rules and the items of a queue.
type State = sabio_sync::Queue<Items>;

/// The data of a queue.
pub(crate) struct Queue {
    state: Rc<State>,
}

static QUEUE: ClassCell = ClassCell::new();

/// The three public classes.
struct Classes {
    queue: Obj,
    lifo: Obj,
    priority: Obj,
}

static CLASSES: Global<Classes> = Global::new();

impl Class for Queue {
    const NAME: &'static std::ffi::CStr = c"sabio.Queue";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &QUEUE
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.state.store().visit(visit);
        for waiters in [self.state.getters(), self.state.putters(), self.state.joiners()] {
            waiters.visit(&mut |waker| visit_waker(visit, waker));
        }
    }

    fn clear(&self) {
        self.state.store().clear();
    }
}

impl Queue {
    fn items(&self) -> &Items {
        self.state.store()
    }
}

/// The data of a new instance: which kind it is, and what its class overrides, does not change any more.
fn make(class: &Bound<'_, PyType>) -> PyResult<Queue> {
    let py = class.py();
    let kind = match CLASSES.try_get(py) {
        Some(classes) if class.is_subclass(classes.lifo.bind(py))? => Kind::Lifo,
        Some(classes) if class.is_subclass(classes.priority.bind(py))? => Kind::Priority,
        _ => Kind::Fifo,
    };
    let is_own = CLASSES.try_get(py).is_some_and(|classes| {
        [&classes.queue, &classes.lifo, &classes.priority]
            .iter()
            .any(|own| own.is(class))
    });
    let overridden = if is_own {
        overrides::Overrides::default()
    } else {
        overrides::Overrides::of(class)?
    };
    Ok(Queue {
        state: Rc::new(State::with_doomed(Items::new(py, kind, overridden)?, is_doomed)),
    })
}

/// `Queue.__init__(maxsize=0)`.
fn initialize(
    slf: &Ref<Queue>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = args.py();
    if args.len() > 1 {
        return Err(PyTypeError::new_err(format!(
            "Queue.__init__() takes from 1 to 2 positional arguments but {} were given",
            args.len() + 1
        )));
    }
    let mut maxsize = args.get_item(0).ok();
    for (name, value) in kwargs.into_iter().flatten() {
        if !name.eq("maxsize")? {
            return Err(PyTypeError::new_err(format!(
                "Queue.__init__() got an unexpected keyword argument '{name}'"
            )));
        }
        if maxsize.replace(value).is_some() {
            return Err(PyTypeError::new_err(
                "Queue.__init__() got multiple values for argument 'maxsize'",
            ));
        }
    }
    let maxsize = match maxsize {
        Some(maxsize) => maxsize,
        None => 0_usize.into_pyobject(py)?.into_any(),
    };
    let items = slf.items();
    if !items.overrides.is_empty() {
        items.know(py, slf.as_obj())?;
    }
    items.set_maxsize(&maxsize);
    slf.state.set_unfinished(0);
    items.initialize(py)
}

/// Builds the classes: the native core first, asyncio's class of the same name behind it.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    errors::init(module)?;
    items::init(py)?;
    let core = ClassBuilder::<Queue>::new(c"The native part of sabio's queues.")
        .members(methods::define)
        .members(attributes::define)
        .constructor(|class, _args, _kwargs| make(class))
        .initializer(initialize)
        .repr(attributes::repr)
        .build(py, &Base::Object)?;
    let asyncio = py.import("asyncio.queues")?;
    let queue = public_class(
        py,
        "Queue",
        &[&core, &asyncio.getattr("Queue")?],
        "Queue(maxsize=0)\n--\n\nA queue between tasks (asyncio: Queues), written in Rust. At most maxsize items wait \
         in it; zero and less stand for no limit.",
    )?;
    let lifo = public_class(
        py,
        "LifoQueue",
        &[&queue, &asyncio.getattr("LifoQueue")?],
        "LifoQueue(maxsize=0)\n--\n\nA Queue that gives the newest item first.",
    )?;
    let priority = public_class(
        py,
        "PriorityQueue",
        &[&queue, &asyncio.getattr("PriorityQueue")?],
        "PriorityQueue(maxsize=0)\n--\n\nA Queue that gives the smallest item first.",
    )?;
    overrides::init(&[&queue, &lifo, &priority])?;
    QUEUE.set_public(&queue)?;
    CLASSES.set(
        py,
        Classes {
            queue: Obj::from(&queue),
            lifo: Obj::from(&lifo),
            priority: Obj::from(&priority),
        },
    );
    module.add("Queue", queue)?;
    module.add("LifoQueue", lifo)?;
    module.add("PriorityQueue", priority)
}
