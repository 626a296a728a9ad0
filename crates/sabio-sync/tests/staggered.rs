//! Happy eyeballs on a clock that only moves when the test says so.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use proptest::prelude::*;
use sabio_sync::staggered_race;
use support::Executor;

/// Time in whole ticks; waiting for a tick polls in each turn.
#[derive(Default)]
struct Clock(Cell<u64>);

impl Clock {
    async fn until(&self, tick: u64) {
        poll_fn(|_| {
            if self.0.get() >= tick {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// An attempt: how many ticks it takes, and whether it succeeds.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    ticks: u64,
    succeeds: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<usize, Vec<usize>>,
    /// When it ended.
    at: u64,
    /// When each attempt that was started was started.
    started: Vec<(usize, u64)>,
    /// How many attempts were still there when it ended.
    left: usize,
}

struct Running<'a>(&'a Cell<usize>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

type Boxed<'a> = Pin<Box<dyn Future<Output = Result<usize, usize>> + 'a>>;

/// Runs the race, one tick after another. `None` delay means that no head start ever ends.
fn run(attempts: &[Attempt], delay: Option<u64>) -> Outcome {
    let clock = Clock::default();
    let started = RefCell::new(Vec::new());
    let running = Cell::new(0);
    let outcome = RefCell::new(None);
    let mut executor = Executor::new();
    let futures: Vec<Boxed<'_>> = attempts
        .iter()
        .copied()
        .enumerate()
        .map(|(name, attempt)| {
            let (clock, started, running) = (&clock, &started, &running);
            Box::pin(async move {
                started.borrow_mut().push((name, clock.0.get()));
                running.set(running.get() + 1);
                let _running = Running(running);
                clock.until(clock.0.get() + attempt.ticks).await;
                if attempt.succeeds { Ok(name) } else { Err(name) }
            }) as Boxed<'_>
        })
        .collect();
    executor.spawn(async {
        let race = staggered_race(futures, || {
            let start = clock.0.get();
            let clock = &clock;
            async move { clock.until(delay.map_or(u64::MAX, |delay| start + delay)).await }
        });
        let mut race = std::pin::pin!(race);
        // The one waker: polled once per tick.
        let result = poll_fn(|cx| {
            let polled = race.as_mut().poll(cx);
            if polled.is_pending() {
                clock.0.set(clock.0.get() + 1);
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await;
        *outcome.borrow_mut() = Some((result, clock.0.get(), running.get()));
    });
    executor.run();
    let (result, at, left) = outcome.take().unwrap_or((Err(Vec::new()), 0, 0));
    Outcome {
        result,
        at,
        started: started.take(),
        left,
    }
}

const fn good(ticks: u64) -> Attempt {
    Attempt {
        ticks,
        succeeds: true,
    }
}

const fn bad(ticks: u64) -> Attempt {
    Attempt {
        ticks,
        succeeds: false,
    }
}

#[test]
fn the_first_attempt_wins_when_it_is_quick() {
    let outcome = run(&[good(2), good(1)], Some(5));
    assert_eq!((outcome.result, outcome.started), (Ok(0), vec![(0, 0)]));
}

#[test]
fn a_slow_attempt_is_overtaken_after_its_head_start() {
    let outcome = run(&[good(50), good(3)], Some(5));
    assert_eq!(outcome.result, Ok(1));
    assert_eq!(outcome.started, [(0, 0), (1, 5)]);
    assert_eq!(outcome.at, 8);
}

#[test]
fn a_failure_starts_the_next_attempt_at_once() {
    let outcome = run(&[bad(1), bad(2), good(1)], Some(100));
    assert_eq!(outcome.result, Ok(2));
    assert_eq!(outcome.started, [(0, 0), (1, 1), (2, 3)]);
}

#[test]
fn the_failure_of_an_earlier_attempt_leaves_the_head_start_alone() {
    // The second starts at 5; the first fails at 6, while the second has until 10.
    let outcome = run(&[bad(6), good(50), good(1)], Some(5));
    assert_eq!(outcome.started, [(0, 0), (1, 5), (2, 10)]);
    assert_eq!(outcome.result, Ok(2));
}

#[test]
fn without_a_delay_attempts_run_one_after_another() {
    let outcome = run(&[bad(3), bad(4), good(5), good(1)], None);
    assert_eq!(outcome.started, [(0, 0), (1, 3), (2, 7)]);
    assert_eq!((outcome.result, outcome.at), (Ok(2), 12));
}

#[test]
fn all_errors_come_back_in_the_order_of_the_attempts() {
    let outcome = run(&[bad(9), bad(0), bad(3)], Some(2));
    assert_eq!(outcome.result, Err(vec![0, 1, 2]));
}

#[test]
fn no_attempts_fail_with_no_errors() {
    assert_eq!(run(&[], Some(1)).result, Err(Vec::new()));
}

/// The same race as arithmetic.
fn model(attempts: &[Attempt], delay: Option<u64>) -> (Result<usize, Vec<usize>>, u64) {
    let mut starts = Vec::new();
    let mut start = 0;
    for attempt in attempts {
        starts.push(start);
        let failed = if attempt.succeeds {
            u64::MAX
        } else {
            start + attempt.ticks
        };
        start = failed.min(delay.map_or(u64::MAX, |delay| start.saturating_add(delay)));
        if start == u64::MAX {
            break;
        }
    }
    let ends: Vec<_> = starts
        .iter()
        .zip(attempts)
        .map(|(start, attempt)| start + attempt.ticks)
        .collect();
    let winner = (0..starts.len())
        .filter(|index| attempts[*index].succeeds)
        .min_by_key(|index| ends[*index]);
    match winner {
        Some(winner) => (Ok(winner), ends[winner]),
        None => (
            Err((0..attempts.len()).collect()),
            ends.iter().copied().max().unwrap_or(0),
        ),
    }
}

proptest! {
    #[test]
    fn a_race_ends_as_arithmetic_says(
        attempts in prop::collection::vec((0u64..12, any::<bool>()), 0..7),
        delay in prop_oneof![Just(None), (0u64..8).prop_map(Some)],
    ) {
        let attempts: Vec<_> =
            attempts.into_iter().map(|(ticks, succeeds)| Attempt { ticks, succeeds }).collect();
        let outcome = run(&attempts, delay);
        let (result, at) = model(&attempts, delay);
        prop_assert_eq!(&outcome.result, &result);
        prop_assert_eq!(outcome.at, at);
        // The futures of the losers are gone with the race.
        prop_assert_eq!(outcome.left, 0);
    }
}
