//! `ByteQueue` against the simplest queue there is.
#![cfg(not(loom))]

use proptest::prelude::*;
use sabio_sync::ByteQueue;

#[derive(Debug, Clone)]
enum Step {
    Extend(Vec<u8>),
    Consume(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..3000).prop_map(Step::Extend),
        5 => (0usize..4000).prop_map(Step::Consume),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn it_gives_what_was_put_in_in_order(steps in proptest::collection::vec(step(), 0..60)) {
        let mut queue = ByteQueue::new();
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Extend(more) => {
                    queue.extend(&more).unwrap();
                    model.extend(&more);
                }
                Step::Consume(count) => {
                    queue.consume(count);
                    model.drain(..count.min(model.len()));
                }
                Step::Clear => {
                    queue.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(queue.as_slice(), &model[..]);
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            prop_assert!(!queue.is_empty() || queue.capacity() <= 1024);
        }
    }
}

#[test]
fn a_steady_flow_does_not_make_it_grow() {
    let mut queue = ByteQueue::new();
    queue.extend(&[0; 1500]).unwrap();
    for _ in 0..if cfg!(miri) { 100 } else { 10_000 } {
        queue.extend(&[1; 1000]).unwrap();
        queue.consume(1000);
    }
    assert_eq!(queue.len(), 1500);
    assert!(queue.capacity() < 16 * 1024, "{queue:?}");
}

#[test]
fn an_emptied_queue_gives_its_memory_back() {
    let mut queue = ByteQueue::new();
    queue.extend(&[0; 100_000]).unwrap();
    queue.consume(99_999);
    assert_eq!(queue.len(), 1);
    queue.consume(1);
    assert_eq!(queue.capacity(), 0);
}
