//! The classes that users see, where those are made in Python on top of one of ours: to derive from a class of asyncio's
//! as well.
//!
//! The interpreter specialises a call of a C method only for instances of the very class that the method's descriptor
//! belongs to. An inherited descriptor belongs to the native class below, of which nobody has an instance: every call
//! would take the general way. So the public class gets descriptors of its own, of the same C functions. What such a
//! class takes is told by its documentation, as with classes in C, since nobody has written an `__init__`.

use std::ffi::CStr;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::class::is_ours;
use super::object::Obj;

/// The methods that a `with` block calls; other names with underscores around them may stand for slots, which are
/// inherited as they are.
const SPECIAL: [&CStr; 2] = [c"__aenter__", c"__aexit__"];

/// What ends the signature at the beginning of a documentation in C.
const SIGNATURE_END: &str = "\n--\n\n";

/// A class of the package `sabio` on top of `bases`, of which one of ours is the first. `doc` may begin with what the
/// class is called with, for `inspect.signature()`, in the manner of C: `"Lock()\n--\n\nA lock."`
pub(crate) fn public_class<'py>(
    py: Python<'py>,
    name: &str,
    bases: &[&Bound<'py, PyAny>],
    doc: &str,
) -> PyResult<Bound<'py, PyType>> {
    let bases = PyTuple::new(py, bases.iter().copied())?;
    let namespace = PyDict::new(py);
    namespace.set_item("__module__", "sabio")?;
    namespace.set_item("__doc__", doc)?;
    let class = py
        .get_type::<PyType>()
        .call1((name, bases, namespace))?
        .cast_into::<PyType>()?;
    if let Some((_signature, text)) = doc.split_once(SIGNATURE_END) {
        // The interpreter has copied all of it to where it looks for the signature.
        class.setattr("__doc__", text)?;
    }
    own_methods(&class)?;
    Ok(class)
}

/// Gives `class` descriptors of its own for the methods that it inherits from classes of ours. MemoryError.
fn own_methods(class: &Bound<'_, PyType>) -> PyResult<()> {
    for base in class.mro().iter().skip(1) {
        let Ok(base) = base.cast_into::<PyType>() else {
            continue;
        };
        if is_ours(base.as_type_ptr()) {
            own_methods_of(class, &base)?;
        }
    }
    Ok(())
}

fn own_methods_of(class: &Bound<'_, PyType>, base: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    // SAFETY: a class that was built here has a table of methods that lives for ever and ends with a null name. A
    // descriptor's definition is read only where its exact type says that it has one.
    unsafe {
        let mut method = (*base.as_type_ptr()).tp_methods;
        while !method.is_null() && !(*method).ml_name.is_null() {
            let name = CStr::from_ptr((*method).ml_name);
            let special = name.to_bytes().starts_with(b"__") && !SPECIAL.contains(&name);
            let binding = py_ffi::METH_CLASS | py_ffi::METH_STATIC;
            if !special && (*method).ml_flags & binding == 0 {
                let inherited = class.getattr(name)?;
                let is_same = std::ptr::eq(
                    py_ffi::Py_TYPE(inherited.as_ptr()),
                    &raw const py_ffi::PyMethodDescr_Type,
                ) && std::ptr::eq(
                    (*inherited.as_ptr().cast::<py_ffi::PyMethodDescrObject>()).d_method,
                    method,
                );
                if is_same {
                    let descriptor = py_ffi::PyDescr_NewMethod(class.as_type_ptr(), method);
                    let descriptor = Obj::from_owned_or_err(py, descriptor)?;
                    class.setattr(name, descriptor.bind(py))?;
                }
            }
            method = method.add(1);
        }
    }
    Ok(())
}
