//! Where a message ends: looking for separators in a buffer that grows (`StreamReader.readuntil`).
//!
//! A [`Search`] remembers how far it came. When more bytes have come in it goes on there, less the
//! few bytes that may be the beginning of a separator, so nothing is looked at again and again.

use std::io::BufRead;

/// What ends a message: one separator or several. None of them is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separators(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A single byte, which needs no memory.
    Byte([u8; 1]),
    /// Shortest first.
    Several(Vec<Vec<u8>>),
}

/// What cannot end a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// There is no separator.
    None,
    /// One of them is empty.
    Empty,
}

impl Separators {
    /// The end of a line, `\n`.
    #[must_use]
    pub const fn newline() -> Self {
        Self(Kind::Byte(*b"\n"))
    }

    /// Any of these.
    ///
    /// # Errors
    /// [`Invalid`] when there is none or an empty one.
    pub fn new(mut separators: Vec<Vec<u8>>) -> Result<Self, Invalid> {
        separators.sort_by_key(Vec::len);
        match separators.first().map(Vec::as_slice) {
            None => Err(Invalid::None),
            Some([]) => Err(Invalid::Empty),
            Some(&[byte]) if separators.len() == 1 => Ok(Self(Kind::Byte([byte]))),
            Some(_) => Ok(Self(Kind::Several(separators))),
        }
    }

    /// The lengths of the shortest and of the longest one, in bytes.
    fn lengths(&self) -> (usize, usize) {
        match &self.0 {
            Kind::Byte(_) => (1, 1),
            Kind::Several(list) => (list.first().map_or(1, Vec::len), list.last().map_or(1, Vec::len)),
        }
    }

    /// Start and end of the separator that ends first, the shortest of those that end there.
    fn find(&self, buffer: &[u8]) -> Option<(usize, usize)> {
        match &self.0 {
            Kind::Byte([byte]) => position(buffer, *byte).map(|at| (at, at + 1)),
            Kind::Several(list) => {
                let mut best: Option<(usize, usize)> = None;
                for separator in list {
                    // Only one that ends earlier is better: the rest need not be looked at.
                    let until = best.map_or(buffer.len(), |(_, end)| end - 1);
                    if let Some(at) = find(&buffer[..until], separator) {
                        best = Some((at, at + separator.len()));
                    }
                }
                best
            }
        }
    }
}

/// Where `byte` first is.
fn position(buffer: &[u8], byte: u8) -> Option<usize> {
    // The standard library has no other stable way to its vectorised search.
    let mut rest = buffer;
    let skipped = rest.skip_until(byte).unwrap_or(0);
    let last = skipped.checked_sub(1)?;
    (buffer[last] == byte).then_some(last)
}

/// Where `separator` first begins.
fn find(buffer: &[u8], separator: &[u8]) -> Option<usize> {
    let (first, rest) = separator.split_first()?;
    let mut from = 0;
    loop {
        let at = from + position(&buffer[from..], *first)?;
        if buffer[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// How far a [`Search`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The message, separator included, is so many bytes long.
    Found(usize),
    /// More bytes are needed.
    NotYet,
    /// No separator begins within so many bytes, which is more than the limit.
    Unfound(usize),
    /// A separator begins after so many bytes, which is more than the limit.
    TooLong(usize),
}

/// The search for the end of one message.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// No separator begins before it.
    offset: usize,
}

impl Search {
    /// A search from the beginning of the buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on in `buffer`, which holds what it held the last time and perhaps more. A message, not
    /// counting its separator, may be up to `limit` bytes long.
    pub fn advance(&mut self, buffer: &[u8], separators: &Separators, limit: usize) -> Progress {
        let (shortest, longest) = separators.lengths();
        // Somebody else may have read meanwhile: then there is less than there was.
        let Some(fresh) = buffer.get(self.offset..).filter(|fresh| fresh.len() >= shortest) else {
            return Progress::NotYet;
        };
        if let Some((start, end)) = separators.find(fresh) {
            let (start, end) = (self.offset + start, self.offset + end);
            return if start > limit {
                Progress::TooLong(start)
            } else {
                Progress::Found(end)
            };
        }
        self.offset = (buffer.len() + 1).saturating_sub(longest);
        if self.offset > limit {
            Progress::Unfound(self.offset)
        } else {
            Progress::NotYet
        }
    }
}
