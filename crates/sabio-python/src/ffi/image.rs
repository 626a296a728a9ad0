//! New instances of a C class without a run of its initialiser: an *image* of what the initialiser leaves behind,
//! learned from instances that it has initialised itself.
//!
//! The structures of `_asyncio` are not published. So [`Image::learn`] looks at a few instances that were made with
//! known objects: a word that holds the object that was given is a field, a word that is a small number, the same one in
//! all instances, is a constant, and any other word means that the class cannot be understood. Whoever learns
//! an image keeps to the initialiser where there is none.
//!
//! Invariant: an image is used for instances of the class that it was learned from (or of a class of ours on top of
//! it) only, on memory that is zeroed, before anybody else sees the instance.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::class::{Class, data_ptr};
use super::error::{Outcome, Raised};
use super::object::{Obj, Ref};

/// Words of every object before those of its class: the number of references and the class.
const HEAD_WORDS: usize = size_of::<py_ffi::PyObject>() / size_of::<usize>();

/// What the initialiser of a C class leaves in an instance that it was given `N` objects for.
pub(crate) struct Image<const N: usize> {
    class: *mut py_ffi::PyTypeObject,
    /// The words that are not zero, and what they hold.
    constants: Vec<(usize, usize)>,
    /// Which words hold the objects.
    fields: [usize; N],
}

impl<const N: usize> Image<N> {
    /// Learns from instances of one class and the objects that each was initialised with: all different ones, which
    /// the instance has not let go of. None if that does not explain every word of them.
    pub(crate) fn learn(samples: &[(Obj, [Obj; N])]) -> Option<Image<N>> {
        let ((first, objects), rest) = samples.split_first()?;
        let class = class_of(first);
        if rest.is_empty()
            || rest
                .iter()
                .any(|(instance, _)| !std::ptr::eq(class_of(instance), class))
        {
            return None;
        }
        let words = words_of(first);
        let others: Vec<_> = rest
            .iter()
            .map(|(instance, objects)| (words_of(instance), objects))
            .collect();
        let mut fields = [None; N];
        let mut constants = Vec::new();
        for (index, &word) in words.iter().enumerate().skip(HEAD_WORDS) {
            if let Some(field) = objects.iter().position(|object| object.as_ptr().addr() == word) {
                let same = others
                    .iter()
                    .all(|(words, objects)| objects[field].as_ptr().addr() == words[index]);
                if !same || fields[field].replace(index).is_some() {
                    return None;
                }
            } else if others.iter().any(|(words, _)| words[index] != word) || !is_number(word) {
                return None;
            } else if word != 0 {
                constants.push((index, word));
            }
        }
        let mut found = [0; N];
        for (place, field) in found.iter_mut().zip(fields) {
            *place = field?;
        }
        Some(Image {
            class,
            constants,
            fields: found,
        })
    }

    /// A new instance of exactly `T`'s class, initialised with `objects`. MemoryError; SystemError if the image is
    /// that of another class than the base of `T`'s.
    #[inline]
    pub(crate) fn create<T: Class + Default>(&self, py: Python<'_>, objects: [Obj; N]) -> Outcome<Ref<T>> {
        let cell = T::cell();
        if !std::ptr::eq(cell.base.load(Ordering::Relaxed), self.class) {
            return Err(mistaken(py));
        }
        // SAFETY: the class is finished and derives from the image's, whose part of the instance is zeroed, as its own
        // constructor would leave it; the words that are written lie in that part. Nothing runs before all is written.
        unsafe {
            let object = py_ffi::PyType_GenericAlloc(cell.class_ptr(), 0);
            if object.is_null() {
                return Err(Raised::new());
            }
            let words = object.cast::<usize>();
            for (index, value) in &self.constants {
                words.add(*index).write(*value);
            }
            for (index, object) in self.fields.iter().zip(objects) {
                words
                    .add(*index)
                    .cast::<*mut py_ffi::PyObject>()
                    .write(object.into_ptr());
            }
            data_ptr::<T>(object).write(T::default());
            Ok(Ref::from_obj(Obj::from_owned(object)))
        }
    }

    /// The object in a field of an instance of exactly the image's class. None for other objects.
    pub(crate) fn field(&self, instance: &Obj, field: usize) -> Option<Obj> {
        if !std::ptr::eq(class_of(instance), self.class) {
            return None;
        }
        let index = *self.fields.get(field)?;
        // SAFETY: the word is one of the instance's and holds an owned object or null.
        unsafe {
            let object = *instance.as_ptr().cast::<*mut py_ffi::PyObject>().add(index);
            (!object.is_null()).then(|| Obj::from_borrowed(object))
        }
    }
}

/// Where the instances of a class of ours hold an object that their base was initialised with.
pub(crate) struct Field<T: Class> {
    /// 0 if that is not known.
    word: AtomicUsize,
    class: PhantomData<fn() -> T>,
}

impl<T: Class> Field<T> {
    /// Not known yet.
    pub(crate) const fn new() -> Field<T> {
        Field {
            word: AtomicUsize::new(0),
            class: PhantomData,
        }
    }

    /// Takes the place of the object `field` over from the image of the base.
    pub(crate) fn learn<const N: usize>(&self, image: &Image<N>, field: usize) {
        if std::ptr::eq(T::cell().base.load(Ordering::Relaxed), image.class) {
            self.word.store(image.fields[field], Ordering::Relaxed);
        }
    }

    /// Where `instance` holds it, if that is known.
    #[inline(always)]
    fn place(&self, instance: &Ref<T>) -> Option<*mut *mut py_ffi::PyObject> {
        let word = self.word.load(Ordering::Relaxed);
        if word == 0 {
            return None;
        }
        // SAFETY: the instance begins with one of the image's class, which has that word.
        Some(unsafe {
            instance
                .as_obj()
                .as_ptr()
                .cast::<*mut py_ffi::PyObject>()
                .add(word)
        })
    }

    /// Takes the object out of `instance`, if it is known where, and leaves None there. Nothing at all, which the base's
    /// own instances may have, is more than the base of every version copes with.
    pub(crate) fn take(&self, py: Python<'_>, instance: &Ref<T>) -> Option<Obj> {
        let place = self.place(instance)?;
        // SAFETY: the word holds an owned object, which is taken over, or null; it owns the None that it gets.
        unsafe {
            let object = place.replace(Obj::none(py).into_ptr());
            (!object.is_null()).then(|| Obj::from_owned(object))
        }
    }

    /// The object that `instance` holds there, if it is another one than `known`.
    #[inline(always)]
    pub(crate) fn unless(&self, instance: &Ref<T>, known: &Obj) -> Option<Obj> {
        let place = self.place(instance)?;
        // SAFETY: the word holds an owned object or null.
        unsafe {
            let object = *place;
            let is_other = !std::ptr::eq(object, known.as_ptr()) && !object.is_null();
            is_other.then(|| Obj::from_borrowed(object))
        }
    }
}

#[cold]
fn mistaken(py: Python<'_>) -> Raised {
    pyo3::exceptions::PySystemError::new_err("the image of another class").restore(py);
    Raised::new()
}

fn class_of(object: &Obj) -> *mut py_ffi::PyTypeObject {
    // SAFETY: the object is alive.
    unsafe { py_ffi::Py_TYPE(object.as_ptr()) }
}

/// Whether a word can only be a number or flags, not the address of anything: addresses are aligned, and those of
/// objects that live for ever lie in no segment that begins before 64 KiB.
fn is_number(word: usize) -> bool {
    const LOW: usize = 0xffff_ffff;
    (word & LOW) < 0x1_0000
}

/// The words of an object, as its class counts them.
pub(super) fn words_of(object: &Obj) -> Vec<usize> {
    // SAFETY: the object is alive, and its type says how large it is.
    unsafe {
        let size = (*py_ffi::Py_TYPE(object.as_ptr())).tp_basicsize as usize / size_of::<usize>();
        std::slice::from_raw_parts(object.as_ptr().cast::<usize>(), size).to_vec()
    }
}

/// A number that a C module counts up in its state.
pub(crate) struct Counter(*mut u64);

impl Counter {
    /// Finds the number in the state of `module` that each call of `count` raises by one and gives back. The number
    /// is as before afterwards. None if there is no such number, or more than one.
    pub(crate) fn find(
        module: &Bound<'_, PyModule>,
        mut count: impl FnMut() -> PyResult<u64>,
    ) -> PyResult<Option<Counter>> {
        let Some((state, len)) = state_of(module) else {
            return Ok(None);
        };
        // SAFETY: the state is so long, aligned as any allocation, and nobody writes to it during the copy.
        let look = || unsafe { std::slice::from_raw_parts(state, len) }.to_vec();
        let mut candidates: Vec<usize> = (0..len).collect();
        let mut first = None;
        for _ in 0..3 {
            let before = look();
            let number = count()?;
            let after = look();
            first.get_or_insert(number);
            candidates.retain(|&word| after[word] == number && before[word].checked_add(1) == Some(number));
        }
        let (&[word], Some(first)) = (candidates.as_slice(), first) else {
            return Ok(None);
        };
        // SAFETY: a word of the state, which lives as long as the module, that is for ever: it is kept by whoever
        // asks for its counter.
        let counter = Counter(unsafe { state.add(word) });
        counter.set(first - 1);
        Ok(Some(counter))
    }

    /// Counts up and gives the new number. MemoryError.
    #[inline]
    pub(crate) fn count(&self, py: Python<'_>) -> Outcome<Obj> {
        // SAFETY: see `find`; under the GIL nobody else touches it.
        let number = unsafe { *self.0 } + 1;
        self.set(number);
        // SAFETY: attached; a new reference, or null with an exception set.
        unsafe { Obj::from_owned_or_err(py, py_ffi::PyLong_FromUnsignedLongLong(number)) }
    }

    #[inline]
    fn set(&self, number: u64) {
        // SAFETY: as above.
        unsafe { *self.0 = number }
    }
}

/// Where the state of a module is and how many words it has.
fn state_of(module: &Bound<'_, PyModule>) -> Option<(*mut u64, usize)> {
    // SAFETY: a live module; its definition, if it has one, lives as long as it does.
    let (state, size) = unsafe {
        let state = py_ffi::PyModule_GetState(module.as_ptr());
        #[cfg(not(Py_3_15))]
        let size = {
            let definition = py_ffi::PyModule_GetDef(module.as_ptr());
            if definition.is_null() {
                0
            } else {
                (*definition).m_size
            }
        };
        #[cfg(Py_3_15)]
        let size = {
            let mut size = 0;
            if py_ffi::PyModule_GetStateSize(module.as_ptr(), &raw mut size) < 0 {
                drop(PyErr::take(module.py()));
            }
            size
        };
        (state, size)
    };
    let words = usize::try_from(size).ok()? / size_of::<u64>();
    (!state.is_null() && words > 0).then_some((state.cast(), words))
}
