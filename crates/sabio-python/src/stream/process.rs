//! `sabio.subprocess.Process`, `create_subprocess_exec` and `create_subprocess_shell` (asyncio: Subprocesses).
//!
//! A process of asyncio's own class has the same methods; here `communicate()` feeds and reads the streams in one
//! coroutine, without tasks. Where a stream or the transport is not ours, asyncio's method does it.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use pyo3::exceptions::{PyBrokenPipeError, PyConnectionResetError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyInt, PyTuple, PyType};

use super::reader::Reader;
use super::stream_reader::StreamReader;
use super::subprocess::SubprocessStreamProtocol;
use super::writer::StreamWriter;
use super::{This, parameters, public_class_of, read};
use crate::coroutine::{create_for, create_with, create_with_for};
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Ref, Signature, Visit,
};
use crate::names::names;
use crate::running_loop::running_loop;
use crate::subprocess::ProcessTransport;

/// Whether `communicate()` without input closes the standard input: asyncio does from 3.12 on.
const CLOSES_STDIN: bool = cfg!(Py_3_12);

/// Where a process keeps what: the three streams by their numbers first.
const STDIN: usize = 0;
const STDOUT: usize = 1;
const STDERR: usize = 2;
const PID: usize = 3;
const TRANSPORT: usize = 4;
const PROTOCOL: usize = 5;
const LOOP: usize = 6;

/// The data of a process: its attributes.
#[derive(Default)]
pub(crate) struct Process([ObjCell; 7]);

static PROCESS: ClassCell = ClassCell::new();
static CLASS: Global<Obj> = Global::new();
/// `asyncio.subprocess.Process`.
static BASE: Global<Obj> = Global::new();

impl Class for Process {
    const NAME: &'static std::ffi::CStr = c"sabio._ProcessCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &PROCESS
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.0.iter().for_each(|slot| visit.slot(slot));
    }

    fn clear(&self) {
        self.0.iter().for_each(|slot| slot.set(None));
    }
}

impl Process {
    /// An attribute; None if it was never set.
    fn attribute(&self, py: Python<'_>, index: usize) -> Obj {
        self.0[index].get().unwrap_or_else(|| Obj::none(py))
    }

    /// A stream, unless it is None.
    fn stream(&self, py: Python<'_>, fd: usize) -> Option<Obj> {
        self.0[fd].get().filter(|stream| !stream.bind(py).is_none())
    }

    /// A new process of exactly the public class.
    fn create(
        py: Python<'_>,
        transport: Bound<'_, PyAny>,
        protocol: &Bound<'_, PyAny>,
        event_loop: &Obj,
    ) -> PyResult<Ref<Process>> {
        let class = CLASS.get(py)?.bind(py).cast::<PyType>()?;
        let process = Ref::create_as(class, Process::default())?;
        process.begin(transport, protocol, event_loop.clone())?;
        Ok(process)
    }

    fn begin(
        &self,
        transport: Bound<'_, PyAny>,
        protocol: &Bound<'_, PyAny>,
        event_loop: Obj,
    ) -> PyResult<()> {
        match SubprocessStreamProtocol::exact(protocol) {
            Some(exact) => {
                for fd in [STDIN, STDOUT, STDERR] {
                    self.0[fd].set(exact.stream(fd));
                }
            }
            None => {
                for (slot, name) in self.0.iter().zip(["stdin", "stdout", "stderr"]) {
                    slot.set(Some(protocol.getattr(name)?.into()));
                }
            }
        }
        self.0[PID].set(Some(transport.call_method0("get_pid")?.into()));
        self.0[TRANSPORT].set(Some(transport.into()));
        self.0[PROTOCOL].set(Some(Obj::from(protocol)));
        self.0[LOOP].set(Some(event_loop));
        Ok(())
    }

    fn transport(&self, py: Python<'_>) -> Obj {
        self.attribute(py, TRANSPORT)
    }

    /// The method of the transport, called.
    fn forward(&self, py: Python<'_>, name: &str, args: &Bound<'_, PyTuple>) -> PyResult<Obj> {
        let transport = self.transport(py);
        Ok(transport.bind(py).call_method1(name, args)?.into())
    }
}

fn initialize(
    slf: &Ref<Process>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let names = ["transport", "protocol", "loop"];
    let [Some(transport), Some(protocol), Some(event_loop)] =
        parameters::sort("Process", names, 3, args, kwargs)?
    else {
        unreachable!("all three are required");
    };
    slf.begin(transport, &protocol, event_loop.into())
}

fn wait(slf: &Ref<Process>, py: Python<'_>) -> PyResult<Obj> {
    const NAME: &str = "Process.wait";
    let transport = slf.transport(py);
    let owner = slf.as_obj().clone();
    if let Some(exact) = Ref::<ProcessTransport>::downcast(transport.bind(py)) {
        let ended = exact.wait();
        return create_for(py, NAME, owner, async move {
            let returncode = ended.await;
            Python::attach(|py| Ok(PyInt::new(py, returncode).into_any().into()))
        });
    }
    create_with_for(py, NAME, owner, |awaiter| async move {
        let waiting = Python::attach(|py| transport.bind(py).call_method0("_wait").map(Obj::from));
        drop(transport);
        awaiter.wait(waiting?).await
    })
}

/// A stream that is read to its end, and its pipe, which is closed then.
struct Output {
    reader: Rc<Reader>,
    pipe: This,
}

/// What `communicate()` works with, where all of it is ours. It keeps nothing alive but states: the process keeps the
/// objects.
struct Communication {
    stdin: Option<This>,
    outputs: [Option<Output>; 2],
    ended: Pin<Box<dyn Future<Output = i32>>>,
}

impl Communication {
    /// None where a part is not ours, or is to be logged: then asyncio's own method does it.
    fn of(slf: &Process, py: Python<'_>) -> PyResult<Option<Communication>> {
        let transport = slf.transport(py);
        let Some(exact) = Ref::<ProcessTransport>::downcast(transport.bind(py)) else {
            return Ok(None);
        };
        if exact.is_logging() {
            return Ok(None);
        }
        let stdin = match slf.stream(py, STDIN) {
            None => None,
            Some(stdin) if StreamWriter::drained(stdin.bind(py)).is_some() => {
                Some(This::new(stdin.bind(py))?)
            }
            Some(_) => return Ok(None),
        };
        let mut outputs = [None, None];
        for (fd, output) in [STDOUT, STDERR].into_iter().zip(&mut outputs) {
            let Some(stream) = slf.stream(py, fd) else {
                continue;
            };
            let reader = StreamReader::exact(stream.bind(py));
            let (Some(reader), Some(pipe)) = (reader, exact.pipe_transport(fd)) else {
                return Ok(None);
            };
            *output = Some(Output {
                reader: Rc::clone(reader.state()),
                pipe: This::new(pipe.bind(py))?,
            });
        }
        Ok(Some(Communication {
            stdin,
            outputs,
            ended: Box::pin(exact.wait()),
        }))
    }

    async fn run(self, input: Option<Obj>) -> PyResult<Obj> {
        let [out, err] = self.outputs;
        let fed = feed(self.stdin, input);
        let (out, err) = all_of(fed, read_output(out), read_output(err)).await?;
        self.ended.await;
        Python::attach(|py| Ok((out.bind(py), err.bind(py)).into_pyobject(py)?.into()))
    }
}

/// Writes the input, waits until it is taken, and closes the stream. That nobody reads it is no error.
async fn feed(stdin: Option<This>, input: Option<Obj>) -> PyResult<()> {
    let Some(stdin) = stdin else { return Ok(()) };
    if !CLOSES_STDIN && input.is_none() {
        return Ok(());
    }
    let written = Python::attach(|py| {
        let stdin = stdin.upgrade(py)?;
        if let Some(input) = &input {
            stdin.call_method1(names(py)?.write.text(py), (input.bind(py),))?;
        }
        PyResult::Ok(StreamWriter::drained(&stdin))
    });
    drop(input);
    let drained = match written {
        Ok(Some(drained)) => drained.await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    Python::attach(|py| {
        if let Err(error) = drained
            && !error.is_instance_of::<PyBrokenPipeError>(py)
            && !error.is_instance_of::<PyConnectionResetError>(py)
        {
            return Err(error);
        }
        stdin.upgrade(py)?.call_method0(names(py)?.close.text(py))?;
        Ok(())
    })
}

async fn read_output(output: Option<Output>) -> PyResult<Obj> {
    let Some(output) = output else {
        return Ok(Python::attach(Obj::none));
    };
    let data = read::read_all(output.reader).await?;
    Python::attach(|py| {
        output.pipe.upgrade(py)?.call_method0(names(py)?.close.text(py))?;
        Ok(data)
    })
}

/// Runs the three side by side until all are done, or one has failed: what the latter two gave.
async fn all_of(
    fed: impl Future<Output = PyResult<()>>,
    out: impl Future<Output = PyResult<Obj>>,
    err: impl Future<Output = PyResult<Obj>>,
) -> PyResult<(Obj, Obj)> {
    /// Polls a future until it is done, and keeps what it gives.
    fn poll<T, F: Future<Output = PyResult<T>>>(
        future: Pin<&mut F>,
        done: &Cell<Option<T>>,
        is_done: &mut bool,
        cx: &mut Context<'_>,
    ) -> PyResult<()> {
        if !*is_done && let Poll::Ready(result) = future.poll(cx) {
            *is_done = true;
            done.set(Some(result?));
        }
        Ok(())
    }

    let (mut fed, mut out, mut err) = (pin!(fed), pin!(out), pin!(err));
    let (fed_done, out_done, err_done) = (Cell::new(None), Cell::new(None), Cell::new(None));
    let mut done = [false; 3];
    std::future::poll_fn(|cx| {
        let polled = poll(fed.as_mut(), &fed_done, &mut done[0], cx)
            .and_then(|()| poll(out.as_mut(), &out_done, &mut done[1], cx))
            .and_then(|()| poll(err.as_mut(), &err_done, &mut done[2], cx));
        match polled {
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) if done == [true; 3] => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
        }
    })
    .await?;
    let nothing = || Python::attach(Obj::none);
    Ok((
        out_done.take().unwrap_or_else(nothing),
        err_done.take().unwrap_or_else(nothing),
    ))
}

fn communicate(slf: &Ref<Process>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [input] = args.parse(&Signature {
        function: "communicate",
        parameters: ["input"],
        required: 0,
        positional: 1,
    })?;
    match Communication::of(slf, py)? {
        Some(communication) => {
            let input = input.filter(|input| !input.is_none()).map(Obj::from);
            let owner = slf.as_obj().clone();
            create_for(py, "Process.communicate", owner, communication.run(input))
        }
        None => Ok(BASE
            .get(py)?
            .bind(py)
            .call_method1("communicate", (slf.bind(py), input))?
            .into()),
    }
}

fn define(table: &mut MethodTable<Process>) {
    table
        .noargs(
            c"wait",
            c"wait($self, /)\n--\n\nWait until the process has ended: its status. A coroutine.",
            wait,
        )
        .method(
            c"communicate",
            c"communicate($self, input=None)\n--\n\nWrite input, read all output, wait for the end: (stdout, stderr). A coroutine.",
            communicate,
        )
        .method(
            c"send_signal",
            c"send_signal($self, signal)\n--\n\nSend a signal to the process.",
            |slf, args| {
                let py = args.py();
                let signal = args.single("send_signal", "signal")?;
                slf.forward(py, "send_signal", &PyTuple::new(py, [signal])?)
            },
        )
        .noargs(c"terminate", c"terminate($self, /)\n--\n\nSend SIGTERM to the process.", |slf, py| {
            slf.forward(py, "terminate", &PyTuple::empty(py))
        })
        .noargs(c"kill", c"kill($self, /)\n--\n\nSend SIGKILL to the process.", |slf, py| {
            slf.forward(py, "kill", &PyTuple::empty(py))
        })
        .getter(c"returncode", c"The status of the process; None while it runs.", |slf, py| {
            slf.forward(py, "get_returncode", &PyTuple::empty(py))
        });
    define_attributes(table);
}

/// An attribute that holds whatever was put there.
macro_rules! plain {
    ($table:expr, $($name:literal $doc:literal $index:expr;)*) => {
        $($table.attribute(
            $name,
            $doc,
            |slf, py| Ok(slf.attribute(py, $index)),
            |slf, value| {
                slf.0[$index].set(Some(Obj::from(value)));
                Ok(())
            },
        );)*
    };
}

fn define_attributes(table: &mut MethodTable<Process>) {
    plain!(
        table,
        c"stdin" c"The writer of the standard input, or None." STDIN;
        c"stdout" c"The reader of the standard output, or None." STDOUT;
        c"stderr" c"The reader of the standard error, or None." STDERR;
        c"pid" c"The number of the process." PID;
        c"_transport" c"The transport." TRANSPORT;
        c"_protocol" c"The protocol." PROTOCOL;
        c"_loop" c"The event loop." LOOP;
    );
}

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// Starts a process by a method of the running loop, which gets `args` after the factory, and makes its `Process`.
fn start<'py>(
    py: Python<'py>,
    name: &'static str,
    method: &'static str,
    args: Vec<Obj>,
    streams: [Given<'_, 'py>; 3],
    limit: Given<'_, 'py>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let keywords = PyDict::new(py);
    for (name, stream) in ["stdin", "stdout", "stderr"].iter().zip(streams) {
        keywords.set_item(name, stream)?;
    }
    for (name, value) in options.iter().flat_map(|options| options.iter()) {
        keywords.set_item(name, value)?;
    }
    let (keywords, limit) = (Obj::from(&keywords), limit.map(Obj::from));
    let coroutine = create_with(py, name, |awaiter| async move {
        let (event_loop, starting) = Python::attach(|py| {
            let event_loop = running_loop(py)?;
            let limit = parameters::limit(limit.as_ref().map(|limit| limit.bind(py)))?;
            let factory = factory(py, limit, &event_loop)?;
            let args = std::iter::once(factory).chain(args.iter().map(|arg| arg.bind(py).clone()));
            let args = PyTuple::new(py, args.collect::<Vec<_>>())?;
            let keywords = keywords.bind(py).cast::<PyDict>()?;
            let starting = event_loop.bind(py).call_method(method, args, Some(keywords))?;
            PyResult::Ok((event_loop, Obj::from(starting)))
        })?;
        drop((args, keywords));
        let event_loop = awaiter.hold(event_loop);
        let pair = awaiter.wait(starting).await?;
        Python::attach(|py| {
            let (transport, protocol) = pair.bind(py).extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            Ok(Process::create(py, transport, &protocol, &event_loop)?.into_obj())
        })
    })?;
    Ok(coroutine.into_bound(py))
}

/// What makes the protocol, as loops take it: a callable without arguments.
fn factory<'py>(py: Python<'py>, limit: usize, event_loop: &Obj) -> PyResult<Bound<'py, PyAny>> {
    let event_loop = event_loop.bind(py).clone().unbind();
    let make = move |args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>| {
        let py = args.py();
        let event_loop = Obj::from(event_loop.bind(py));
        let protocol = SubprocessStreamProtocol::create(py, limit, &event_loop)?;
        PyResult::Ok(protocol.bind(py).clone().unbind())
    };
    Ok(PyCFunction::new_closure(py, None, None, make)?.into_any())
}

/// Run a program with streams: a Process. A coroutine.
#[pyfunction]
#[pyo3(signature = (program, *args, stdin=None, stdout=None, stderr=None, limit=None, **kwds), text_signature = "(program, *args, stdin=None, stdout=None, stderr=None, limit=65536, **kwds)")]
#[expect(clippy::too_many_arguments, reason = "asyncio's parameters")]
fn create_subprocess_exec<'py>(
    py: Python<'py>,
    program: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    stdin: Given<'_, 'py>,
    stdout: Given<'_, 'py>,
    stderr: Given<'_, 'py>,
    limit: Given<'_, 'py>,
    kwds: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let all = std::iter::once(program.clone()).chain(args.iter());
    let all = all.map(Obj::from).collect();
    let streams = [stdin, stdout, stderr];
    start(
        py,
        "create_subprocess_exec",
        "subprocess_exec",
        all,
        streams,
        limit,
        kwds,
    )
}

/// Run a shell command with streams: a Process. A coroutine.
#[pyfunction]
#[pyo3(signature = (cmd, stdin=None, stdout=None, stderr=None, limit=None, **kwds), text_signature = "(cmd, stdin=None, stdout=None, stderr=None, limit=65536, **kwds)")]
fn create_subprocess_shell<'py>(
    py: Python<'py>,
    cmd: &Bound<'py, PyAny>,
    stdin: Given<'_, 'py>,
    stdout: Given<'_, 'py>,
    stderr: Given<'_, 'py>,
    limit: Given<'_, 'py>,
    kwds: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let command = vec![Obj::from(cmd)];
    let streams = [stdin, stdout, stderr];
    start(
        py,
        "create_subprocess_shell",
        "subprocess_shell",
        command,
        streams,
        limit,
        kwds,
    )
}

/// Builds the class, our core first, `asyncio.subprocess.Process` behind it; adds the functions.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = py.import("asyncio.subprocess")?.getattr("Process")?;
    BASE.set(py, base.into());
    let core = ClassBuilder::<Process>::new(c"The native part of sabio.subprocess.Process.")
        .members(define)
        .constructor(|_class, _args, _kwargs| Ok(Process::default()))
        .initializer(initialize)
        .build(py, &Base::Object)?;
    let doc = "Process(transport, protocol, loop)\n--\n\nA process with streams (asyncio: Subprocesses).";
    public_class_of(module, &CLASS, ("asyncio.subprocess", "Process"), &core, doc)?;
    module.add_function(wrap_pyfunction!(create_subprocess_exec, module)?)?;
    module.add_function(wrap_pyfunction!(create_subprocess_shell, module)?)
}
