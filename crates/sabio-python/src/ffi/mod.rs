//! The binding's only unsafe code: a small safe layer over CPython's C API for what PyO3 does not offer
//! (types on top of `_asyncio`'s, calls without a tuple, contexts, `am_send`, bytes read into place).
//!
//! Invariant of the whole layer: everything that holds a Python object here is neither `Send` nor `Sync`, so it
//! exists only on a thread that is attached to the interpreter (which, with the GIL, means one thread at a time), and
//! cannot be captured by a closure that runs detached. No function here holds a reference into an object's data
//! while it calls into Python, and state that Python code can reach is behind `Cell`-like types.
#![allow(unsafe_code)]

mod args;
mod arguments;
mod audit;
mod base;
mod buffer;
mod bytes;
mod call;
mod cell;
mod class;
mod context;
mod convert;
mod coroutine_function;
mod coroutine_method;
mod current;
mod ending;
mod error;
mod function;
mod global;
mod image;
mod instance;
mod kept;
mod libssl;
mod lifecycle;
mod marked;
mod method;
mod native;
mod object;
mod public;
mod reserve;
mod room;
#[cfg(Py_3_14)]
pub(crate) mod running;
mod snapshot;
mod spare;
mod stop_iteration;
mod trampoline;
mod visit;
mod waker;
mod watched;

pub(crate) use args::{Args, KeywordName, Signature};
pub(crate) use arguments::Arguments;
pub(crate) use audit::{audit, is_audited};
pub(crate) use base::{BaseClass, BoundFunction, FunctionDef, FunctionDefinition};
pub(crate) use buffer::{ReadBuffer, WriteBuffer, fill_buffer};
pub(crate) use bytes::{bytes_from_slice, recv_into_new_bytes};
pub(crate) use call::{Sent, call_args, call_method, call0, call1, is_coroutine_exact, send, send_none};
pub(crate) use cell::{Counted, LocalQueue, ObjCell, Slot};
pub(crate) use class::{Base, Class, ClassBuilder, ClassCell};
pub(crate) use context::{context_copy, context_copy_current, context_enter, context_exit, is_context};
pub(crate) use convert::{IntoObj, double};
pub(crate) use coroutine_function::mark_coroutine_functions;
pub(crate) use coroutine_method::CoroutineMethods;
pub(crate) use current::{Current, Stage, Stepping, current, doubt_current, with_current, with_stage};
pub(crate) use error::{
    BaseKind, Outcome, Raised, base_kind, guard, guard_outcome, is_cancelled_error, quiet_lack_of_memory,
    raising,
};
pub(crate) use function::{add_fast_function, add_function};
pub(crate) use global::{Global, is_first_start, is_main_interpreter, meet_interpreter};
pub(crate) use image::{Counter, Field, Image};
pub(crate) use instance::Derived;
pub(crate) use kept::{Kept, set_traced};
pub(crate) use libssl::{Library, Session, Step};
pub(crate) use method::MethodTable;
pub(crate) use native::{LastKeyword, NativeFunction};
pub(crate) use object::{IsClass, Obj, Ref, is_exact_coroutine};
pub(crate) use public::public_class;
pub(crate) use reserve::try_to_grow;
pub(crate) use room::Room;
pub(crate) use snapshot::{Captured, ContextCache, is_sharing, probe};
pub(crate) use stop_iteration::{init_stop_iteration, raise_stop_iteration};
pub(crate) use visit::Visit;
pub(crate) use waker::{LocalWake, local_waker, waker_table, waker_target};
pub(crate) use watched::init as init_watched;
