//! The load generator: all connections on one thread, one request outstanding on each.
//!
//! A run has three phases. In the warm-up and in the window every complete answer is followed by the
//! next request; after the window nothing new is asked and the outstanding answers are awaited, so that
//! the last request of each connection is checked like the first. The window's bounds are taken at a
//! completed answer, with the server's processor time read at the same two moments.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::Failure;
use crate::args::Plan;
use crate::channel::{Channel, Trust};
use crate::conversation::Conversation;
use crate::cpu::{self, Reading, Used};
use crate::histogram::Histogram;

/// With no byte from the server for this long, the run has failed.
const PATIENCE: Duration = Duration::from_secs(10);

const SCRATCH: usize = 256 << 10;

/// What a run found.
pub(crate) struct Measured {
    /// Answers completed in the window.
    pub(crate) messages: u64,
    /// Length of the window.
    pub(crate) elapsed: Duration,
    /// From the first byte of a request handed to the kernel to the last byte of its answer.
    pub(crate) latencies: Histogram,
    /// Processor time of the server in the window, if a process was named.
    pub(crate) server: Option<Used>,
}

/// Connects, drives the server and checks every answer.
///
/// # Errors
/// When a connection cannot be made, breaks or falls silent, and when an answer is not the one owed.
pub(crate) fn run<C: Conversation>(plan: &Plan, common: &mut C::Common) -> Result<Measured, Failure> {
    cpu::pin(plan.cpu)?;
    let mut generator = Generator::<C>::connect(plan, common)?;
    for place in 0..generator.connections.len() {
        generator.send(place, common)?;
    }
    generator.drive(common)
}

struct Connection<C> {
    channel: Channel,
    conversation: C,
    asked: Instant,
    waits_to_write: bool,
}

enum Phase {
    WarmUp {
        until: Instant,
    },
    Window {
        began: Instant,
        until: Instant,
        server: Option<Reading>,
    },
    Drain {
        elapsed: Duration,
        server: Option<Used>,
    },
}

struct Generator<'a, C> {
    plan: &'a Plan,
    epoll: OwnedFd,
    connections: Vec<Connection<C>>,
    scratch: Vec<u8>,
    phase: Phase,
    /// Connections with an answer still to come.
    outstanding: usize,
    messages: u64,
    latencies: Histogram,
}

impl<'a, C: Conversation> Generator<'a, C> {
    fn connect(plan: &'a Plan, common: &C::Common) -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let trust = plan.tls.as_deref().map(Trust::read).transpose()?;
        let mut connections = Vec::new();
        for id in 0..plan.connections {
            let channel = Channel::connect(plan.address, trust.as_ref())?;
            let data = EventData::new_u64(u64::from(id));
            epoll::add(&epoll, channel.stream(), data, EventFlags::IN)?;
            let conversation = C::new(id, common);
            connections.push(Connection {
                channel,
                conversation,
                asked: Instant::now(),
                waits_to_write: false,
            });
        }
        Ok(Self {
            plan,
            epoll,
            outstanding: connections.len(),
            connections,
            scratch: vec![0; SCRATCH],
            phase: Phase::WarmUp {
                until: Instant::now() + plan.warmup,
            },
            messages: 0,
            latencies: Histogram::new(),
        })
    }

    fn drive(mut self, common: &mut C::Common) -> Result<Measured, Failure> {
        let mut events = Vec::with_capacity(1024);
        let patience = Timespec::try_from(PATIENCE)?;
        while self.outstanding > 0 {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)) {
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(0) => {
                    let silent = self.outstanding;
                    return Err(format!("no byte for {PATIENCE:?}, {silent} answers outstanding").into());
                }
                Ok(_) => {}
            }
            for event in &events {
                let place = event.data.u64() as usize;
                let flags = event.flags;
                if self.connections[place].waits_to_write && flags.contains(EventFlags::OUT) {
                    self.send(place, common)?;
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.receive(place, common)?;
                }
            }
        }
        match self.phase {
            Phase::Drain { elapsed, server } => Ok(Measured {
                messages: self.messages,
                elapsed,
                latencies: self.latencies,
                server,
            }),
            Phase::WarmUp { .. } | Phase::Window { .. } => Err("the run ended before its window".into()),
        }
    }

    /// Hands as much of the present request to the kernel as it takes, and asks to be woken for the rest.
    fn send(&mut self, place: usize, common: &mut C::Common) -> Result<(), Failure> {
        let connection = &mut self.connections[place];
        let blocked = loop {
            let unsent = connection.conversation.unsent(common);
            if unsent.is_empty() && !connection.channel.wants_write() {
                break false;
            }
            match connection.channel.write(unsent) {
                Ok(count) => connection.conversation.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("connection {place}: {error}").into()),
            }
        };
        if blocked != connection.waits_to_write {
            let interest = if blocked {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            epoll::modify(
                &self.epoll,
                connection.channel.stream(),
                EventData::new_u64(place as u64),
                interest,
            )?;
            connection.waits_to_write = blocked;
        }
        Ok(())
    }

    fn receive(&mut self, place: usize, common: &mut C::Common) -> Result<(), Failure> {
        let connection = &mut self.connections[place];
        let count = match connection.channel.read(&mut self.scratch) {
            Ok(0) => return Err(format!("connection {place}: closed by the server").into()),
            Ok(count) => count,
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
                return Ok(());
            }
            Err(error) => return Err(format!("connection {place}: {error}").into()),
        };
        if !connection.conversation.received(&self.scratch[..count], common)? {
            return Ok(());
        }
        let now = Instant::now();
        let took = now - connection.asked;
        if !self.completed(now, took)? {
            self.outstanding -= 1;
            return Ok(());
        }
        let connection = &mut self.connections[place];
        connection.conversation.advance();
        connection.asked = now;
        self.send(place, common)
    }

    /// Counts an answer and tells whether its connection goes on asking.
    fn completed(&mut self, now: Instant, took: Duration) -> Result<bool, Failure> {
        match &self.phase {
            Phase::WarmUp { until } => {
                if now >= *until {
                    let server = self.read_server()?;
                    let began = Instant::now();
                    self.phase = Phase::Window {
                        began,
                        until: began + self.plan.window,
                        server,
                    };
                }
                Ok(true)
            }
            Phase::Window { began, until, server } => {
                self.messages += 1;
                self.latencies.record(took);
                if now < *until {
                    return Ok(true);
                }
                let elapsed = now - *began;
                let used = self
                    .read_server()?
                    .zip(server.as_ref())
                    .map(|(end, start)| end.since(start));
                self.phase = Phase::Drain {
                    elapsed,
                    server: used,
                };
                Ok(false)
            }
            Phase::Drain { .. } => Ok(false),
        }
    }

    fn read_server(&self) -> Result<Option<Reading>, Failure> {
        self.plan.server_pid.map(Reading::of).transpose()
    }
}
