//! `subprocess_exec` and `subprocess_shell` (asyncio: Running Subprocesses): their arguments, and what becomes of a start
//! that fails or is cancelled.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use super::Loop;
use super::establish::pair;
use crate::asyncio::asyncio;
use crate::awaiter::Awaiter;
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Visit};
use crate::held::{Held, Shown};
use crate::subprocess::{ProcessTransport, Running, Start, begin, give_up, spawn};

/// `subprocess.PIPE` and `subprocess.STDOUT`.
const PIPE: i32 = -1;
const STDOUT: i32 = -2;

/// The three standard streams, by name.
const STREAMS: [&str; 3] = ["stdin", "stdout", "stderr"];

/// Which of the two methods it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    Exec,
    Shell,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Exec => "subprocess_exec",
            Method::Shell => "subprocess_shell",
        }
    }
}

/// The arguments.
struct Request {
    method: Method,
    protocol_factory: Obj,
    /// The command, or a tuple of the program and its arguments.
    args: Obj,
    /// The options as they were given: those of `Popen`, and those that must have one value.
    options: Obj,
}

impl Shown for Request {
    fn show(&self, visit: &mut Visit<'_>) {
        self.protocol_factory.show(visit);
        self.args.show(visit);
        self.options.show(visit);
    }
}

/// Takes a required argument out of those that are left, which come by position first.
fn required<'py>(
    method: Method,
    positional: &mut impl Iterator<Item = Bound<'py, PyAny>>,
    options: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let named = options.get_item(name)?;
    let function = method.name();
    match (positional.next(), named) {
        (Some(_), Some(_)) => Err(PyTypeError::new_err(format!(
            "{function}() got multiple values for argument '{name}'"
        ))),
        (Some(value), None) => Ok(value),
        (None, Some(value)) => {
            options.del_item(name)?;
            Ok(value)
        }
        (None, None) => Err(PyTypeError::new_err(format!(
            "{function}() missing 1 required positional argument: '{name}'"
        ))),
    }
}

impl Request {
    fn parse(method: Method, args: Args<'_, '_>) -> PyResult<Request> {
        let py = args.py();
        let options = PyDict::new(py);
        for (name, value) in args.keywords() {
            options.set_item(name, value)?;
        }
        let mut positional = args.positional_from(0).cloned();
        let protocol_factory = required(method, &mut positional, &options, "protocol_factory")?;
        let args = match method {
            Method::Exec => {
                let program = required(method, &mut positional, &options, "program")?;
                PyTuple::new(py, std::iter::once(program).chain(positional).collect::<Vec<_>>())?.into_any()
            }
            Method::Shell => {
                let command = required(method, &mut positional, &options, "cmd")?;
                if positional.next().is_some() {
                    return Err(PyTypeError::new_err(
                        "subprocess_shell() takes at most 2 positional arguments",
                    ));
                }
                command
            }
        };
        Ok(Request {
            method,
            protocol_factory: Obj::from(protocol_factory),
            args: Obj::from(args),
            options: Obj::from(options),
        })
    }

    /// Checks the options that only have one value, and makes of all of them what `Popen` takes.
    fn popen_options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let options = self.options.bind(py).cast::<PyDict>()?.copy()?;
        let take = |name: &str| -> PyResult<Option<Bound<'py, PyAny>>> {
            let value = options.get_item(name)?;
            if value.is_some() {
                options.del_item(name)?;
            }
            Ok(value)
        };
        let is_true = |value: Option<Bound<'py, PyAny>>, default: bool| match value {
            Some(value) => value.is_truthy(),
            None => Ok(default),
        };
        let refuse = |text: &'static str| Err(PyValueError::new_err(text));
        let uses_shell = self.method == Method::Shell;
        if uses_shell {
            let command = self.args.bind(py);
            if !command.is_instance_of::<PyString>() && !command.is_instance_of::<PyBytes>() {
                return refuse("cmd must be a string");
            }
        }
        if is_true(take("universal_newlines")?, false)? {
            return refuse("universal_newlines must be False");
        }
        match (is_true(take("shell")?, uses_shell)?, uses_shell) {
            (false, true) => return refuse("shell must be True"),
            (true, false) => return refuse("shell must be False"),
            _ => {}
        }
        if let Some(bufsize) = options.get_item("bufsize")?
            && bufsize.ne(0)?
        {
            return refuse("bufsize must be 0");
        }
        if is_true(take("text")?, false)? {
            return refuse("text must be False");
        }
        for (name, refused) in [
            ("encoding", "encoding must be None"),
            ("errors", "errors must be None"),
        ] {
            if take(name)?.is_some_and(|value| !value.is_none()) {
                return refuse(refused);
            }
        }
        for name in STREAMS {
            if !options.contains(name)? {
                options.set_item(name, PIPE)?;
            }
        }
        options.set_item("shell", uses_shell)?;
        options.set_item("universal_newlines", false)?;
        if !options.contains("bufsize")? {
            options.set_item("bufsize", 0)?;
        }
        Ok(options)
    }

    /// What stands for the program in messages, which hide its arguments.
    fn program<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.method {
            Method::Exec => self.args.bind(py).get_item(0),
            Method::Shell => Ok(self.args.bind(py).clone()),
        }
    }

    /// How the log names what is run.
    fn title(&self, py: Python<'_>) -> PyResult<String> {
        let what = match self.method {
            Method::Exec => "execute program",
            Method::Shell => "run shell command",
        };
        Ok(format!("{what} {}", self.program(py)?.repr()?))
    }

    /// Logs what is going to be run, in debug mode: the text for the message when it runs.
    fn log(&self, event_loop: &Loop, options: &Bound<'_, PyDict>) -> PyResult<Option<String>> {
        let py = options.py();
        if !event_loop.debug() {
            return Ok(None);
        }
        let title = self.title(py)?;
        let mut text = title.clone();
        let [stdin, stdout, stderr] = STREAMS.map(|name| options.get_item(name));
        let (stdin, stdout, stderr) = (stdin?, stdout?, stderr?);
        let is_joined = stderr
            .as_ref()
            .is_some_and(|stderr| stderr.eq(STDOUT).unwrap_or(false));
        let streams = [
            ("stdin", stdin),
            (if is_joined { "stdout=stderr" } else { "stdout" }, stdout),
            ("stderr", stderr.filter(|_| !is_joined)),
        ];
        for (name, value) in streams {
            if let Some(value) = value.filter(|value| !value.is_none()) {
                text.push_str(&format!(" {name}={}", stream_text(&value)?));
            }
        }
        let logger = asyncio(py)?.logger.bind(py);
        logger.call_method1("debug", (text,))?;
        Ok(Some(title))
    }
}

fn stream_text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if value.eq(PIPE)? {
        return Ok("<pipe>".to_owned());
    }
    if value.eq(STDOUT)? {
        return Ok("<stdout>".to_owned());
    }
    Ok(value.repr()?.to_string())
}

/// Waits until the protocol knows of the process.
async fn until_begun(
    event_loop: &Ref<Loop>,
    transport: &Ref<ProcessTransport>,
    running: Running,
    awaiter: &Awaiter,
) -> PyResult<()> {
    let made = match running {
        Running::Beginning(made) => made,
        Running::Unconnected(pipes) => {
            for pipe in pipes {
                let connecting = Python::attach(|py| pipe.connect(py, event_loop))?;
                awaiter.wait(connecting).await?;
            }
            begin(transport, event_loop)
        }
    };
    // The sender can only be dropped unused by a loop that is closed, whose tasks are not stepped any more.
    awaiter.catch(made).await.map(drop)
}

async fn run(event_loop: Held<Ref<Loop>>, request: Request, awaiter: Awaiter) -> PyResult<Obj> {
    let request = awaiter.hold(request);
    let (transport, running, protocol, title) = Python::attach(|py| {
        let options = request.popen_options(py)?;
        let protocol = Obj::from(request.protocol_factory.bind(py).call0()?);
        let title = request.log(&event_loop, &options)?;
        let start = Start {
            args: request.args.clone(),
            program: Obj::from(request.program(py)?),
            options: Obj::from(&options),
        };
        let (transport, running) = spawn(py, &event_loop, &protocol, &start)?;
        PyResult::Ok((transport, running, protocol, title))
    })?;
    let (transport, protocol) = (awaiter.hold(transport), awaiter.hold(protocol));
    let begun = match running {
        Ok(running) => until_begun(&event_loop, &transport, running, &awaiter).await,
        Err(error) => Err(error),
    };
    if let Err(error) = begun {
        // The process must not outlive who has asked for it, nor stay behind as a zombie.
        Python::attach(|py| give_up(&transport, py))?;
        transport.wait().await;
        return Err(error);
    }
    Python::attach(|py| {
        if let Some(title) = title {
            let logger = asyncio(py)?.logger.bind(py);
            logger.call_method1("info", ("%s: %r", title, transport.bind(py)))?;
        }
        pair(py, transport.as_obj(), &protocol)
    })
}

fn subprocess_exec(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Request::parse(Method::Exec, args)?;
    create_with_held(args.py(), "Loop.subprocess_exec", slf, |event_loop, awaiter| {
        run(event_loop, request, awaiter)
    })
}

fn subprocess_shell(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let request = Request::parse(Method::Shell, args)?;
    create_with_held(args.py(), "Loop.subprocess_shell", slf, |event_loop, awaiter| {
        run(event_loop, request, awaiter)
    })
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"subprocess_exec",
            c"subprocess_exec($self, protocol_factory, program, *args, stdin=-1, stdout=-1, stderr=-1, universal_newlines=False, shell=False, bufsize=0, encoding=None, errors=None, text=None, **kwargs)\n--\n\nRun a program: (transport, protocol). A coroutine.",
            subprocess_exec,
        )
        .method(
            c"subprocess_shell",
            c"subprocess_shell($self, protocol_factory, cmd, *, stdin=-1, stdout=-1, stderr=-1, universal_newlines=False, shell=True, bufsize=0, encoding=None, errors=None, text=None, **kwargs)\n--\n\nRun a shell command: (transport, protocol). A coroutine.",
            subprocess_shell,
        );
}
