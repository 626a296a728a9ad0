//! What dropping the resolver leaves behind. Alone in its file: it counts the threads of the process.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::ffi::CString;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sabio_reactor::{Query, Resolver};
use support::block_on;

fn resolver_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "sabio-resolver").count()
}

#[test]
fn dropping_the_resolver_answers_its_lookups_and_ends_its_threads() {
    let query = Query {
        host: CString::new("127.0.0.1").ok(),
        ..Query::default()
    };
    let resolver = Resolver::new();
    assert_eq!(resolver_threads(), 0);
    assert!(block_on(resolver.lookup(query.clone())).unwrap().is_ok());
    assert_eq!(resolver_threads(), 1);
    let lookups: Vec<_> = (0..1000).map(|_| resolver.lookup(query.clone())).collect();
    drop(resolver);
    // Each has its answer or the news that there will be none.
    for lookup in lookups {
        if let Ok(answer) = block_on(lookup) {
            assert!(answer.is_ok());
        }
    }
    // Well before the ten seconds that an idle thread would wait.
    let start = Instant::now();
    while resolver_threads() > 0 {
        assert!(start.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(2));
    }
}
