//! Threads: how ours begin, by leaving signals to those of the program, and what can be done when somebody ends one.

use std::cell::OnceCell;
use std::ffi::{CStr, c_int, c_void};
use std::mem::{MaybeUninit, transmute};
use std::ptr;
use std::sync::OnceLock;

/// Blocks every signal in the calling thread, so that the kernel delivers the process's signals to
/// a thread that expects them and its `epoll_wait` is the one that they interrupt.
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset(3) fills the set that it is given, which is ours, and cannot fail with a valid
    // pointer; pthread_sigmask(3) then reads it and changes nothing but this thread's own mask.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

/// What the C library knows of a clean-up handler: `_pthread_cleanup_buffer` of glibc, `__ptcb` of musl, which is shorter.
#[repr(C)]
struct Record {
    handler: Option<unsafe extern "C" fn(*mut c_void)>,
    argument: *mut c_void,
    rest: [usize; 2],
}

type Push = unsafe extern "C" fn(*mut Record, unsafe extern "C" fn(*mut c_void), *mut c_void);
type Pop = unsafe extern "C" fn(*mut Record, c_int);

/// What `pthread_cleanup_push` and `pthread_cleanup_pop` call; in glibc (Linux Standard Base) what they called once. They
/// are looked up, so that a library without them can be lived with, and no version of one is asked for.
struct CleanUp {
    push: Push,
    pop: Pop,
}

impl CleanUp {
    fn find() -> Option<&'static CleanUp> {
        static FOUND: OnceLock<Option<CleanUp>> = OnceLock::new();
        let look_up = |name: &CStr| {
            // SAFETY: the name ends with a NUL; the search goes through what the program has loaded.
            let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!address.is_null()).then_some(address)
        };
        let find = || {
            let push = look_up(c"_pthread_cleanup_push")?;
            let pop = look_up(c"_pthread_cleanup_pop")?;
            // SAFETY: the functions of these names have these types, in both C libraries.
            unsafe {
                Some(CleanUp {
                    push: transmute::<*mut c_void, Push>(push),
                    pop: transmute::<*mut c_void, Pop>(pop),
                })
            }
        };
        FOUND.get_or_init(find).as_ref()
    }
}

/// A handler that the C library knows of, until the thread ends.
struct Registered {
    record: *mut Record,
    pop: Pop,
}

impl Registered {
    fn new(clean_up: &CleanUp, handler: fn()) -> Registered {
        let record = Box::into_raw(Box::new(Record {
            handler: None,
            argument: ptr::null_mut(),
            rest: [0; 2],
        }));
        // SAFETY: the record stays where it is until it is popped.
        unsafe { (clean_up.push)(record, call, handler as *mut c_void) };
        Registered {
            record,
            pop: clean_up.pop,
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: this thread has pushed the record, and all its functions have returned: no other is on top of it. Then
        // nobody knows it any more.
        unsafe {
            (self.pop)(self.record, 0);
            drop(Box::from_raw(self.record));
        }
    }
}

unsafe extern "C" fn call(handler: *mut c_void) {
    // SAFETY: the argument that goes with this function is such a pointer.
    let handler = unsafe { transmute::<*mut c_void, fn()>(handler) };
    handler();
}

thread_local! {
    static REGISTERED: OnceCell<Registered> = const { OnceCell::new() };
}

/// Has `handler` called when somebody ends the calling thread by pthread_exit(3), before any function is left: glibc
/// unwinds the stack, which functions of Rust do not survive, and calls a handler when it has come as far as the address
/// of the handler's record. This record does not lie on the stack, which for glibc is as far as the first function. musl
/// unwinds nothing. A handler that never returns keeps the thread, for as long as the process lives.
///
/// The first handler of a thread stays; it must not unwind. Does nothing where the C library knows no such handlers.
pub fn before_exit(handler: fn()) {
    if let Some(clean_up) = CleanUp::find() {
        // A thread that is past its end, in the destructors of its variables, runs none of ours any more.
        let _ = REGISTERED.try_with(|place| {
            place.get_or_init(|| Registered::new(clean_up, handler));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;

    static ENDED: Mutex<Option<Sender<&'static str>>> = Mutex::new(None);

    fn stay() {
        if let Some(sender) = ENDED.lock().ok().and_then(|mut sender| sender.take()) {
            let _ = sender.send("about to end");
        }
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }

    #[test]
    fn a_thread_that_somebody_ends_stays_where_it_is() {
        struct Left;

        impl Drop for Left {
            fn drop(&mut self) {
                if let Some(sender) = ENDED.lock().ok().and_then(|mut sender| sender.take()) {
                    let _ = sender.send("a function was left");
                }
            }
        }

        let (sender, receiver) = channel();
        *ENDED.lock().unwrap() = Some(sender);
        thread::spawn(|| {
            before_exit(stay);
            before_exit(|| ());
            let _left = Left;
            // SAFETY: nothing is unwound, as the handler does not return.
            unsafe { libc::pthread_exit(ptr::null_mut()) }
        });
        assert_eq!(receiver.recv(), Ok("about to end"));
    }

    #[test]
    fn a_thread_that_ends_by_itself_does_so() {
        let thread = thread::spawn(|| before_exit(stay));
        thread.join().unwrap();
    }
}
