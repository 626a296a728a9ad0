//! `MessageBuffer` against a plain `Vec`, also where memory runs out.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::Cell;
use std::collections::TryReserveError;
use std::rc::Rc;

use proptest::prelude::*;
use sabio_sync::{MessageBuffer, Messages};

/// Messages that are counted references, and memory that can be had while `left` is not zero.
#[derive(Clone, Copy)]
struct Shared<'a> {
    left: &'a Cell<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct NoMemory;

impl Shared<'_> {
    fn allocate(self) -> Result<(), NoMemory> {
        self.left.set(self.left.get().checked_sub(1).ok_or(NoMemory)?);
        Ok(())
    }
}

impl Messages for Shared<'_> {
    type Message = Rc<[u8]>;
    type Error = NoMemory;

    fn contents<'a>(self, message: &'a Rc<[u8]>) -> &'a [u8]
    where
        Self: 'a,
    {
        message
    }

    fn copied(self, contents: &[u8]) -> Result<Rc<[u8]>, NoMemory> {
        self.allocate()?;
        Ok(Rc::from(contents))
    }

    fn grow(self, grow: impl FnOnce() -> Result<(), TryReserveError>) -> Result<(), NoMemory> {
        self.allocate()?;
        grow().map_err(|_| NoMemory)
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// The message itself if nothing is unread, else a copy.
    Feed(Vec<u8>),
    Append(Vec<u8>),
    Extend(Vec<u8>),
    Take(usize),
    Consume(usize),
    Clear,
    /// From now on memory can be had so many times.
    Memory(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let data = || {
        prop_oneof![
            3 => proptest::collection::vec(any::<u8>(), 0..20),
            // More than is kept for a few unread bytes.
            1 => (any::<u8>(), 4000usize..6000).prop_map(|(first, size)| (0..size).map(|at| first ^ at as u8).collect()),
        ]
    };
    let count = || prop_oneof![3 => 0usize..30, 1 => 3000usize..7000, 1 => Just(usize::MAX)];
    prop_oneof![
        4 => data().prop_map(Step::Feed),
        2 => data().prop_map(Step::Append),
        2 => data().prop_map(Step::Extend),
        6 => count().prop_map(Step::Take),
        2 => count().prop_map(Step::Consume),
        1 => Just(Step::Clear),
        1 => prop_oneof![0usize..3, Just(usize::MAX)].prop_map(Step::Memory),
    ]
}

proptest! {
    #[test]
    fn it_gives_what_was_put_in_in_order(steps in proptest::collection::vec(step(), 0..60)) {
        let left = Cell::new(usize::MAX);
        let shared = Shared { left: &left };
        let mut buffer = MessageBuffer::default();
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Feed(data) if buffer.is_empty() => {
                    buffer.hold(shared, Rc::from(&*data));
                    model.extend(data);
                }
                // What fails has done nothing.
                Step::Feed(data) | Step::Extend(data) => {
                    if buffer.extend(shared, &data).is_ok() {
                        model.extend(data);
                    }
                }
                Step::Append(data) => {
                    if buffer.append(shared, &data).is_ok() {
                        model.extend(data);
                    }
                }
                Step::Take(count) => {
                    if let Ok(taken) = buffer.take(shared, count) {
                        let expected: Vec<u8> = model.drain(..count.min(model.len())).collect();
                        prop_assert_eq!(&*taken, &expected[..]);
                    } else {
                        prop_assert_eq!(left.get(), 0);
                    }
                }
                Step::Consume(count) => {
                    buffer.consume(shared, count);
                    model.drain(..count.min(model.len()));
                }
                Step::Clear => {
                    buffer.clear();
                    model.clear();
                }
                Step::Memory(times) => left.set(times),
            }
            prop_assert_eq!(buffer.as_slice(shared), &model[..]);
            prop_assert_eq!(buffer.len(shared), model.len());
            prop_assert_eq!(buffer.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn a_message_that_is_read_whole_is_not_copied() {
    let left = Cell::new(0);
    let shared = Shared { left: &left };
    let message: Rc<[u8]> = Rc::from(&b"message"[..]);
    let mut buffer = MessageBuffer::default();
    for count in [7, 8, usize::MAX] {
        buffer.hold(shared, Rc::clone(&message));
        let taken = buffer.take(shared, count).unwrap();
        assert!(Rc::ptr_eq(&taken, &message));
        assert!(buffer.is_empty());
    }
}

#[test]
fn a_large_message_of_which_little_is_left_is_let_go() {
    let left = Cell::new(usize::MAX);
    let shared = Shared { left: &left };
    let message: Rc<[u8]> = Rc::from(vec![7; 100_000]);
    let mut buffer = MessageBuffer::default();
    buffer.hold(shared, Rc::clone(&message));
    buffer.consume(shared, 75_000);
    assert_eq!(Rc::strong_count(&message), 2);
    // Without memory it stays.
    left.set(0);
    buffer.consume(shared, 1);
    assert_eq!(Rc::strong_count(&message), 2);
    left.set(usize::MAX);
    buffer.consume(shared, 1);
    assert_eq!(Rc::strong_count(&message), 1);
    assert_eq!(buffer.as_slice(shared), &message[75_002..]);
}

#[test]
fn an_empty_message_leaves_the_buffer_empty() {
    let left = Cell::new(0);
    let shared = Shared { left: &left };
    let mut buffer = MessageBuffer::default();
    buffer.hold(shared, Rc::from(&b""[..]));
    assert!(buffer.is_empty());
    assert_eq!(buffer.append(shared, b""), Ok(()));
    assert!(buffer.is_empty());
    assert_eq!(buffer.append(shared, b"more"), Err(NoMemory));
    assert!(buffer.is_empty());
}
