//! From an event to those who wait for it.

use std::task::Waker as TaskWaker;

use super::Reactor;
use super::table::{Entry, Table};
use super::watch::{Direction, Watch};
use crate::event::Event;
use crate::interest::Interest;
use crate::token::Token;

/// Whom an event is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Fired<S, H> {
    /// Nobody that the caller has to run: a stale token, the waker, or tasks that have been woken.
    Nothing,
    /// A source. The event's `readable` and `writable` are set only as far as it is interested.
    Source(S, Event),
    /// The handles of a watch that are due; at least one.
    Watch {
        /// The handle of `add_reader`.
        reader: Option<H>,
        /// The handle of `add_writer`.
        writer: Option<H>,
    },
}

impl<S: Clone, H: Clone> Reactor<S, H> {
    /// Finds out whom `event` is for. Wakes the futures that waited for it, and resets the waker if it is
    /// the waker's own.
    pub fn fire(&self, event: Event) -> Fired<S, H> {
        if event.token == Token::WAKER {
            self.waker.reset();
            return Fired::Nothing;
        }
        let mut table = self.table.borrow_mut();
        match table.get_mut(event.token) {
            None => Fired::Nothing,
            Some(Entry::Source(source)) => {
                let event = Event {
                    readable: event.readable && source.interest.is_readable(),
                    writable: event.writable && source.interest.is_writable(),
                    ..event
                };
                if event.readable || event.writable {
                    Fired::Source(source.source.clone(), event)
                } else {
                    Fired::Nothing
                }
            }
            Some(Entry::Watch(watch)) => {
                let mut woken = self.spare.take();
                let reader = watch.take_ready(Direction::Read, event.readable, &mut woken);
                let writer = watch.take_ready(Direction::Write, event.writable, &mut woken);
                if watch.armed.contains(Interest::ONCE) {
                    watch.armed = Interest::NONE;
                }
                let stale = self.settle(&mut table, event.token);
                drop(table);
                woken.drain(..).for_each(TaskWaker::wake);
                self.spare.set(woken);
                if let Some(stale) = stale {
                    stale.release();
                }
                if reader.is_none() && writer.is_none() {
                    Fired::Nothing
                } else {
                    Fired::Watch { reader, writer }
                }
            }
        }
    }

    /// Brings the kernel in step with those who still wait; gives out the watch if it is stale.
    fn settle(&self, table: &mut Table<S, H>, token: Token) -> Option<Entry<S, H>> {
        match table.watch_mut(token)?.reduce(&self.poller, token) {
            Ok(()) => None,
            Err(_) => table.remove(token),
        }
    }
}

impl<H: Clone> Watch<H> {
    /// The handle of a direction that is ready; the wakers of its futures are added to `woken`.
    fn take_ready(&mut self, direction: Direction, ready: bool, woken: &mut Vec<TaskWaker>) -> Option<H> {
        if !ready {
            return None;
        }
        let side = self.side(direction);
        woken.extend(side.waiting.drain(..).map(|waiting| waiting.waker));
        side.handle.clone()
    }
}
