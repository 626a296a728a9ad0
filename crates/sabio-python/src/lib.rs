//! The Python face of sabio: the extension module `sabio._sabio`.
//!
//! Layers, bottom up: `ffi` (the only unsafe code), `names` and `asyncio` (what is taken from the interpreter),
//! `handle`, `future`, `task`, `step` and `coroutine` (what runs), `event_loop` (what runs it), `transport` (what
//! talks to the world).

#[cfg(Py_GIL_DISABLED)]
compile_error!(
    "sabio relies on the global interpreter lock and cannot be built for a free-threaded CPython (3.13t, 3.14t): \
     use the ordinary build of that version"
);

mod alarm;
mod any_task;
mod asyncio;
mod awaiter;
mod begun;
mod combinators;
mod copying;
mod coroutine;
mod coroutine_marks;
mod event_loop;
mod ffi;
mod foreign;
mod future;
mod future_core;
mod future_iterator;
mod handle;
mod held;
mod idle_signal;
mod image;
mod interpreter;
mod locks;
mod loop_binding;
mod names;
mod native_coroutine;
mod observer;
mod os_error;
mod outcome;
mod parked;
mod pause;
mod prompt;
mod queue;
mod running_loop;
mod sleep;
mod socket_module;
mod spawn;
mod stand_in;
mod step;
mod stream;
mod subprocess;
mod task;
mod taskgroup;
mod tasks;
mod thrown;
mod timeouts;
mod timer_handle;
mod transport;
mod wait_for;
mod waker;
mod wakeup;

/// The native part of sabio. Import `sabio` instead.
#[pyo3::pymodule]
mod _sabio {
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    use crate::ffi::{Global, Obj, is_first_start, is_main_interpreter, meet_interpreter};

    /// What kind of build this is, for `python -m sabio doctor`. `guided` is set by `scripts/guided.py`.
    const BUILD: &str = if cfg!(guided) {
        "guided by a profile"
    } else if cfg!(debug_assertions) {
        "checked"
    } else {
        "plain"
    };

    /// The names of the module as it was first made.
    static NAMES: Global<Obj> = Global::new();

    /// Makes the classes, once in a process: a module that is imported anew gets those that there are.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        meet_interpreter(py);
        if !is_main_interpreter(py) {
            // CPython 3.12 and newer see to it themselves, with these words.
            return Err(PyImportError::new_err(
                "module sabio._sabio does not support loading in subinterpreters",
            ));
        }
        if !is_first_start(py)? {
            return Err(PyImportError::new_err(
                "sabio cannot be used in an interpreter that was ended and started again in the same process: \
                 start it once, or use a process for each",
            ));
        }
        if let Some(names) = NAMES.try_get(py) {
            return module
                .dict()
                .update(names.bind(py).cast::<PyDict>()?.as_mapping());
        }
        crate::ffi::quiet_lack_of_memory();
        make(module)?;
        let names = PyDict::new(py);
        for name in module.index()? {
            names.set_item(&name, module.getattr(name.cast::<pyo3::types::PyString>()?)?)?;
        }
        // What is not for users is in the module, but not in its index.
        for (name, value) in module.dict() {
            if !name.extract::<&str>()?.starts_with("__") {
                names.set_item(name, value)?;
            }
        }
        names.set_item("__all__", module.index()?)?;
        NAMES.set(py, Obj::from(&names));
        Ok(())
    }

    fn make(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::names::init(module.py())?;
        crate::asyncio::init(module.py())?;
        crate::interpreter::init(module.py())?;
        crate::ffi::probe(module.py())?;
        crate::ffi::init_watched(module.py())?;
        crate::ffi::init_stop_iteration(module.py())?;
        crate::socket_module::init(module.py())?;
        crate::handle::init(module)?;
        crate::future::init(module)?;
        crate::task::init(module)?;
        crate::image::init(module.py())?;
        crate::coroutine::init(module)?;
        crate::foreign::init(module.py())?;
        crate::parked::init(module.py())?;
        crate::observer::init(module.py())?;
        crate::transport::init(module)?;
        crate::subprocess::init(module)?;
        crate::event_loop::init(module)?;
        crate::alarm::init(module.py())?;
        crate::stream::init(module)?;
        crate::sleep::init(module)?;
        crate::locks::init(module)?;
        crate::combinators::init(module)?;
        crate::queue::init(module)?;
        crate::prompt::init(module.py())?;
        crate::timeouts::init(module)?;
        crate::taskgroup::init(module)?;
        crate::wait_for::init(module)?;
        crate::tasks::init(module)?;
        crate::coroutine_marks::init(module)?;
        module.setattr("_shares_contexts", crate::ffi::is_sharing())?;
        module.setattr("_knows_tasks", crate::image::tasks(module.py()).is_some())?;
        module.setattr("_knows_futures", crate::image::futures(module.py()).is_some())?;
        #[cfg(Py_3_14)]
        module.setattr("_knows_running_task", crate::ffi::running::is_known())?;
        module.setattr("_build", BUILD)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
