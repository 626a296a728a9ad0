//! `QueueEmpty`, `QueueFull` and `QueueShutDown`: asyncio's own classes. Before 3.13 asyncio has no `QueueShutDown`, and
//! ours is made here.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use sabio_sync::{GetError, PutError, WaitError};

use crate::ffi::{Global, Obj};

struct Errors {
    empty: Obj,
    full: Obj,
    shut_down: Obj,
}

static ERRORS: Global<Errors> = Global::new();

fn raise(class: impl FnOnce(&Errors) -> &Obj) -> PyErr {
    Python::attach(|py| match ERRORS.get(py) {
        Ok(errors) => match class(errors).bind(py).cast::<PyType>() {
            Ok(class) => PyErr::from_type(class.clone(), ()),
            Err(error) => error.into(),
        },
        Err(error) => error,
    })
}

/// The exception of a wait that ended.
#[cold]
pub(super) fn wait_error(error: WaitError<PyErr>) -> PyErr {
    match error {
        WaitError::ShutDown => raise(|errors| &errors.shut_down),
        WaitError::Store(error) => error,
    }
}

/// The exception of a `put_nowait`. Drops the item.
#[cold]
pub(super) fn put_error(error: PutError<Obj, PyErr>) -> PyErr {
    match error {
        PutError::Full(_) => raise(|errors| &errors.full),
        PutError::ShutDown(_) => raise(|errors| &errors.shut_down),
        PutError::Store(error) => error,
    }
}

/// The exception of a `get_nowait`.
#[cold]
pub(super) fn get_error(error: GetError<PyErr>) -> PyErr {
    match error {
        GetError::Empty => raise(|errors| &errors.empty),
        GetError::ShutDown => raise(|errors| &errors.shut_down),
        GetError::Store(error) => error,
    }
}

/// Finds asyncio's classes, and adds to the module the one that not every version of asyncio has.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let asyncio = py.import("asyncio.queues")?;
    let empty = asyncio.getattr("QueueEmpty")?;
    let full = asyncio.getattr("QueueFull")?;
    let shut_down = match asyncio.getattr_opt("QueueShutDown")? {
        Some(class) => class,
        None => {
            let namespace = PyDict::new(py);
            namespace.set_item("__module__", "sabio")?;
            namespace.set_item("__doc__", "Put to or get from a queue that was shut down.")?;
            py.get_type::<PyType>()
                .call1(("QueueShutDown", (py.get_type::<PyException>(),), namespace))?
        }
    };
    ERRORS.set(
        py,
        Errors {
            empty: Obj::from(&empty),
            full: Obj::from(&full),
            shut_down: Obj::from(&shut_down),
        },
    );
    module.add("QueueShutDown", shut_down)
}
