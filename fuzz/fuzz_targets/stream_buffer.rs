//! What a `StreamReader` does with its buffer, against asyncio's rules spelt out over a plain `Vec`: data comes in any
//! pieces and is read by `read`, `readexactly` and `readuntil` with several separators and a limit.
#![no_main]

use std::collections::TryReserveError;
use std::rc::Rc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sabio_sync::separator::{Progress, Search, Separators};
use sabio_sync::{MessageBuffer, Messages};

/// Messages that are counted references, so that the same one can be told from a copy.
#[derive(Clone, Copy)]
struct Shared;

impl Messages for Shared {
    type Message = Rc<[u8]>;
    type Error = TryReserveError;

    fn contents<'a>(self, message: &'a Rc<[u8]>) -> &'a [u8]
    where
        Self: 'a,
    {
        message
    }

    fn copied(self, contents: &[u8]) -> Result<Rc<[u8]>, TryReserveError> {
        Ok(Rc::from(contents))
    }

    fn grow(self, grow: impl FnOnce() -> Result<(), TryReserveError>) -> Result<(), TryReserveError> {
        grow()
    }
}

/// Text of few different letters, so that separators come often and in pieces.
#[derive(Arbitrary, Debug)]
enum Text {
    Letters(Vec<u8>),
    Line(u16),
    Any(Vec<u8>),
}

impl Text {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Text::Letters(picks) => picks
                .iter()
                .map(|pick| b"ab\r\n"[usize::from(pick % 4)])
                .collect(),
            Text::Line(length) => {
                let mut line = vec![b'x'; usize::from(length % 9000)];
                line.extend(b"\r\n");
                line
            }
            Text::Any(bytes) => bytes.clone(),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// `feed_data`: the object itself where nothing is unread.
    Feed(Text),
    /// The same, copied by the transport.
    FeedCopy(Text),
    /// The same for what is no `bytes`.
    FeedOther(Text),
    Read(u16),
    ReadExactly(u16),
    ReadUntil {
        separators: Vec<Text>,
        limit: u16,
    },
    /// Goes on with the search of the last `readuntil`, which waits for more data.
    GoOn,
    SkipLine(u16),
    Clear,
}

/// A `readuntil` that waits.
struct Until {
    search: Search,
    separators: Separators,
    list: Vec<Vec<u8>>,
    limit: usize,
}

#[derive(Default)]
struct Reader {
    buffer: MessageBuffer<Rc<[u8]>>,
    model: Vec<u8>,
    until: Option<Until>,
}

impl Reader {
    fn feed(&mut self, text: &Text) {
        let data: Rc<[u8]> = Rc::from(text.bytes());
        if !self.buffer.is_empty() {
            self.buffer.extend(Shared, &data).expect("a few bytes");
        } else {
            self.buffer.hold(Shared, Rc::clone(&data));
            // A message that is read whole is not copied.
            if !data.is_empty() && data.len() % 3 == 0 {
                let message = self.buffer.take(Shared, usize::MAX).expect("no memory is needed");
                assert!(Rc::ptr_eq(&message, &data));
                self.buffer.hold(Shared, message);
            }
        }
        self.model.extend(&*data);
    }

    fn take(&mut self, count: usize) {
        let taken = self.buffer.take(Shared, count).expect("a few bytes");
        let count = count.min(self.model.len());
        assert_eq!(*taken, *self.model.drain(..count).as_slice());
    }

    /// What `readuntil` does each time when it looks at the buffer.
    fn look(&mut self, mut until: Until) {
        let progress = until
            .search
            .advance(self.buffer.as_slice(Shared), &until.separators, until.limit);
        assert_eq!(progress, by_hand(&self.model, &until.list, until.limit));
        match progress {
            Progress::Found(size) => self.take(size),
            Progress::NotYet => self.until = Some(until),
            // The message stays in the buffer.
            Progress::Unfound(_) | Progress::TooLong(_) => {}
        }
    }

    fn step(&mut self, step: &Step) {
        // Nobody else may read while `readuntil` waits.
        match step {
            Step::Feed(text) => self.feed(text),
            Step::FeedCopy(text) => {
                let data = text.bytes();
                self.buffer.append(Shared, &data).expect("a few bytes");
                self.model.extend(data);
            }
            Step::FeedOther(text) => {
                let data = text.bytes();
                self.buffer.extend(Shared, &data).expect("a few bytes");
                self.model.extend(data);
            }
            Step::Read(count) => {
                self.until = None;
                self.take((*count).into());
            }
            Step::ReadExactly(count) => {
                self.until = None;
                if self.buffer.len(Shared) >= usize::from(*count) {
                    self.take((*count).into());
                }
            }
            Step::ReadUntil { separators, limit } => {
                let list: Vec<Vec<u8>> = separators.iter().map(Text::bytes).collect();
                let is_valid = !list.is_empty() && list.iter().all(|separator| !separator.is_empty());
                let separators = Separators::new(list.clone());
                assert_eq!(separators.is_ok(), is_valid);
                if let Ok(separators) = separators {
                    let limit = usize::from(*limit);
                    let search = Search::new();
                    self.look(Until {
                        search,
                        separators,
                        list,
                        limit,
                    });
                }
            }
            Step::GoOn => {
                if let Some(until) = self.until.take() {
                    self.look(until);
                }
            }
            Step::SkipLine(count) => {
                self.until = None;
                self.buffer.consume(Shared, (*count).into());
                self.model.drain(..usize::from(*count).min(self.model.len()));
            }
            Step::Clear => {
                self.until = None;
                self.buffer.clear();
                self.model.clear();
            }
        }
    }
}

/// What `StreamReader.readuntil` says of a buffer that it sees for the first time, by trying every end.
fn by_hand(data: &[u8], list: &[Vec<u8>], limit: usize) -> Progress {
    let shortest = list.iter().map(Vec::len).min().expect("not empty");
    let longest = list.iter().map(Vec::len).max().expect("not empty");
    for end in 0..=data.len() {
        let ending = list.iter().filter(|separator| data[..end].ends_with(separator));
        if let Some(length) = ending.map(Vec::len).min() {
            let start = end - length;
            return if start > limit {
                Progress::TooLong(start)
            } else {
                Progress::Found(end)
            };
        }
    }
    let offset = (data.len() + 1).saturating_sub(longest);
    if data.len() >= shortest && offset > limit {
        Progress::Unfound(offset)
    } else {
        Progress::NotYet
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut reader = Reader::default();
    for step in &steps {
        reader.step(step);
        assert_eq!(reader.buffer.as_slice(Shared), reader.model);
        assert_eq!(reader.buffer.is_empty(), reader.model.is_empty());
    }
});
