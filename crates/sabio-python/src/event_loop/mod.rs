//! The event loop: what it holds. One file a concern; `run` turns the crank, `class` is what Python sees.
//!
//! Invariants: the ready queue is the only place from which callbacks and steps are run, in the order in which they
//! were put there; only the thread that holds the GIL touches the loop's state; everything that another thread wants
//! goes through `call_soon_threadsafe` or a remote waker.

pub(crate) mod accept;
pub(crate) mod asyncgens;
pub(crate) mod attempt;
mod class;
mod clock;
pub(crate) mod connect;
mod cork;
pub(crate) mod create_datagram;
pub(crate) mod debug;
pub(crate) mod errors;
mod establish;
pub(crate) mod executor;
mod pipes;
mod python_socket;
pub(crate) mod readers;
mod replaced;
pub(crate) mod resolve;
pub(crate) mod resolver;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod sendfile;
pub(crate) mod serve;
pub(crate) mod server;
pub(crate) mod signals;
pub(crate) mod sock;
pub(crate) mod sock_connect;
pub(crate) mod sock_datagram;
mod socket_file;
mod start_tls;
mod stream_arguments;
mod subprocess;
pub(crate) mod tasks;
pub(crate) mod unix;
mod until_complete;
pub(crate) mod wrap_future;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::ThreadId;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use sabio_reactor::{Events, ForkMark, Reactor, Readiness, RemoteWakers, Resolver};

pub(crate) use self::class::init;
pub(crate) use self::clock::time;
pub(crate) use self::cork::CorkedTransport;
pub(crate) use self::tasks::{asyncios_future, runs_asyncios_task};
use crate::ffi::ContextCache;
use crate::ffi::{
    Class, ClassCell, Global, LocalQueue, Obj, ObjCell, Ref, Visit, meet_interpreter, try_to_grow,
};
use crate::handle::Handle;
use crate::names::names;
use crate::os_error::os_error;
use crate::step::Input;
use crate::task::Task;
use crate::timeouts::Alarm;
use crate::transport::datagram::Batches;
use crate::transport::{Source, Stream, tls};
use crate::waker::visit_waker;

/// Something to run in the next turn. Every variant is one pointer, so that an item travels in two registers.
pub(crate) enum Ready {
    /// A step of a task: its first, after a bare yield, or after it was parked.
    Step(Ref<Task>),
    /// A step of a task that waited for the future which it still names as its `_fut_waiter`, and which is done.
    Wakeup(Ref<Task>),
    /// A step that begins with something else.
    StepWith(Box<(Ref<Task>, Input)>),
    /// A callback of a user.
    Call(Ref<Handle>),
    /// Tells the observer of a future that is done: see `observer`.
    Observed(Obj),
    /// A timeout has run down: see `timeouts`.
    Expire(Ref<Alarm>),
    /// A stream has data, or its end.
    Readable(Ref<Stream>),
    /// A stream has room.
    Writable(Ref<Stream>),
    /// Another descriptor of ours is ready.
    Event(Box<SourceEvent>),
    /// See [`Ready::job`].
    Job(Box<OwnedJob>),
}

impl Ready {
    /// A step of something of ours, such as a transport that tells its protocol of the connection. Exceptions that
    /// the closure returns leave the loop. `owner` is what debug mode names if the step takes long.
    pub(crate) fn job(
        owner: Obj,
        job: impl FnOnce(Python<'_>, &Ref<Loop>) -> PyResult<()> + 'static,
    ) -> Ready {
        Ready::Job(Box::new(OwnedJob {
            owner,
            job: Box::new(job),
        }))
    }
}

/// See [`Ready::job`].
pub(crate) type Job = Box<dyn FnOnce(Python<'_>, &Ref<Loop>) -> PyResult<()>>;

/// A job, and whose it is.
pub(crate) struct OwnedJob {
    pub(crate) owner: Obj,
    pub(crate) job: Job,
}

/// See [`Ready::Event`].
pub(crate) struct SourceEvent {
    pub(crate) source: Source,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// The reactor of a loop: our sources, and the handles of users.
pub(crate) type LoopReactor = Reactor<Source, Ref<Handle>>;

/// The future of a descriptor that becomes ready.
pub(crate) type LoopReadiness = Readiness<Source, Ref<Handle>>;

/// What becomes of the step that the initialiser of `_asyncio.Task` schedules: ours is taken natively instead.
#[derive(Default)]
pub(crate) enum FirstStep {
    #[default]
    Unexpected,
    /// The initialiser runs.
    Expected,
    /// `call_soon` has dropped the step and kept its context.
    Dropped(Obj),
}

/// The data of a loop.
pub(crate) struct Loop {
    ready: LocalQueue<Ready>,
    reactor: Rc<LoopReactor>,
    remote: RemoteWakers,
    resolver: RefCell<Option<Rc<Resolver>>>,
    /// The buffer of events, taken out while the poller fills it.
    events: Cell<Option<Box<Events>>>,
    /// Transports with data that the callback which runs now has written.
    corked: cork::Corked,
    /// What transports receive small messages into.
    scratch: RefCell<Box<[u8]>>,
    /// What transports receive datagrams into.
    pub(crate) datagrams: Batches,
    /// What TLS transports decrypt and encrypt in.
    tls: tls::Buffers,
    pub(crate) signals: signals::Signals,
    pub(crate) files: readers::Files,

    pace: run::Pace,
    clock: clock::Clock,
    /// How many transports had data when the poller was asked last.
    readable: Cell<u32>,
    thread: Cell<Option<ThreadId>>,
    thread_ident: Cell<u64>,
    waiting: Cell<bool>,
    stopping: Cell<bool>,
    closed: Cell<bool>,
    fork: ForkMark,

    debug: Cell<bool>,
    pub(crate) slow_callback_duration: ObjCell,
    pub(crate) current_handle: ObjCell,
    pub(crate) exception_handler: ObjCell,
    pub(crate) task_factory: ObjCell,
    /// Whether the loop's `create_task()` is one that the program has put there.
    create_task_is_replaced: Cell<bool>,
    pub(crate) default_executor: ObjCell,
    pub(crate) executor_shutdown: Cell<bool>,
    pub(crate) asyncgens: ObjCell,
    pub(crate) asyncgens_shutdown: Cell<bool>,

    first_step: Cell<FirstStep>,
    /// Contexts for callbacks.
    pub(crate) contexts: ContextCache,
    no_args: Obj,
    loop_kwargs: ObjCell,
}

static LOOP: ClassCell = ClassCell::new();
/// `sabio.Loop`.
static PUBLIC: Global<Obj> = Global::new();

impl Class for Loop {
    const NAME: &'static std::ffi::CStr = c"sabio._LoopCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &LOOP
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.queue(&self.ready, |visit, item| match item {
            Ready::Step(task) | Ready::Wakeup(task) => visit.obj(task.as_obj()),
            Ready::StepWith(step) => {
                visit.obj(step.0.as_obj());
                if let Input::Done(object) | Input::Throw(object) = &step.1 {
                    visit.obj(object);
                }
            }
            Ready::Call(handle) => Handle::visit_if_sole(handle, visit),
            Ready::Observed(future) => visit.obj(future),
            Ready::Readable(stream) | Ready::Writable(stream) => visit.obj(stream.as_obj()),
            Ready::Event(event) => event.source.visit(visit),
            // What the closure holds is not shown, so neither is the owner: it holds that one, too.
            Ready::Expire(_) | Ready::Job(_) => {}
        });
        self.corked.visit(visit);
        let shared = RefCell::new(&mut *visit);
        self.reactor.visit(
            |source| source.visit(*shared.borrow_mut()),
            |handle| Handle::visit_if_sole(handle, *shared.borrow_mut()),
            |waker| visit_waker(*shared.borrow_mut(), waker),
        );
        self.signals.visit(visit);
        self.files.visit(visit);
        for slot in [
            &self.slow_callback_duration,
            &self.current_handle,
            &self.exception_handler,
            &self.task_factory,
            &self.default_executor,
            &self.asyncgens,
            &self.loop_kwargs,
        ] {
            visit.slot(slot);
        }
        visit.obj(&self.no_args);
        self.contexts.visit(visit);
    }

    fn clear(&self) {
        drop(self.ready.take_all());
        drop(self.corked.take_all());
        for slot in [
            &self.exception_handler,
            &self.task_factory,
            &self.asyncgens,
            &self.loop_kwargs,
        ] {
            slot.set(None);
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // The reactor's futures may outlive the loop: what it holds is given back and dropped here, last.
        drop(self.reactor.close());
    }
}

impl Loop {
    fn new(class: &Bound<'_, PyType>) -> PyResult<Loop> {
        let py = class.py();
        meet_interpreter(py);
        let clock = clock::Clock::of(class)?;
        let reactor = Rc::new(LoopReactor::new().map_err(os_error)?);
        let remote = RemoteWakers::new(reactor.waker());
        let debug = debug::debug_by_default(py)?;
        Ok(Loop {
            ready: LocalQueue::with_capacity(64),
            reactor,
            remote,
            resolver: RefCell::new(None),
            events: Cell::new(Some(Box::new(Events::new()))),
            corked: cork::Corked::default(),
            // Zeroed memory of this size is not touched before it is used.
            scratch: RefCell::new(vec![0; crate::transport::MAX_READ].into_boxed_slice()),
            datagrams: Batches::default(),
            tls: tls::Buffers::default(),
            signals: signals::Signals::default(),
            files: readers::Files::default(),
            pace: run::Pace::default(),
            clock,
            readable: Cell::new(0),
            thread: Cell::new(None),
            thread_ident: Cell::new(0),
            waiting: Cell::new(false),
            stopping: Cell::new(false),
            closed: Cell::new(false),
            fork: ForkMark::new(),
            debug: Cell::new(debug),
            slow_callback_duration: ObjCell::new(Some(crate::ffi::IntoObj::into_obj(0.1, py)?)),
            current_handle: ObjCell::new(None),
            exception_handler: ObjCell::new(None),
            task_factory: ObjCell::new(None),
            create_task_is_replaced: Cell::new(false),
            default_executor: ObjCell::new(None),
            executor_shutdown: Cell::new(false),
            asyncgens: ObjCell::new(Some(py.import("weakref")?.getattr("WeakSet")?.call0()?.into())),
            asyncgens_shutdown: Cell::new(false),
            first_step: Cell::new(FirstStep::Unexpected),
            contexts: ContextCache::default(),
            no_args: PyTuple::empty(py).into(),
            loop_kwargs: ObjCell::new(None),
        })
    }

    /// Appends to the ready queue.
    #[inline]
    pub(crate) fn push(&self, item: Ready) {
        self.ready.push(item);
    }

    /// Makes sure that one more entry finds room on the ready queue. MemoryError.
    #[inline]
    pub(crate) fn make_room(&self) -> PyResult<()> {
        self.ready.make_room()
    }

    /// Makes sure that one more timer finds room. MemoryError.
    #[inline]
    pub(crate) fn make_room_for_timer(&self) -> PyResult<()> {
        if self.reactor.has_room_for_timer() {
            return Ok(());
        }
        try_to_grow(|| self.reactor.make_room_for_timer())
    }

    /// The ready queue.
    #[inline]
    pub(crate) fn ready(&self) -> &LocalQueue<Ready> {
        &self.ready
    }

    /// Takes the newest entry of the ready queue back.
    pub(crate) fn pop_newest(&self) -> Option<Ready> {
        self.ready.pop_newest()
    }

    /// The reactor.
    #[inline]
    pub(crate) fn reactor(&self) -> &Rc<LoopReactor> {
        &self.reactor
    }

    /// Wakers for work on other threads.
    pub(crate) fn remote(&self) -> &RemoteWakers {
        &self.remote
    }

    /// The pool that resolves names; made at the first use.
    pub(crate) fn resolver(&self) -> Rc<Resolver> {
        let mut resolver = self.resolver.borrow_mut();
        Rc::clone(resolver.get_or_insert_with(|| Rc::new(Resolver::new())))
    }

    /// Whether a callback runs whose end will come: what is corked in any other moment would stay where it is.
    #[inline]
    pub(crate) fn can_cork(&self) -> bool {
        // While the loop waits, only another thread can be writing.
        self.is_running() && !self.waiting.get()
    }

    /// Something is sent, received, closed, or asked for anew: the next turn looks at the descriptors.
    #[inline]
    pub(crate) fn expect_events(&self) {
        self.pace.expect();
    }

    /// How many transports have data in this turn, about.
    #[inline]
    pub(crate) fn readable(&self) -> u32 {
        self.readable.get()
    }

    /// Memory of `transport::MAX_READ` bytes, for the time of one read.
    #[inline]
    pub(crate) fn scratch(&self) -> &RefCell<Box<[u8]>> {
        &self.scratch
    }

    /// Memory for the time of one pass through a TLS engine.
    #[inline]
    pub(crate) fn tls(&self) -> &tls::Buffers {
        &self.tls
    }

    /// Whether debug mode is on.
    #[inline]
    pub(crate) fn debug(&self) -> bool {
        self.debug.get()
    }

    /// Whether the loop was closed.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// RuntimeError if the loop is closed, or was made before a fork of this process.
    #[inline]
    pub(crate) fn check_closed(&self) -> PyResult<()> {
        if self.closed.get() {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        if self.fork.is_inherited() {
            return Err(PyRuntimeError::new_err(
                "this event loop belongs to the process before fork(): make a new one in the child",
            ));
        }
        Ok(())
    }

    /// RuntimeError if a coroutine of this loop, which can only be woken by it, is awaited somewhere else.
    #[inline]
    pub(crate) fn check_awaited_here(&self) -> PyResult<()> {
        self.check_closed()?;
        if self.is_running_here() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "a coroutine of this event loop is awaited on a different loop",
        ))
    }

    /// Whether this is a forked child of the process that made the loop.
    pub(crate) fn is_inherited(&self) -> bool {
        self.fork.is_inherited()
    }

    /// Whether the loop runs, on whatever thread.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.thread.get().is_some()
    }

    /// Whether the loop runs on this thread.
    pub(crate) fn is_running_here(&self) -> bool {
        self.thread.get() == Some(std::thread::current().id())
    }

    /// Tells `call_soon` whether the initialiser of `_asyncio.Task` is about to schedule a step. Gives back what it
    /// knew before.
    #[inline]
    pub(crate) fn expect_first_step(&self, expected: FirstStep) -> FirstStep {
        self.first_step.replace(expected)
    }

    /// An empty tuple.
    #[inline]
    pub(crate) fn no_args<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyTuple> {
        // `no_args` was made as a tuple.
        match self.no_args.bind(py).cast::<PyTuple>() {
            Ok(tuple) => tuple,
            Err(_) => unreachable!("made as a tuple"),
        }
    }
}

impl Ref<Loop> {
    /// Whether it is no subclass, which might have methods of its own that the initialisers of futures call.
    #[inline]
    pub(crate) fn is_plain(&self, py: Python<'_>) -> bool {
        let class: *const () = self.bind(py).get_type_ptr().cast();
        PUBLIC
            .get(py)
            .is_ok_and(|public| std::ptr::eq(class, public.as_ptr().cast()))
    }

    /// `{"loop": self}`, made once and kept until the loop is closed.
    #[inline]
    pub(crate) fn loop_kwargs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let kwargs = match self.loop_kwargs.get() {
            Some(kwargs) => kwargs.into_bound(py).cast_into::<PyDict>()?,
            None => {
                let kwargs = PyDict::new(py);
                kwargs.set_item(names(py)?.loop_.bind(py), self.bind(py))?;
                if !self.is_closed() {
                    self.loop_kwargs.set(Some(Obj::from(&kwargs)));
                }
                kwargs
            }
        };
        Ok(kwargs)
    }
}
