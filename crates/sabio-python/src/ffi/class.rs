//! Python classes whose instances carry a Rust value: on top of `object`, of a C type of the interpreter
//! (`_asyncio.Future`), of another class of ours, or of a Python class that only has `__slots__`.
//!
//! An instance is the base's part followed by the value `T`. The value is written by the constructor before anybody
//! else sees the object and dropped when the object is deallocated; in between it is only lent shared.

use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::PyTypeInfo;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::cell::{Counted, LocalQueue, Slot};
use super::error::{Outcome, Raised};
use super::method::{IntoObj, MethodTable};
use super::object::{Obj, Ref};

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
    base: AtomicPtr<py_ffi::PyTypeObject>,
    offset: AtomicUsize,
    slots: OnceLock<Vec<usize>>,
    spare: Spare,
}

/// Memory of freed instances of a class, to be used again: a stack of untracked blocks whose contents are dead.
struct Spare {
    blocks: UnsafeCell<[*mut py_ffi::PyObject; SPARE_BLOCKS]>,
    count: Cell<usize>,
}

/// How many freed instances a class keeps at most.
const SPARE_BLOCKS: usize = 64;

// SAFETY: touched only by functions that run under the GIL (allocation and deallocation of Python objects).
unsafe impl Sync for Spare {}

impl Spare {
    const fn new() -> Spare {
        Spare {
            blocks: UnsafeCell::new([std::ptr::null_mut(); SPARE_BLOCKS]),
            count: Cell::new(0),
        }
    }

    #[inline]
    fn pop(&self) -> Option<*mut py_ffi::PyObject> {
        let count = self.count.get();
        if count == 0 {
            return None;
        }
        self.count.set(count - 1);
        // SAFETY: under the GIL nobody else touches the array, and `count` blocks are filled.
        Some(unsafe { (&*self.blocks.get())[count - 1] })
    }

    #[inline]
    fn push(&self, block: *mut py_ffi::PyObject) -> bool {
        let count = self.count.get();
        if count == SPARE_BLOCKS {
            return false;
        }
        // SAFETY: under the GIL nobody else touches the array.
        unsafe { (&mut *self.blocks.get())[count] = block };
        self.count.set(count + 1);
        true
    }
}

impl ClassCell {
    /// A cell for a class that [`ClassBuilder::build`] will make.
    pub(crate) const fn new() -> ClassCell {
        ClassCell {
            class: AtomicPtr::new(std::ptr::null_mut()),
            base: AtomicPtr::new(std::ptr::null_mut()),
            offset: AtomicUsize::new(0),
            slots: OnceLock::new(),
            spare: Spare::new(),
        }
    }

    #[inline]
    fn class_ptr(&self) -> *mut py_ffi::PyTypeObject {
        self.class.load(Ordering::Relaxed)
    }

    /// Whether `object` is an instance of this class or of a subclass.
    #[inline]
    pub(crate) fn is_instance(&self, object: &Bound<'_, PyAny>) -> bool {
        let class = self.class_ptr();
        // SAFETY: `object` is alive, and a class that was built once is never freed.
        !class.is_null() && unsafe { py_ffi::PyObject_TypeCheck(object.as_ptr(), class) != 0 }
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

/// The garbage collector's visitor.
pub(crate) struct Visit<'a> {
    visit: py_ffi::visitproc,
    arg: *mut c_void,
    result: c_int,
    _lifetime: PhantomData<&'a ()>,
}

impl Visit<'_> {
    /// Shows the object at `pointer` (or nothing, if null).
    #[inline]
    pub(super) fn pointer(&mut self, pointer: *mut py_ffi::PyObject) {
        if self.result == 0 && !pointer.is_null() {
            // SAFETY: the collector gave us the visitor for the time of this traversal; the object is alive, since
            // the data being traversed owns a reference.
            self.result = unsafe { (self.visit)(pointer, self.arg) };
        }
    }

    /// Shows an owned object.
    #[inline]
    pub(crate) fn obj(&mut self, object: &Obj) {
        self.pointer(object.as_ptr());
    }

    /// Shows an owned object, if there is one.
    #[inline]
    pub(crate) fn option(&mut self, object: Option<&Obj>) {
        if let Some(object) = object {
            self.obj(object);
        }
    }

    /// Shows the object in a slot.
    #[inline]
    pub(crate) fn slot<V: Counted>(&mut self, cell: &Slot<V>) {
        self.pointer(cell.as_ptr());
    }

    /// Shows what the items of a queue own.
    pub(crate) fn queue<T>(&mut self, queue: &LocalQueue<T>, mut show: impl FnMut(&mut Self, &T)) {
        queue.for_each(|item| show(self, item));
    }
}

/// Builds the Python class of `T`. Names, docs and functions live as long as the process.
pub(crate) struct ClassBuilder<T: Class> {
    doc: &'static CStr,
    methods: MethodTable<T>,
    slots: Vec<py_ffi::PyType_Slot>,
    constructible: bool,
    weakrefs: bool,
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
        self.slot(py_ffi::Py_tp_new, construct::<T, F> as *mut c_void)
    }

    /// `cls(*args, **kwargs)` for a class on a native base: the base's constructor runs, then the default data is put
    /// behind its part. The initialiser comes on its own: see [`ClassBuilder::initializer`].
    pub(crate) fn derived_constructor(mut self) -> Self
    where
        T: Default,
    {
        self.constructible = true;
        self.slot(py_ffi::Py_tp_new, construct_derived::<T> as *mut c_void)
    }

    /// `__init__`.
    pub(crate) fn initializer<F>(self, init: F) -> Self
    where
        F: Fn(&Ref<T>, &Bound<'_, PyTuple>, Option<&Bound<'_, PyDict>>) -> PyResult<()> + Copy,
    {
        let _ = init;
        self.slot(py_ffi::Py_tp_init, initialize::<T, F> as *mut c_void)
    }

    /// Runs once before an instance is freed, while it is still whole (PEP 442).
    pub(crate) fn finalizer<F: Fn(&Ref<T>, Python<'_>) -> PyResult<()> + Copy>(self, finalize: F) -> Self {
        let _ = finalize;
        self.slot(py_ffi::Py_tp_finalize, finalizer::<T, F> as *mut c_void)
    }

    /// `repr()`.
    pub(crate) fn repr<F: Fn(&Ref<T>, Python<'_>) -> PyResult<Obj> + Copy>(self, repr: F) -> Self {
        let _ = repr;
        self.slot(
            py_ffi::Py_tp_repr,
            super::method::unary::<T, F, Obj> as *mut c_void,
        )
    }

    /// `await`: gives the iterator.
    pub(crate) fn awaitable<F: Fn(&Ref<T>, Python<'_>) -> PyResult<Obj> + Copy>(self, get: F) -> Self {
        let _ = get;
        self.slot(
            py_ffi::Py_am_await,
            super::method::unary_fast::<T, F, Obj> as *mut c_void,
        )
        .slot(
            py_ffi::Py_tp_iter,
            super::method::unary_fast::<T, F, Obj> as *mut c_void,
        )
    }

    /// `next()`, and `send()` inside `await`: `resume` gives what is yielded or what is returned.
    pub(crate) fn resumable<F>(self, resume: F) -> Self
    where
        F: Fn(&Ref<T>, Python<'_>, Option<&Obj>) -> PyResult<super::call::Sent> + Copy,
    {
        let _ = resume;
        self.slot(py_ffi::Py_am_send, super::method::am_send::<T, F> as *mut c_void)
            .slot(
                py_ffi::Py_tp_iternext,
                super::method::iternext::<T, F> as *mut c_void,
            )
    }

    /// `hash()`.
    pub(crate) fn hash<F: Fn(&Ref<T>, Python<'_>) -> PyResult<isize> + Copy>(self, hash: F) -> Self {
        let _ = hash;
        self.slot(py_ffi::Py_tp_hash, super::method::hash::<T, F> as *mut c_void)
    }

    /// `<`, `==` and so on; `None` stands for NotImplemented.
    pub(crate) fn comparison<F>(self, compare: F) -> Self
    where
        F: Fn(&Ref<T>, &Bound<'_, PyAny>, pyo3::basic::CompareOp) -> PyResult<Option<bool>> + Copy,
    {
        let _ = compare;
        self.slot(
            py_ffi::Py_tp_richcompare,
            super::method::richcompare::<T, F> as *mut c_void,
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
        let align = if T::PLAIN {
            layout.align()
        } else {
            layout.align().max(16)
        };
        let offset = align_up(base_size, align);
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
                .slot(py_ffi::Py_tp_traverse, traverse::<T> as *mut c_void)
                .slot(py_ffi::Py_tp_clear, clear::<T> as *mut c_void);
        }
        self = self.slot(py_ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void);
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
        // The class must outlive every instance: this reference is never given back.
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

impl<T: Class> Ref<T> {
    /// A new instance of exactly `T`'s class. MemoryError.
    #[inline(always)]
    pub(crate) fn create(py: Python<'_>, data: T) -> Outcome<Ref<T>> {
        Ref::create_with(py, || data)
    }

    /// As [`Ref::create`], with the data made in place.
    #[inline(always)]
    pub(crate) fn create_with(py: Python<'_>, make: impl FnOnce() -> T) -> Outcome<Ref<T>> {
        let cell = T::cell();
        if T::RECYCLED {
            const { assert!(T::PLAIN || !T::RECYCLED, "only plain classes can be recycled") };
            if let Some(block) = cell.spare.pop() {
                // SAFETY: the block has the size of `T`'s exact class and is untracked; its header is made anew, its
                // data written, and its list of weak references was emptied when it was freed.
                unsafe {
                    py_ffi::PyObject_Init(block, cell.class_ptr());
                    data_ptr::<T>(block).write(make());
                    if T::COLLECTED {
                        py_ffi::PyObject_GC_Track(block.cast());
                    }
                    return Ok(Ref::from_obj(Obj::from_owned(block)));
                }
            }
        }
        if T::PLAIN && !T::COLLECTED {
            // SAFETY: the class lays its instances out for `T`; the memory is not zeroed, so the one word besides the
            // data that anybody reads, the head of the weak references, is emptied here.
            unsafe {
                let class = cell.class_ptr();
                let object = py_ffi::PyObject_New::<py_ffi::PyObject>(class);
                if object.is_null() {
                    return Err(Raised::new());
                }
                let weaklist = (*class).tp_weaklistoffset;
                if weaklist > 0 {
                    object
                        .byte_offset(weaklist)
                        .cast::<*mut c_void>()
                        .write(std::ptr::null_mut());
                }
                data_ptr::<T>(object).write(make());
                return Ok(Ref::from_obj(Obj::from_owned(object)));
            }
        }
        // SAFETY: `T`'s own class, built by `ClassBuilder`, lays its instances out for `T`.
        unsafe { allocate(py, cell.class_ptr(), make) }
    }

    /// A new instance of `class`, a Python subclass of `T`'s class. TypeError if it is none, MemoryError.
    pub(crate) fn create_as(class: &Bound<'_, PyType>, data: T) -> PyResult<Ref<T>> {
        let own = T::cell().class(class.py())?;
        if !class.is_subclass(&own)? {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "not a subclass of sabio's class",
            ));
        }
        // SAFETY: a subclass keeps the layout of its base.
        unsafe { Ok(allocate(class.py(), class.as_type_ptr(), || data)?) }
    }
}

/// A class of ours on top of another class of ours.
pub(crate) trait Derived: Class {
    /// The class below, which derives from `object` alone.
    type Parent: Class;
}

impl<T: Derived> Ref<T> {
    /// A new instance: the data of both classes. MemoryError.
    #[inline(always)]
    pub(crate) fn create_derived(
        py: Python<'_>,
        parent: impl FnOnce() -> T::Parent,
        data: T,
    ) -> Outcome<Ref<T>> {
        const { assert!(<T::Parent as Class>::PLAIN && !T::PLAIN) };
        // SAFETY: the class is laid out for `T` behind its parent's part; both are written before anybody sees the
        // object, and nothing runs in between.
        unsafe {
            let object = allocate::<T>(py, T::cell().class_ptr(), || data)?;
            data_ptr::<T::Parent>(object.as_obj().as_ptr()).write(parent());
            Ok(object)
        }
    }

    /// The same object as an instance of the class below.
    #[inline]
    pub(crate) fn as_parent(&self) -> &Ref<T::Parent> {
        // SAFETY: an instance of the derived class is one of its parent; both references are transparent wrappers.
        unsafe { &*(&raw const *self).cast::<Ref<T::Parent>>() }
    }
}

impl<T: Class + Default> Ref<T> {
    /// A new instance of a class on a native base, whose initialiser has not run yet. MemoryError.
    #[inline]
    pub(crate) fn create_uninitialised(py: Python<'_>, no_args: &Bound<'_, PyTuple>) -> Outcome<Ref<T>> {
        // SAFETY: exactly what calling the class would do first; `construct_derived` writes our data.
        unsafe {
            let object =
                construct_derived::<T>(T::cell().class_ptr(), no_args.as_ptr(), std::ptr::null_mut());
            Ok(Ref::from_obj(Obj::from_owned_or_err(py, object)?))
        }
    }
}

/// # Safety
/// `class` is `T`'s class, finished, or a subclass of it, and no base of it needs a constructor of its own to run.
#[inline(always)]
unsafe fn allocate<T: Class>(
    _py: Python<'_>,
    class: *mut py_ffi::PyTypeObject,
    make: impl FnOnce() -> T,
) -> Outcome<Ref<T>> {
    // SAFETY: a live class; the allocator gives zeroed memory of its size, tracked if it is collected. Nothing runs
    // between the allocation and the write of the data.
    unsafe {
        let object = py_ffi::PyType_GenericAlloc(class, 0);
        if object.is_null() {
            return Err(Raised::new());
        }
        data_ptr::<T>(object).write(make());
        Ok(Ref::from_obj(Obj::from_owned(object)))
    }
}

unsafe extern "C" fn construct<T, F>(
    class: *mut py_ffi::PyTypeObject,
    args: *mut py_ffi::PyObject,
    kwargs: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Bound<'_, PyType>, &Bound<'_, PyTuple>, Option<&Bound<'_, PyDict>>) -> PyResult<T> + Copy,
{
    super::method::enter(|py| {
        // SAFETY: `tp_new` gets a live class, a tuple and a dict or null; `make` was registered with this class.
        unsafe {
            let class = Bound::from_borrowed_ptr(py, class.cast()).cast_into_unchecked::<PyType>();
            let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
            let kwargs =
                Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|k| k.cast_into_unchecked::<PyDict>());
            let data = super::method::conjure::<F>()(&class, &args, kwargs.as_ref())?;
            Ok(allocate::<T>(py, class.as_type_ptr(), || data)?)
        }
    })
}

unsafe extern "C" fn construct_derived<T: Class + Default>(
    class: *mut py_ffi::PyTypeObject,
    args: *mut py_ffi::PyObject,
    kwargs: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    let base = T::cell().base.load(Ordering::Relaxed);
    // SAFETY: called as `tp_new` with its arguments; the base's own constructor is called the same way and gives an
    // instance of `class`, in which our part is still zeroed and is written before anybody sees the object.
    unsafe {
        let object = match (*base).tp_new {
            Some(new) => new(class, args, kwargs),
            None => py_ffi::PyType_GenericAlloc(class, 0),
        };
        if !object.is_null() {
            data_ptr::<T>(object).write(T::default());
        }
        object
    }
}

unsafe extern "C" fn initialize<T, F>(
    object: *mut py_ffi::PyObject,
    args: *mut py_ffi::PyObject,
    kwargs: *mut py_ffi::PyObject,
) -> c_int
where
    T: Class,
    F: Fn(&Ref<T>, &Bound<'_, PyTuple>, Option<&Bound<'_, PyDict>>) -> PyResult<()> + Copy,
{
    super::method::enter_int(|py| {
        // SAFETY: `tp_init` gets an instance of the class it was registered with, a tuple and a dict or null.
        unsafe {
            let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
            let kwargs =
                Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|k| k.cast_into_unchecked::<PyDict>());
            super::method::conjure::<F>()(Ref::from_ptr_ref(&object), &args, kwargs.as_ref())
        }
    })
}

unsafe extern "C" fn finalizer<T: Class, F: Fn(&Ref<T>, Python<'_>) -> PyResult<()> + Copy>(
    object: *mut py_ffi::PyObject,
) {
    Python::attach(|py| {
        // A finalizer may run while an exception is on its way: put it aside and bring it back.
        let pending = PyErr::take(py);
        // SAFETY: `tp_finalize` gets a whole instance of the class it was registered with.
        let slf = unsafe { Ref::<T>::from_ptr_ref(&object) };
        if let Err(error) = super::error::guard(|| super::method::conjure::<F>()(slf, py)) {
            error.write_unraisable(py, Some(slf.bind(py)));
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

unsafe extern "C" fn traverse<T: Class>(
    object: *mut py_ffi::PyObject,
    visit: py_ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let cell = T::cell();
    let mut visit = Visit {
        visit,
        arg,
        result: 0,
        _lifetime: PhantomData,
    };
    // SAFETY: the collector passes a whole instance; neither the base's traversal nor ours runs Python code, and each
    // object is shown once for the one reference that is owned: the class by the base, where the base does so.
    unsafe {
        let base = cell.base.load(Ordering::Relaxed);
        let mut base_shows_class = false;
        match cell.slots.get() {
            Some(slots) => {
                for offset in slots {
                    visit.pointer(*object.byte_add(*offset).cast::<*mut py_ffi::PyObject>());
                }
            }
            None if !base.is_null() => {
                if let Some(base_traverse) = (*base).tp_traverse {
                    let result = base_traverse(object, visit.visit, arg);
                    if result != 0 {
                        return result;
                    }
                    base_shows_class = py_ffi::PyType_GetFlags(base) & py_ffi::Py_TPFLAGS_HEAPTYPE != 0;
                }
            }
            None => {}
        }
        if !base_shows_class {
            visit.pointer(py_ffi::Py_TYPE(object).cast());
        }
        (*data_ptr::<T>(object)).visit(&mut visit);
    }
    visit.result
}

unsafe extern "C" fn clear<T: Class>(object: *mut py_ffi::PyObject) -> c_int {
    let cell = T::cell();
    // SAFETY: the collector passes a whole instance on an attached thread and holds a reference to it.
    unsafe {
        (*data_ptr::<T>(object)).clear();
        let base = cell.base.load(Ordering::Relaxed);
        match cell.slots.get() {
            Some(slots) => clear_slots(object, slots),
            None if !base.is_null() => {
                if let Some(base_clear) = (*base).tp_clear {
                    return base_clear(object);
                }
            }
            None => {}
        }
    }
    0
}

/// # Safety
/// `object` is an instance whose `__slots__` lie at these offsets.
unsafe fn clear_slots(object: *mut py_ffi::PyObject, slots: &[usize]) {
    for offset in slots {
        // SAFETY: each slot holds an owned reference or null; it is emptied before the reference is dropped.
        unsafe {
            let slot = object.byte_add(*offset).cast::<*mut py_ffi::PyObject>();
            let value = slot.replace(std::ptr::null_mut());
            py_ffi::Py_XDECREF(value);
        }
    }
}

unsafe extern "C" fn dealloc<T: Class>(object: *mut py_ffi::PyObject) {
    let cell = T::cell();
    // SAFETY: CPython calls this once the last reference is gone. The finalizer runs first, on the whole object, and
    // may bring it back; then the collector and weak references forget it; then our data is dropped, then the base's
    // part, then the memory. A base with a deallocator of its own frees the memory and the class's reference itself.
    unsafe {
        let class = py_ffi::Py_TYPE(object);
        if (*class).tp_finalize.is_some()
            && (*data_ptr::<T>(object)).needs_finalizer()
            && py_ffi::PyObject_CallFinalizerFromDealloc(object) < 0
        {
            return;
        }
        if py_ffi::PyType_GetFlags(class) & py_ffi::Py_TPFLAGS_HAVE_GC != 0 {
            py_ffi::PyObject_GC_UnTrack(object.cast());
        }
        let weaklist = (*class).tp_weaklistoffset;
        if weaklist > 0 && !(*object.byte_offset(weaklist).cast::<*mut c_void>()).is_null() {
            py_ffi::PyObject_ClearWeakRefs(object);
        }
        data_ptr::<T>(object).drop_in_place();
        // A block whose finalizer has run carries a mark that the next instance must not inherit.
        if T::RECYCLED
            && std::ptr::eq(class, cell.class_ptr())
            && !(T::COLLECTED && py_ffi::PyObject_GC_IsFinalized(object) != 0)
            && cell.spare.push(object)
        {
            py_ffi::Py_DECREF(class.cast());
            return;
        }
        let base = cell.base.load(Ordering::Relaxed);
        match cell.slots.get() {
            Some(slots) => clear_slots(object, slots),
            None if !base.is_null() => {
                if let Some(base_dealloc) = (*base).tp_dealloc {
                    base_dealloc(object);
                    return;
                }
            }
            None => {}
        }
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        py_ffi::Py_DECREF(class.cast());
    }
}

impl<T: Class> IntoObj for Ref<T> {
    #[inline]
    fn into_obj(self, _py: Python<'_>) -> PyResult<Obj> {
        Ok(Ref::into_obj(self))
    }
}
