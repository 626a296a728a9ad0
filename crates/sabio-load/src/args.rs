//! The command line, read by hand: a dozen options do not need a library.
//!
//! Every number is checked here, so the rest of the program may rely on the ranges that the fields
//! below name. Called once, by `main`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::thread::CpuSet;

use crate::echo::SMALLEST_MESSAGE;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: sabio-load --port PORT [options]     drive a server and print figures as JSON
       sabio-load raw-echo [--port PORT] [--cpu N]    a bare epoll echo server

options:
  --host ADDRESS      numeric address of the server (127.0.0.1)
  --port PORT         its port
  --mode echo|http    echo: the bytes sent come back; http: GET, the body is the target (echo)
  --connections N     connections, one request outstanding on each (64)
  --tls FILE          speak TLS to a server that has the certificate in this PEM file
  --size BYTES        bytes of an echoed message (1024)
  --seconds S         length of the measured window (3)
  --warmup S          load before the window, not measured (0.5)
  --cpu N             run on this core only
  --server-pid PID    also measure the processor time of this process in the window";

/// Largest message of `--size`, in bytes; also bounds what an answer may take in memory.
const LARGEST_MESSAGE: usize = 64 << 20;

/// Why [`parse`] gave no command.
#[derive(Debug)]
pub(crate) enum Usage {
    /// `--help` was given.
    Asked,
    /// The reason, for the user.
    Wrong(String),
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Drive a server.
    Load(Plan, Mode),
    /// Be the bare echo server.
    RawEcho(RawEcho),
}

/// What is said on each connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// The bytes sent come back; `size` is at least [`SMALLEST_MESSAGE`].
    Echo {
        /// Bytes of a message.
        size: usize,
    },
    /// HTTP/1.1 keep-alive GET whose answer's body is the request's target.
    Http,
}

/// How to drive a server.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The certificate that the server must have, where TLS is spoken.
    pub(crate) tls: Option<PathBuf>,
    /// Connections, at least one.
    pub(crate) connections: u32,
    /// Length of the measured window, above zero.
    pub(crate) window: Duration,
    /// Length of the load before it.
    pub(crate) warmup: Duration,
    /// Core to run on, if pinned.
    pub(crate) cpu: Option<usize>,
    /// Process whose processor time is measured, if any.
    pub(crate) server_pid: Option<u32>,
}

/// How to be the bare echo server.
#[derive(Debug)]
pub(crate) struct RawEcho {
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub(crate) port: u16,
    /// Core to run on, if pinned.
    pub(crate) cpu: Option<usize>,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Command, Usage> {
    let mut options = Options::default();
    let mut raw_echo = false;
    let mut first = true;
    while let Some(word) = words.next() {
        if std::mem::take(&mut first) && word == "raw-echo" {
            raw_echo = true;
        } else {
            options.take(&word, &mut words)?;
        }
    }
    if raw_echo {
        options.raw_echo()
    } else {
        options.load()
    }
}

#[derive(Default)]
struct Options {
    given: Vec<String>,
    host: Option<IpAddr>,
    port: Option<u16>,
    http: bool,
    tls: Option<PathBuf>,
    connections: Option<u32>,
    size: Option<usize>,
    seconds: Option<f64>,
    warmup: Option<f64>,
    cpu: Option<usize>,
    server_pid: Option<u32>,
}

impl Options {
    fn take(&mut self, name: &str, words: &mut impl Iterator<Item = String>) -> Result<(), Usage> {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| Usage::Wrong(format!("{name} needs a value")))
        };
        match name {
            "-h" | "--help" => return Err(Usage::Asked),
            "--mode" => {
                self.http = match value()?.as_str() {
                    "echo" => false,
                    "http" => true,
                    other => return Err(Usage::Wrong(format!("--mode is echo or http, not {other}"))),
                }
            }
            "--tls" => self.tls = Some(value()?.into()),
            "--host" => self.host = Some(number(name, &value()?)?),
            "--port" => self.port = Some(number(name, &value()?)?),
            "--connections" => self.connections = Some(number(name, &value()?)?),
            "--size" => self.size = Some(number(name, &value()?)?),
            "--seconds" => self.seconds = Some(number(name, &value()?)?),
            "--warmup" => self.warmup = Some(number(name, &value()?)?),
            "--cpu" => self.cpu = Some(number(name, &value()?)?),
            "--server-pid" => self.server_pid = Some(number(name, &value()?)?),
            other => return Err(Usage::Wrong(format!("unknown argument {other}"))),
        }
        self.given.push(name.to_owned());
        Ok(())
    }

    fn cpu(&self) -> Result<Option<usize>, Usage> {
        match self.cpu {
            Some(cpu) if cpu >= CpuSet::MAX_CPU => Err(Usage::Wrong(format!("no core {cpu}"))),
            cpu => Ok(cpu),
        }
    }

    fn raw_echo(self) -> Result<Command, Usage> {
        if let Some(foreign) = self
            .given
            .iter()
            .find(|name| !["--port", "--cpu"].contains(&name.as_str()))
        {
            return Err(Usage::Wrong(format!("raw-echo takes no {foreign}")));
        }
        Ok(Command::RawEcho(RawEcho {
            port: self.port.unwrap_or(0),
            cpu: self.cpu()?,
        }))
    }

    fn load(self) -> Result<Command, Usage> {
        let wrong = |reason: &str| Err(Usage::Wrong(reason.to_owned()));
        let Some(port) = self.port else {
            return wrong("--port is needed");
        };
        let connections = self.connections.unwrap_or(64);
        if connections == 0 {
            return wrong("--connections must be at least 1");
        }
        let mode = if self.http {
            if self.size.is_some() {
                return wrong("--size belongs to --mode echo");
            }
            Mode::Http
        } else {
            let size = self.size.unwrap_or(1024);
            if !(SMALLEST_MESSAGE..=LARGEST_MESSAGE).contains(&size) {
                return Err(Usage::Wrong(format!(
                    "--size must lie between {SMALLEST_MESSAGE} and {LARGEST_MESSAGE} bytes"
                )));
            }
            Mode::Echo { size }
        };
        let window = seconds("--seconds", self.seconds.unwrap_or(3.0))?;
        if window.is_zero() {
            return wrong("--seconds must be above zero");
        }
        let plan = Plan {
            address: SocketAddr::new(self.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port),
            tls: self.tls.clone(),
            connections,
            window,
            warmup: seconds("--warmup", self.warmup.unwrap_or(0.5))?,
            cpu: self.cpu()?,
            server_pid: self.server_pid,
        };
        Ok(Command::Load(plan, mode))
    }
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, Usage> {
    text.parse()
        .map_err(|_| Usage::Wrong(format!("{name} cannot be {text}")))
}

fn seconds(name: &str, value: f64) -> Result<Duration, Usage> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if duration <= Duration::from_secs(3600) => Ok(duration),
        _ => Err(Usage::Wrong(format!(
            "{name} must lie between 0 and 3600 seconds"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, Usage> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn refusal(line: &str) -> String {
        match parsed(line) {
            Err(Usage::Wrong(reason)) => reason,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_reach_the_plan() {
        let line =
            "--port 80 --host ::1 --tls a.pem --connections 3 --size 99 --seconds 0.25 --warmup 0 --cpu 1";
        let Ok(Command::Load(plan, Mode::Echo { size })) = parsed(line) else {
            panic!("{line}")
        };
        assert_eq!(plan.address.to_string(), "[::1]:80");
        assert_eq!(plan.tls, Some("a.pem".into()));
        assert_eq!((plan.connections, size, plan.cpu), (3, 99, Some(1)));
        assert_eq!(
            (plan.window, plan.warmup),
            (Duration::from_millis(250), Duration::ZERO)
        );
    }

    #[test]
    fn raw_echo_is_a_command_of_its_own() {
        let Ok(Command::RawEcho(server)) = parsed("raw-echo --port 7 --cpu 0") else {
            panic!()
        };
        assert_eq!((server.port, server.cpu), (7, Some(0)));
        assert!(refusal("raw-echo --seconds 1").contains("--seconds"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_reason() {
        for (line, named) in [
            ("", "--port"),
            ("--port 70000", "70000"),
            ("--port", "value"),
            ("--port 1 --connections 0", "--connections"),
            ("--port 1 --size 3", "--size"),
            ("--port 1 --mode http --size 100", "--size"),
            ("--port 1 --mode ftp", "ftp"),
            ("--port 1 --seconds 0", "--seconds"),
            ("--port 1 --seconds nan", "--seconds"),
            ("--port 1 --warmup -1", "--warmup"),
            ("--port 1 --cpu 999999", "999999"),
            ("--port 1 --nonsense", "--nonsense"),
        ] {
            assert!(refusal(line).contains(named), "{line}: {}", refusal(line));
        }
    }
}
