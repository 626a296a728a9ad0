//! `sabio-load`: drives a server over loopback and says what its answers cost.
//!
//! Two programs in one binary. Without a subcommand it is the load generator: N connections, one
//! request outstanding on each, every answer compared byte for byte with what that connection is
//! owed. `sabio-load raw-echo` is a bare epoll echo server, the floor that an event loop in Python
//! is measured against.
//!
//! The invariant of a run: a figure is printed only when every request sent was answered, by its
//! own answer. A wrong, missing or surplus byte ends the run with exit code 1 and no figure.
//! The scripts in `benches/` call it; its output is one JSON object on standard output.

mod args;
mod channel;
mod conversation;
mod cpu;
mod echo;
mod generator;
mod histogram;
mod http;
mod raw_echo;
mod report;

use std::io::Write;
use std::process::ExitCode;

use args::{Command, Mode, Usage};

/// What ends a run: a message for the person who started it.
pub(crate) type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(Usage::Asked) => return print(args::HELP),
        Err(Usage::Wrong(reason)) => {
            complain(&format!("{reason}\n\n{}", args::HELP));
            return ExitCode::from(2);
        }
    };
    match run(&command) {
        Ok(text) => print(&text),
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<String, Failure> {
    let (plan, mode) = match command {
        Command::RawEcho(server) => return raw_echo::serve(server).map(|never| match never {}),
        Command::Load(plan, mode) => (plan, mode),
    };
    let measured = match mode {
        Mode::Echo { size } => generator::run::<echo::Echo>(plan, &mut echo::Message::new(*size))?,
        Mode::Http => generator::run::<http::Http>(plan, &mut ())?,
    };
    Ok(report::json(plan, mode, &measured))
}

fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    // Standard error is the last place there is: when it is gone, so is whoever would read this.
    let _ = writeln!(std::io::stderr(), "sabio-load: {text}");
}
