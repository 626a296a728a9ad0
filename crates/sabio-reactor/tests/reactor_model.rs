//! Watches against a model: random handles, futures, data and reused numbers on a few descriptors.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::Poll;

use proptest::prelude::*;
use sabio_reactor::{Events, Fired, Reactor, Readiness};
use support::{Counter, reuse_number};

const DESCRIPTORS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    AddHandle(usize, Way, u32),
    RemoveHandle(usize, Way),
    Wait(usize, Way),
    DropWait(usize),
    PollWait(usize),
    Send(usize),
    Drain(usize),
    Reuse(usize),
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..DESCRIPTORS;
    let way = prop_oneof![Just(Way::Read), Just(Way::Write)];
    prop_oneof![
        3 => (at.clone(), way.clone(), any::<u32>()).prop_map(|(at, way, name)| Step::AddHandle(at, way, name)),
        3 => (at.clone(), way.clone()).prop_map(|(at, way)| Step::RemoveHandle(at, way)),
        4 => (at.clone(), way).prop_map(|(at, way)| Step::Wait(at, way)),
        2 => any::<usize>().prop_map(Step::DropWait),
        2 => any::<usize>().prop_map(Step::PollWait),
        2 => at.clone().prop_map(Step::Send),
        2 => at.clone().prop_map(Step::Drain),
        1 => at.prop_map(Step::Reuse),
        5 => Just(Step::Turn),
    ]
}

/// What a future should say when it is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Waits,
    Ready,
    Stale,
}

struct Wait {
    future: Readiness<u32, u32>,
    counter: Arc<Counter>,
    at: usize,
    way: Way,
    expected: Expected,
    /// Which watch it belongs to.
    watch: u64,
}

#[derive(Default)]
struct Descriptor {
    reader: Option<u32>,
    writer: Option<u32>,
    has_data: bool,
    /// The kernel was told of the file, and has not been told to forget it.
    known: bool,
    /// That file is closed, its number means another one, and the reactor has not noticed yet.
    reused: bool,
    /// Grows when a watch is thrown away as stale.
    watch: u64,
}

impl Descriptor {
    fn handle(&mut self, way: Way) -> &mut Option<u32> {
        match way {
            Way::Read => &mut self.reader,
            Way::Write => &mut self.writer,
        }
    }

    /// What the kernel is told: whether reading and writing are wanted, and whether by a handle.
    fn wanted(&self, at: usize, waits: &[Wait]) -> (bool, bool, bool) {
        let waits = |way| {
            waits
                .iter()
                .any(|wait| wait.at == at && wait.way == way && wait.expected == Expected::Waits)
        };
        let (read, write) = (self.reader.is_some(), self.writer.is_some());
        (
            read || waits(Way::Read),
            write || waits(Way::Write),
            read || write,
        )
    }

    /// The reactor has noticed: everything that was registered for the closed file is gone.
    fn throw_away(&mut self, at: usize, waits: &mut [Wait]) {
        self.reader = None;
        self.writer = None;
        self.known = false;
        self.reused = false;
        for wait in waits
            .iter_mut()
            .filter(|wait| wait.at == at && wait.watch == self.watch)
        {
            wait.expected = Expected::Stale;
        }
        self.watch += 1;
    }

    /// Someone new comes, so the reactor asks the kernel.
    fn arrive(&mut self, at: usize, waits: &mut [Wait]) {
        if self.reused {
            self.throw_away(at, waits);
        }
        self.known = true;
    }

    /// Someone left; `before` was wanted until then. The reactor tells the kernel if that is less now, and finds
    /// out in doing so.
    fn leave(&mut self, at: usize, waits: &mut [Wait], before: (bool, bool, bool)) {
        let after = self.wanted(at, waits);
        if self.reused && after != before {
            self.throw_away(at, waits);
        } else if after == (false, false, false) {
            self.known = false;
        }
    }
}

struct World {
    reactor: std::rc::Rc<Reactor<u32, u32>>,
    pairs: Vec<(UnixStream, UnixStream)>,
    model: Vec<Descriptor>,
    waits: Vec<Wait>,
}

impl World {
    fn new() -> Self {
        let pairs: Vec<_> = (0..DESCRIPTORS).map(|_| UnixStream::pair().unwrap()).collect();
        let model = (0..DESCRIPTORS).map(|_| Descriptor::default()).collect();
        Self {
            reactor: std::rc::Rc::new(Reactor::new().unwrap()),
            pairs,
            model,
            waits: Vec::new(),
        }
    }

    fn fd(&self, at: usize) -> i32 {
        self.pairs[at].0.as_raw_fd()
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::AddHandle(at, way, name) => {
                let fd = self.fd(at);
                let old = match way {
                    Way::Read => self.reactor.add_reader(fd, name).unwrap(),
                    Way::Write => self.reactor.add_writer(fd, name).unwrap(),
                };
                let model = &mut self.model[at];
                prop_assert_eq!(old, *model.handle(way));
                model.arrive(at, &mut self.waits);
                *model.handle(way) = Some(name);
            }
            Step::RemoveHandle(at, way) => {
                let fd = self.fd(at);
                let before = self.model[at].wanted(at, &self.waits);
                let old = match way {
                    Way::Read => self.reactor.remove_reader(fd),
                    Way::Write => self.reactor.remove_writer(fd),
                };
                let expected = self.model[at].handle(way).take();
                prop_assert_eq!(old, expected);
                if old.is_some() {
                    self.model[at].leave(at, &mut self.waits, before);
                }
            }
            Step::Wait(at, way) => {
                let fd = self.fd(at);
                let mut future = match way {
                    Way::Read => self.reactor.readable(fd),
                    Way::Write => self.reactor.writable(fd),
                };
                let counter = Counter::new();
                prop_assert!(counter.poll(&mut future).is_pending());
                self.model[at].arrive(at, &mut self.waits);
                let watch = self.model[at].watch;
                self.waits.push(Wait {
                    future,
                    counter,
                    at,
                    way,
                    expected: Expected::Waits,
                    watch,
                });
            }
            Step::DropWait(pick) if !self.waits.is_empty() => {
                let index = pick % self.waits.len();
                let at = self.waits[index].at;
                let before = self.model[at].wanted(at, &self.waits);
                let wait = self.waits.swap_remove(index);
                let waited = wait.expected == Expected::Waits;
                drop(wait);
                if waited {
                    self.model[at].leave(at, &mut self.waits, before);
                }
            }
            Step::PollWait(pick) if !self.waits.is_empty() => {
                let index = pick % self.waits.len();
                let wait = &mut self.waits[index];
                let said = match wait.counter.poll(&mut wait.future) {
                    Poll::Pending => Expected::Waits,
                    Poll::Ready(Ok(())) => Expected::Ready,
                    Poll::Ready(Err(error)) => {
                        prop_assert_eq!(error.raw_os_error(), Some(libc::EBADF));
                        Expected::Stale
                    }
                };
                prop_assert_eq!(said, wait.expected);
                if said != Expected::Waits {
                    drop(self.waits.swap_remove(index));
                }
            }
            Step::Send(at) => {
                self.pairs[at].1.write_all(b"x").unwrap();
                self.model[at].has_data = true;
            }
            Step::Drain(at) => {
                self.pairs[at].0.set_nonblocking(true).unwrap();
                while self.pairs[at].0.read(&mut [0; 512]).is_ok() {}
                self.model[at].has_data = false;
            }
            Step::Reuse(at) => {
                let spare = UnixStream::pair().unwrap().0;
                let (old, far) =
                    std::mem::replace(&mut self.pairs[at], (spare, UnixStream::pair().unwrap().0));
                self.pairs[at] = reuse_number(old);
                drop(far);
                self.model[at].has_data = false;
                self.model[at].reused = self.model[at].known;
            }
            Step::Turn => self.turn()?,
            Step::DropWait(_) | Step::PollWait(_) => {}
        }
        for wait in &self.waits {
            // Woken once when it was over, and not before.
            prop_assert_eq!(
                wait.counter.woken(),
                usize::from(wait.expected != Expected::Waits)
            );
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), TestCaseError> {
        let mut events = Events::new();
        self.reactor
            .poller()
            .wait(&mut events, Some(std::time::Duration::ZERO))
            .unwrap();
        let mut fired = HashMap::new();
        for event in &events {
            if let Fired::Watch { reader, writer } = self.reactor.fire(event) {
                // Handles are named at random, so no two descriptors are mixed up unnoticed.
                prop_assert!(fired.insert((reader, writer), ()).is_none());
            }
        }
        let mut expected = HashMap::new();
        for (at, model) in self.model.iter().enumerate().filter(|(_, model)| !model.reused) {
            let reader = model.reader.filter(|_| model.has_data);
            if reader.is_some() || model.writer.is_some() {
                expected.insert((reader, model.writer), ());
            }
            let over = |wait: &&mut Wait| {
                let ready = wait.way == Way::Write || model.has_data;
                wait.at == at && wait.expected == Expected::Waits && ready
            };
            self.waits
                .iter_mut()
                .filter(over)
                .for_each(|wait| wait.expected = Expected::Ready);
        }
        prop_assert_eq!(fired, expected);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn watches_do_what_a_list_of_who_waits_says(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.run(step)?;
        }
    }
}
