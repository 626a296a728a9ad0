//! Cores and processor time, read the way proc(5) describes.
//!
//! The figure is the nanosecond count that the scheduler keeps per thread (`/proc/PID/task/*/schedstat`,
//! first field); it grows at each switch and at each tick. User and system time come from
//! `/proc/PID/stat` in ticks of 10 ms and only tell the two apart. When a thread of the server ends in the window its
//! nanoseconds are lost, and the ticks, which the kernel keeps for the whole process, are the figure.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Failure;

/// Length of a tick of `/proc/PID/stat`: USER_HZ is 100 on every architecture that Linux runs on today.
const TICK: Duration = Duration::from_millis(10);

/// Keeps the calling thread, and those it starts, on one core.
pub(crate) fn pin(cpu: Option<usize>) -> Result<(), Failure> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut cores = CpuSet::new();
    cores.set(cpu);
    sched_setaffinity(None, &cores).map_err(|error| format!("cannot run on core {cpu}: {error}").into())
}

/// What a process has used since it began.
pub(crate) struct Reading {
    user: Duration,
    system: Duration,
    threads: BTreeMap<u32, Duration>,
}

/// What a process used between two readings.
#[derive(Debug, PartialEq)]
pub(crate) struct Used {
    /// User and system time together, the most exact figure there is.
    pub(crate) total: Duration,
    /// User time, in ticks.
    pub(crate) user: Duration,
    /// System time, in ticks.
    pub(crate) system: Duration,
    /// Where `total` comes from: `schedstat` or `stat`.
    pub(crate) source: &'static str,
}

impl Reading {
    /// Reads the counters of a process.
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let read = |path: String| fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"));
        let (user, system) = parse_stat(&read(format!("/proc/{pid}/stat"))?).ok_or("no times in stat")?;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let Some(tid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the read; `since` sees that it is gone.
            let Ok(text) = read(format!("/proc/{pid}/task/{tid}/schedstat")) else {
                continue;
            };
            let ran = text
                .split(' ')
                .next()
                .and_then(|field| field.parse().ok())
                .ok_or("no time in schedstat")?;
            threads.insert(tid, Duration::from_nanos(ran));
        }
        Ok(Self {
            user,
            system,
            threads,
        })
    }

    /// What was used since an earlier reading of the same process.
    pub(crate) fn since(&self, earlier: &Self) -> Used {
        let user = self.user.saturating_sub(earlier.user);
        let system = self.system.saturating_sub(earlier.system);
        let complete =
            !self.threads.is_empty() && earlier.threads.keys().all(|tid| self.threads.contains_key(tid));
        if !complete {
            return Used {
                total: user + system,
                user,
                system,
                source: "stat",
            };
        }
        let sum = |reading: &Self| reading.threads.values().sum::<Duration>();
        Used {
            total: sum(self).saturating_sub(sum(earlier)),
            user,
            system,
            source: "schedstat",
        }
    }
}

/// User and system time in the text of `/proc/PID/stat`: fields 14 and 15, counted after the command's
/// name because that may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<(Duration, Duration)> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || {
        fields
            .next()?
            .parse::<u32>()
            .ok()
            .and_then(|ticks| TICK.checked_mul(ticks))
    };
    Some((ticks()?, ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn stat_is_read_past_a_name_with_parentheses() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194304 133 0 0 0 21 34 5 6 20 0 1 0";
        assert_eq!(parse_stat(text), Some((TICK * 21, TICK * 34)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn work_of_this_process_is_seen() {
        let before = Reading::of(std::process::id()).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let used = Reading::of(std::process::id()).unwrap().since(&before);
        assert!(used.total >= Duration::from_millis(20), "{used:?}");
    }

    #[test]
    fn a_thread_that_ended_leaves_the_ticks() {
        let ms = Duration::from_millis;
        let reading = |user, threads: &[(u32, u64)]| Reading {
            user: ms(user),
            system: ms(0),
            threads: threads.iter().map(|(tid, ran)| (*tid, ms(*ran))).collect(),
        };
        let before = reading(10, &[(1, 5), (2, 5)]);
        let kept = reading(50, &[(1, 25), (2, 26), (3, 1)]).since(&before);
        assert_eq!((kept.total, kept.source), (ms(42), "schedstat"));
        let lost = reading(50, &[(1, 25)]).since(&before);
        assert_eq!((lost.total, lost.source), (ms(40), "stat"));
    }
}
