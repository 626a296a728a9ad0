//! Functions of the interpreter's own modules that a loop calls whenever it starts, stops or ends. Looked up once, when
//! the module is initialised: an import costs more than such a call, and fails when the interpreter is shutting down.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::ffi::{Global, Obj, set_traced};

/// The functions.
pub(crate) struct Interpreter {
    /// `sys.get_asyncgen_hooks()` and its counterpart.
    pub(crate) get_asyncgen_hooks: Obj,
    pub(crate) set_asyncgen_hooks: Obj,
    /// `sys.get_coroutine_origin_tracking_depth()` and its counterpart.
    pub(crate) get_origin_depth: Obj,
    pub(crate) set_origin_depth: Obj,
    pub(crate) is_finalizing: Obj,
    /// `sys._getframe(depth)`.
    pub(crate) get_frame: Obj,
    /// `traceback.format_list(stack)`.
    pub(crate) format_list: Obj,
    /// `inspect.iscoroutinefunction(object)`.
    pub(crate) is_coroutine_function: Obj,
    /// `threading.get_ident()`.
    pub(crate) get_ident: Obj,
    /// `signal.set_wakeup_fd(fd)`.
    pub(crate) set_wakeup_fd: Obj,
    warn: Obj,
    /// `tracemalloc.is_tracing()`.
    is_tracing: Obj,
}

impl Interpreter {
    fn new(py: Python<'_>) -> PyResult<Interpreter> {
        let sys = py.import("sys")?;
        Ok(Interpreter {
            get_asyncgen_hooks: sys.getattr("get_asyncgen_hooks")?.into(),
            set_asyncgen_hooks: sys.getattr("set_asyncgen_hooks")?.into(),
            get_origin_depth: sys.getattr("get_coroutine_origin_tracking_depth")?.into(),
            set_origin_depth: sys.getattr("set_coroutine_origin_tracking_depth")?.into(),
            is_finalizing: sys.getattr("is_finalizing")?.into(),
            get_frame: sys.getattr("_getframe")?.into(),
            format_list: py.import("traceback")?.getattr("format_list")?.into(),
            is_coroutine_function: py.import("inspect")?.getattr("iscoroutinefunction")?.into(),
            get_ident: py.import("_thread")?.getattr("get_ident")?.into(),
            set_wakeup_fd: py.import("signal")?.getattr("set_wakeup_fd")?.into(),
            warn: py.import("warnings")?.getattr("warn")?.into(),
            is_tracing: py.import("_tracemalloc")?.getattr("is_tracing")?.into(),
        })
    }

    /// Finds out whether `tracemalloc` is to know where coroutines are made.
    pub(crate) fn look_at_tracing(&self, py: Python<'_>) -> PyResult<()> {
        set_traced(self.is_tracing.bind(py).call0()?.is_truthy()?);
        Ok(())
    }

    /// `warnings.warn(message, category, source=source)`. Whatever the filters make of it.
    pub(crate) fn warn(
        &self,
        message: &str,
        category: &Bound<'_, PyType>,
        source: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = category.py();
        let kwargs = PyDict::new(py);
        kwargs.set_item("source", source)?;
        self.warn.bind(py).call((message, category), Some(&kwargs))?;
        Ok(())
    }
}

static INTERPRETER: Global<Interpreter> = Global::new();

/// The functions. SystemError before the module is initialised.
#[inline]
pub(crate) fn interpreter(py: Python<'_>) -> PyResult<&'static Interpreter> {
    INTERPRETER.get(py)
}

/// Looks everything up; called once by the module.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    let interpreter = Interpreter::new(py)?;
    interpreter.look_at_tracing(py)?;
    INTERPRETER.set(py, interpreter);
    Ok(())
}
