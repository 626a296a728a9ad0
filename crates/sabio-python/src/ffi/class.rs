//! Python classes whose instances carry a Rust value: on top of `object`, of a C type of the interpreter
//! (`_asyncio.Future`), of another class of ours, or of a Python class that only has `__slots__`.
//!
//! An instance is the base's part followed by the value `T`. The value is written by the constructor before anybody
//! else sees the object and dropped when the object is deallocated; in between it is only lent shared.

use std::alloc::Layout;
use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::PyTypeInfo;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::error::Outcome;
use super::lifecycle;
use super::method::MethodTable;
use super::object::{Obj, Ref};
use super::spare::Spare;
use super::trampoline;
use super::visit::Visit;

/// A Rust type that is the data of a Python class.
pub(crate) trait Class: Sized + 'static {
    /// Module and name, as in `type.__module__` and `__qualname__`.
    const NAME: &'static CStr;
    /// Whether the class derives from `object` alone: then the data's place is known to the compiler.
    const PLAIN: bool = true;
    /// Whether instances take part in garbage collection (a class on top of a collected base always does).
    const COLLECTED: bool = true;
    /// Whether the memory of freed instances is kept for new ones: for plain classes whose instances come and go all
    /// the time.
    const RECYCLED: bool = false;
    /// Whether the finalizer has anything to do for an instance that is about to be freed.
    fn needs_finalizer(&self) -> bool {
        true
    }

    /// Whether Python code may derive from the class.
    const SUBCLASSABLE: bool = false;

    /// Where the finished class is kept.
    fn cell() -> &'static ClassCell;

    /// Shows every Python object that the data owns to the garbage collector. Runs no Python code.
    fn visit(&self, visit: &mut Visit<'_>);

    /// Lets go of what can be part of a reference cycle; the object is unreachable but for finalizers.
    fn clear(&self);
}

/// The finished class of a [`Class`], in a `static`.
pub(crate) struct ClassCell {
    class: AtomicPtr<py_ffi::PyTypeObject>,
    pub(super) base: AtomicPtr<py_ffi::PyTypeObject>,
    public: AtomicPtr<py_ffi::PyTypeObject>,
    offset: AtomicUsize,
    pub(super) slots: OnceLock<Vec<usize>>,
    pub(super) spare: Spare,
}

impl ClassCell {
    /// A cell for a class that [`ClassBuilder::build`] will make.
    pub(crate) const fn new() -> ClassCell {
        ClassCell {
            class: AtomicPtr::new(std::ptr::null_mut()),
            base: AtomicPtr::new(std::ptr::null_mut()),
            public: AtomicPtr::new(std::ptr::null_mut()),
            offset: AtomicUsize::new(0),
            slots: OnceLock::new(),
            spare: Spare::new(),
        }
    }

    #[inline]
    pub(super) fn class_ptr(&self) -> *mut py_ffi::PyTypeObject {
        self.class.load(Ordering::Relaxed)
    }

    /// Names the class that users see, where it is a subclass of this one that was made in Python: to derive from a
    /// class of asyncio's as well. TypeError if it is no subclass.
    pub(crate) fn set_public(&self, class: &Bound<'_, PyType>) -> PyResult<()> {
        if !class.is_subclass(&self.class(class.py())?.into_any())? {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "not a subclass of sabio's class",
            ));
        }
        // The class must outlive every instance that is made of it here: this reference is never given back.
        self.public
            .store(class.clone().into_ptr().cast(), Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn public_ptr(&self) -> *mut py_ffi::PyTypeObject {
        self.public.load(Ordering::Relaxed)
    }

    /// Whether `object` is an instance of this class or of a subclass.
    #[inline]
    pub(crate) fn is_instance(&self, object: &Bound<'_, PyAny>) -> bool {
        let class = self.class_ptr();
        // SAFETY: `object` is alive, and a class that was built once is never freed.
        unsafe {
            std::ptr::eq(py_ffi::Py_TYPE(object.as_ptr()), self.public_ptr())
                || (!class.is_null() && py_ffi::PyObject_TypeCheck(object.as_ptr(), class) != 0)
        }
    }

    /// Whether `object` is an instance of exactly this class.
    #[inline]
    pub(crate) fn is_exact(&self, object: &Bound<'_, PyAny>) -> bool {
        // SAFETY: `object` is alive; the class is only compared.
        unsafe { std::ptr::eq(py_ffi::Py_TYPE(object.as_ptr()), self.class_ptr()) }
    }

    /// The class object. SystemError if the module has not built it.
    pub(crate) fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        let class = self.class_ptr();
        if class.is_null() {
            return Err(pyo3::exceptions::PySystemError::new_err(
                "sabio._sabio is not initialised",
            ));
        }
        // SAFETY: a built class is alive for ever: the cell owns a reference.
        let class = unsafe { Bound::from_borrowed_ptr(py, class.cast()) };
        Ok(class.cast_into::<PyType>()?)
    }
}

/// The classes that were built, which live for ever.
static BUILT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Whether `class` is exactly one of the classes built here.
#[cold]
pub(super) fn is_ours(class: *const py_ffi::PyTypeObject) -> bool {
    BUILT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&class.addr())
}

/// The address of the data inside an instance.
#[inline]
pub(super) fn data_ptr<T: Class>(object: *mut py_ffi::PyObject) -> *mut T {
    let offset = if T::PLAIN {
        const { plain_offset::<T>() }
    } else {
        T::cell().offset.load(Ordering::Relaxed)
    };
    object.wrapping_byte_add(offset).cast()
}

const fn plain_offset<T>() -> usize {
    align_up(size_of::<py_ffi::PyObject>(), align_of::<T>())
}

const fn align_up(size: usize, align: usize) -> usize {
    (size + align - 1) & !(align - 1)
}

/// What a class derives from.
pub(crate) enum Base<'py> {
    /// `object` alone.
    Object,
    /// A type whose own C functions traverse, clear and free its part: a C type, or another class of ours.
    Native(Bound<'py, PyType>),
    /// A Python class whose instances hold nothing but `__slots__` (`asyncio.Transport`).
    Slots(Bound<'py, PyType>),
}

/// Builds the Python class of `T`. Names, docs and functions live as long as the process.
pub(crate) struct ClassBuilder<T: Class> {
    doc: &'static CStr,
    methods: MethodTable<T>,
    slots: Vec<py_ffi::PyType_Slot>,
    constructible: bool,
    weakrefs: bool,
    iteration: Option<(py_ffi::getiterfunc, py_ffi::iternextfunc)>,
}

impl<T: Class> ClassBuilder<T> {
    /// Starts a class with this docstring.
    pub(crate) fn new(doc: &'static CStr) -> ClassBuilder<T> {
        ClassBuilder {
            doc,
            methods: MethodTable::new(),
            slots: Vec::new(),
            constructible: false,
            weakrefs: false,
            iteration: None,
        }
    }

    /// Adds the methods and attributes that `define` puts into the table.
    pub(crate) fn members(mut self, define: impl FnOnce(&mut MethodTable<T>)) -> Self {
        define(&mut self.methods);
        self
    }

    /// Instances can be weakly referenced (bases other than `object` bring that along themselves).
    pub(crate) fn weakrefs(mut self) -> Self {
        self.weakrefs = true;
        self
    }

    fn slot(mut self, slot: c_int, function: *mut c_void) -> Self {
        self.slots.push(py_ffi::PyType_Slot {
            slot,
            pfunc: function,
        });
        self
    }

    /// `cls(*args, **kwargs)`: `make` checks the arguments and gives the data of the new instance.
    pub(crate) fn constructor<F>(mut self, make: F) -> Self
    where
        F: Fn(&Bound<'_, PyType>, &Bound<'_, PyTuple>, Option<&Bound<'_, PyDict>>) -> PyResult<T> + Copy,
    {
        let _ = make;
        self.constructible = true;
        self.slot(py_ffi::Py_tp_new, lifecycle::construct::<T, F> as *mut c_void)
    }

    /// `cls(*args, **kwargs)` for a class on a native base: the base's constructor runs, then the default data is put
    /// behind its part. The initialiser comes on its own: see [`ClassBuilder::initializer`].
    pub(crate) fn derived_constructor(mut self) -> Self
    where
        T: Default,
    {
        self.constructible = true;
        self.slot(
            py_ffi::Py_tp_new,
            lifecycle::construct_derived::<T> as *mut c_void,
        )
    }

    /// `__init__`.
    pub(crate) fn initializer<F>(self, init: F) -> Self
    where
        F: Fn(&Ref<T>, &Bound<'_, PyTuple>, Option<&Bound<'_, PyDict>>) -> PyResult<()> + Copy,
    {
        let _ = init;
        self.slot(py_ffi::Py_tp_init, lifecycle::initialize::<T, F> as *mut c_void)
    }

    /// Runs once before an instance is freed, while it is still whole (PEP 442).
    pub(crate) fn finalizer<F: Fn(&Ref<T>, Python<'_>) -> PyResult<()> + Copy>(self, finalize: F) -> Self {
        let _ = finalize;
        self.slot(
            py_ffi::Py_tp_finalize,
            lifecycle::finalizer::<T, F> as *mut c_void,
        )
    }

    /// Attributes are set and deleted as ever; `told` hears the name of each afterwards.
    pub(crate) fn attribute_listener<F>(self, told: F) -> Self
    where
        F: Fn(&Ref<T>, &Bound<'_, PyAny>) -> PyResult<()> + Copy,
    {
        let _ = told;
        self.slot(
            py_ffi::Py_tp_setattro,
            trampoline::setattro::<T, F> as *mut c_void,
        )
    }

    /// `repr()`.
    pub(crate) fn repr<F: Fn(&Ref<T>, Python<'_>) -> PyResult<Obj> + Copy>(self, repr: F) -> Self {
        let _ = repr;
        self.slot(py_ffi::Py_tp_repr, trampoline::unary::<T, F, Obj> as *mut c_void)
    }

    /// `await`: gives the iterator.
    pub(crate) fn awaitable<F: Fn(&Ref<T>, Python<'_>) -> PyResult<Obj> + Copy>(self, get: F) -> Self {
        let _ = get;
        self.slot(
            py_ffi::Py_am_await,
            trampoline::unary_fast::<T, F, Obj> as *mut c_void,
        )
        .slot(
            py_ffi::Py_tp_iter,
            trampoline::unary_fast::<T, F, Obj> as *mut c_void,
        )
    }

    /// `next()`, and `send()` inside `await`: `resume` gives what is yielded or what is returned.
    pub(crate) fn resumable<F>(self, resume: F) -> Self
    where
        F: Fn(&Ref<T>, Python<'_>, Option<&Obj>) -> Outcome<super::call::Sent> + Copy,
    {
        let _ = resume;
        self.slot(py_ffi::Py_am_send, trampoline::am_send::<T, F> as *mut c_void)
            .slot(
                py_ffi::Py_tp_iternext,
                trampoline::iternext::<T, F> as *mut c_void,
            )
    }

    /// What `awaitable` and `resumable` do, for a coroutine: `iter()`, `next()` and `yield from` take it, but its class
    /// has no `__iter__` and no `__next__`, by which it would count as a generator (`collections.abc`).
    pub(crate) fn coroutine<A, F>(mut self, get: A, resume: F) -> Self
    where
        A: Fn(&Ref<T>, Python<'_>) -> PyResult<Obj> + Copy,
        F: Fn(&Ref<T>, Python<'_>, Option<&Obj>) -> Outcome<super::call::Sent> + Copy,
    {
        let _ = (get, resume);
        self.iteration = Some((trampoline::unary_fast::<T, A, Obj>, trampoline::iternext::<T, F>));
        self.slot(
            py_ffi::Py_am_await,
            trampoline::unary_fast::<T, A, Obj> as *mut c_void,
        )
        .slot(py_ffi::Py_am_send, trampoline::am_send::<T, F> as *mut c_void)
    }

    /// `next()`: `advance` gives the next item, or None at the end. The object is its own iterator.
    pub(crate) fn iterator<F>(self, advance: F) -> Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<Option<Obj>> + Copy,
    {
        let _ = advance;
        self.slot(py_ffi::Py_tp_iter, py_ffi::PyObject_SelfIter as *mut c_void)
            .slot(py_ffi::Py_tp_iternext, trampoline::next::<T, F> as *mut c_void)
    }

    /// `async for`: `advance` gives the awaitable of the next item. The object is its own iterator.
    pub(crate) fn async_iterator<F>(self, advance: F) -> Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<Obj> + Copy,
    {
        let _ = advance;
        self.slot(py_ffi::Py_am_aiter, py_ffi::PyObject_SelfIter as *mut c_void)
            .slot(py_ffi::Py_am_anext, trampoline::unary::<T, F, Obj> as *mut c_void)
    }

    /// `hash()`.
    pub(crate) fn hash<F: Fn(&Ref<T>, Python<'_>) -> PyResult<isize> + Copy>(self, hash: F) -> Self {
        let _ = hash;
        self.slot(py_ffi::Py_tp_hash, trampoline::hash::<T, F> as *mut c_void)
    }

    /// `<`, `==` and so on; `None` stands for NotImplemented.
    pub(crate) fn comparison<F>(self, compare: F) -> Self
    where
        F: Fn(&Ref<T>, &Bound<'_, PyAny>, pyo3::basic::CompareOp) -> PyResult<Option<bool>> + Copy,
    {
        let _ = compare;
        self.slot(
            py_ffi::Py_tp_richcompare,
            trampoline::richcompare::<T, F> as *mut c_void,
        )
    }

    /// Makes the class and keeps it in the class's cell.
    pub(crate) fn build<'py>(mut self, py: Python<'py>, base: &Base<'py>) -> PyResult<Bound<'py, PyType>> {
        let (base_type, base_slots) = match base {
            Base::Object => (PyAny::type_object(py), None),
            Base::Native(base) => (base.clone(), None),
            Base::Slots(base) => (base.clone(), Some(slot_offsets(base))),
        };
        let base_ptr = base_type.as_type_ptr();
        // SAFETY: a live type object's plain fields.
        let (base_size, base_flags) = unsafe {
            (
                (*base_ptr).tp_basicsize as usize,
                py_ffi::PyType_GetFlags(base_ptr),
            )
        };
        let layout = Layout::new::<T>();
        let offset = align_up(base_size, layout.align());
        let mut size = align_up(offset + layout.size(), align_of::<usize>());
        let collected = T::COLLECTED || base_flags & py_ffi::Py_TPFLAGS_HAVE_GC != 0;
        if self.weakrefs {
            self.slots.push(py_ffi::PyType_Slot {
                slot: py_ffi::Py_tp_members,
                pfunc: weaklist_member(size).cast(),
            });
            size += size_of::<usize>();
        }
        if collected {
            self = self
                .slot(py_ffi::Py_tp_traverse, lifecycle::traverse::<T> as *mut c_void)
                .slot(py_ffi::Py_tp_clear, lifecycle::clear::<T> as *mut c_void);
        }
        self = self.slot(py_ffi::Py_tp_dealloc, lifecycle::dealloc::<T> as *mut c_void);
        let doc = self.doc.as_ptr().cast_mut().cast();
        self = self.slot(py_ffi::Py_tp_doc, doc);
        let (methods, getset) = std::mem::replace(&mut self.methods, MethodTable::new()).leak();
        self = self
            .slot(py_ffi::Py_tp_methods, methods.cast())
            .slot(py_ffi::Py_tp_getset, getset.cast());
        let mut flags = py_ffi::Py_TPFLAGS_DEFAULT;
        if collected {
            flags |= py_ffi::Py_TPFLAGS_HAVE_GC;
        }
        if T::SUBCLASSABLE {
            flags |= py_ffi::Py_TPFLAGS_BASETYPE;
        }
        if !self.constructible {
            flags |= py_ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        }
        self.slots.push(py_ffi::PyType_Slot {
            slot: 0,
            pfunc: std::ptr::null_mut(),
        });
        let cell = T::cell();
        cell.offset.store(offset, Ordering::Relaxed);
        if !matches!(base, Base::Object) {
            // The base must outlive every instance: this reference is never given back.
            cell.base
                .store(base_type.clone().into_ptr().cast(), Ordering::Relaxed);
        }
        if let Some(base_slots) = base_slots {
            let _ = cell.slots.set(base_slots);
        }
        let mut spec = py_ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: size as c_int,
            itemsize: 0,
            flags: flags as std::ffi::c_uint,
            slots: self.slots.as_mut_ptr(),
        };
        let bases = PyTuple::new(py, [&base_type])?;
        // SAFETY: the spec is complete and zero-terminated; CPython copies it, and what it points to (names, method
        // tables) lives for ever. The class's functions fit `T` by construction of this builder.
        let class = unsafe {
            Obj::from_owned_or_err(
                py,
                py_ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr()),
            )?
        };
        let class = class.into_bound(py).cast_into::<PyType>()?;
        if let Some((iter, next)) = self.iteration {
            // SAFETY: a class that nobody else has seen yet, whose slots nobody remembers. The interpreter makes names of
            // those slots only that it finds when it makes the class.
            unsafe {
                let class = class.as_type_ptr();
                (*class).tp_iter = Some(iter);
                (*class).tp_iternext = Some(next);
            }
        }
        // The class must outlive every instance: this reference is never given back.
        BUILT
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(class.as_type_ptr().addr());
        cell.class
            .store(class.clone().into_ptr().cast(), Ordering::Relaxed);
        Ok(class)
    }
}

/// The `__weaklistoffset__` member, which tells CPython where an instance keeps the head of its weak references.
fn weaklist_member(offset: usize) -> *mut py_ffi::PyMemberDef {
    let member = |name: Option<&'static CStr>| py_ffi::PyMemberDef {
        name: name.map_or(std::ptr::null(), CStr::as_ptr),
        type_code: if name.is_some() { py_ffi::Py_T_PYSSIZET } else { 0 },
        offset: if name.is_some() {
            offset as py_ffi::Py_ssize_t
        } else {
            0
        },
        flags: if name.is_some() { py_ffi::Py_READONLY } else { 0 },
        doc: std::ptr::null(),
    };
    Box::leak(Box::new([member(Some(c"__weaklistoffset__")), member(None)])).as_mut_ptr()
}

/// Where the instances of a Python class and of its bases keep their `__slots__`.
fn slot_offsets(class: &Bound<'_, PyType>) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut class = class.as_type_ptr();
    while !class.is_null() {
        // SAFETY: `class` is a live type; a heap type's `tp_members` is an array that ends with a null name, and the
        // chain of `tp_base` ends at `object`, which is not a heap type.
        unsafe {
            if py_ffi::PyType_GetFlags(class) & py_ffi::Py_TPFLAGS_HEAPTYPE == 0 {
                break;
            }
            let mut member = (*class).tp_members;
            while !member.is_null() && !(*member).name.is_null() {
                if (*member).type_code == py_ffi::Py_T_OBJECT_EX {
                    offsets.push((*member).offset as usize);
                }
                member = member.add(1);
            }
            class = (*class).tp_base;
        }
    }
    offsets
}
