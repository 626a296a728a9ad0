//! Child processes by their pidfd (pidfd_open(2)): a descriptor that becomes readable when the process ends.
//!
//! Numbers of processes are used again, descriptors mean one process for ever. So everything that is done to a child here
//! is done to that child: a signal cannot reach a stranger, and no other child's status can be taken.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::sys;

/// A child process that has not been waited for yet.
#[derive(Debug)]
pub struct Child {
    pidfd: OwnedFd,
}

/// How a process has ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It has exited with this status.
    Status(i32),
    /// The signal of this number has killed it.
    Signal(i32),
}

impl Exit {
    /// As Python's `subprocess` has it: the status, or the number of the signal, negated.
    #[must_use]
    pub fn returncode(self) -> i32 {
        match self {
            Exit::Status(status) => status,
            Exit::Signal(signal) => -signal,
        }
    }
}

impl Child {
    /// The child with this number. Whoever calls has to know that it is a child of his and that nobody has waited for it.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process, `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS` before Linux 5.3 and `EPERM` where a
    /// policy forbids the call: then the child has to be waited for in another way.
    pub fn open(pid: i32) -> io::Result<Child> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Child { pidfd })
    }

    /// The number of the descriptor, to register: it is readable from the end of the process on.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }

    /// Sends a signal; 0 only looks whether one could be sent.
    ///
    /// # Errors
    /// `ESRCH` when it has been waited for, `EPERM` when it may not be sent signals, `EINVAL` for a number that is none.
    pub fn send_signal(&self, signal: i32) -> io::Result<()> {
        sys::send_signal(self.pidfd.as_fd(), signal)
    }

    /// Whether it has ended. It can still be waited for.
    ///
    /// # Errors
    /// `ECHILD` when somebody else has waited for it.
    pub fn has_ended(&self) -> io::Result<bool> {
        let ended = self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)?;
        Ok(ended.is_some())
    }

    /// How it has ended, and lets go of it then; `None` while it runs.
    ///
    /// # Errors
    /// `ECHILD` when somebody else has waited for it.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait_with(&self, options: WaitIdOptions) -> io::Result<Option<Exit>> {
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), options))?;
        Ok(status.and_then(|status| {
            let exited = status.exit_status().map(Exit::Status);
            exited.or_else(|| status.terminating_signal().map(Exit::Signal))
        }))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

// Miri knows none of these system calls, or not all of what is asked of them.
#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::interest::Interest;
    use crate::{Events, Fired, Reactor};

    fn spawn(script: &str) -> (std::process::Child, Child) {
        let spawned = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let child = Child::open(spawned.id() as i32).unwrap();
        (spawned, child)
    }

    /// Waits in a reactor until the child's descriptor is reported.
    fn wait(child: &Child) {
        let reactor: Reactor<u8, u8> = Reactor::new().unwrap();
        let token = reactor
            .register(child.descriptor(), Interest::READABLE, 7)
            .unwrap();
        let mut events = Events::new();
        while events.is_empty() {
            reactor
                .poller()
                .wait(&mut events, Some(Duration::from_secs(10)))
                .unwrap();
        }
        assert!(matches!(
            reactor.fire(events.get(0).unwrap()),
            Fired::Source(7, event) if event.readable
        ));
        assert_eq!(reactor.deregister(token), Some(7));
    }

    #[test]
    fn the_poller_reports_the_end_of_a_process_and_its_status_can_be_had_once() {
        let (spawned, child) = spawn("read line; exit 7");
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(!child.has_ended().unwrap());
        drop(spawned.stdin);
        wait(&child);
        assert!(child.has_ended().unwrap());
        assert_eq!(child.try_wait().unwrap(), Some(Exit::Status(7)));
        assert_eq!(child.try_wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_signal_kills_and_is_told_as_a_negative_number() {
        let (_spawned, child) = spawn("read line");
        child.send_signal(0).unwrap();
        child.send_signal(libc::SIGTERM).unwrap();
        wait(&child);
        let exit = child.try_wait().unwrap().unwrap();
        assert_eq!(exit, Exit::Signal(libc::SIGTERM));
        assert_eq!(exit.returncode(), -libc::SIGTERM);
    }

    #[test]
    fn a_process_that_was_waited_for_gets_no_signal() {
        let (mut spawned, child) = spawn("exit 0");
        spawned.wait().unwrap();
        let error = child.send_signal(libc::SIGKILL).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        assert_eq!(child.try_wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_number_that_is_no_signal_is_refused() {
        let (mut spawned, child) = spawn("read line");
        assert_eq!(
            child.send_signal(-1).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
        drop(spawned.stdin.take());
        spawned.wait().unwrap();
    }

    #[test]
    fn there_is_no_process_with_the_number_0() {
        assert_eq!(Child::open(0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
