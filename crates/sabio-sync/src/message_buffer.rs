//! What a stream has received and nobody has read yet (`StreamReader`).
//!
//! Most messages are read whole and before the next one comes: such a one stays the object that it was received into,
//! and is what the reader gets. Only when more comes before it was read are bytes copied together, into a
//! [`ByteQueue`].
//!
//! What such an object is and how it is made is the owner's affair: see [`Messages`].

use std::collections::TryReserveError;

use crate::byte_queue::ByteQueue;

/// A message that is mostly read does not keep more memory than this alive, in bytes.
const KEPT_WHOLE: usize = 4096;

/// The kind of object that messages are received into. Dropping one runs no foreign code.
pub trait Messages: Copy {
    /// The object, which does not change.
    type Message;
    /// Why there is no memory for more.
    type Error;

    /// What is in a message.
    fn contents<'a>(self, message: &'a Self::Message) -> &'a [u8]
    where
        Self: 'a;

    /// A message with a copy of `contents`.
    ///
    /// # Errors
    /// When there is no memory for it.
    fn copied(self, contents: &[u8]) -> Result<Self::Message, Self::Error>;

    /// Calls `grow`, which needs memory, and says in the owner's words that there is none.
    ///
    /// # Errors
    /// When `grow` failed.
    fn grow(self, grow: impl FnOnce() -> Result<(), TryReserveError>) -> Result<(), Self::Error>;
}

/// Unread bytes, oldest first, with messages of the type `M`.
#[derive(Debug)]
pub struct MessageBuffer<M> {
    /// A message that is not empty, of which the first `taken` bytes are read. While there is one, nothing is in the
    /// queue.
    whole: Option<M>,
    taken: usize,
    queue: ByteQueue,
}

impl<M> Default for MessageBuffer<M> {
    fn default() -> Self {
        Self {
            whole: None,
            taken: 0,
            queue: ByteQueue::new(),
        }
    }
}

impl<M> MessageBuffer<M> {
    /// What is unread, in one piece.
    #[inline]
    pub fn as_slice<'a, S>(&'a self, messages: S) -> &'a [u8]
    where
        S: Messages<Message = M> + 'a,
    {
        match &self.whole {
            Some(whole) => &messages.contents(whole)[self.taken..],
            None => self.queue.as_slice(),
        }
    }

    /// How much is unread, in bytes.
    #[inline]
    pub fn len(&self, messages: impl Messages<Message = M>) -> usize {
        self.as_slice(messages).len()
    }

    /// Whether everything was read.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // A whole message that is read to its end is let go.
        self.whole.is_none() && self.queue.is_empty()
    }

    /// Puts a message itself into the buffer, which is empty.
    #[inline]
    pub fn hold(&mut self, messages: impl Messages<Message = M>, message: M) {
        debug_assert!(self.is_empty());
        if !messages.contents(&message).is_empty() {
            self.whole = Some(message);
            self.taken = 0;
        }
    }

    /// Puts a copy behind what is unread: as a message that can be read whole, where nothing is.
    ///
    /// # Errors
    /// When there is no memory; nothing is put in then.
    #[inline]
    pub fn append<S: Messages<Message = M>>(&mut self, messages: S, data: &[u8]) -> Result<(), S::Error> {
        if self.is_empty() {
            if !data.is_empty() {
                self.whole = Some(messages.copied(data)?);
                self.taken = 0;
            }
            Ok(())
        } else {
            self.extend(messages, data)
        }
    }

    /// Puts a copy behind what is unread.
    ///
    /// # Errors
    /// When there is no memory; nothing is put in then.
    pub fn extend<S: Messages<Message = M>>(&mut self, messages: S, more: &[u8]) -> Result<(), S::Error> {
        self.loosen(messages)?;
        messages.grow(|| self.queue.extend(more))
    }

    /// Takes the `count` oldest bytes out; all of them, if there are fewer.
    ///
    /// # Errors
    /// When there is no memory; nothing is taken then.
    #[inline]
    pub fn take<S: Messages<Message = M>>(&mut self, messages: S, count: usize) -> Result<M, S::Error> {
        if let Some(whole) = &self.whole
            && self.taken == 0
            && count >= messages.contents(whole).len()
            && let Some(whole) = self.whole.take()
        {
            return Ok(whole);
        }
        let unread = self.as_slice(messages);
        let count = count.min(unread.len());
        let taken = messages.copied(&unread[..count])?;
        self.consume(messages, count);
        Ok(taken)
    }

    /// Drops the `count` oldest bytes; all of them, if there are fewer.
    pub fn consume(&mut self, messages: impl Messages<Message = M>, count: usize) {
        let Some(whole) = &self.whole else {
            self.queue.consume(count);
            return;
        };
        let size = messages.contents(whole).len();
        self.taken = self.taken.saturating_add(count);
        if self.taken >= size {
            self.whole = None;
        } else if size > KEPT_WHOLE && (size - self.taken) * 4 < size {
            // Without memory for the copy, the whole message stays alive.
            let _ = self.loosen(messages);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.whole = None;
        self.queue.clear();
    }

    /// Copies what is unread of a whole message into the queue. Nothing is changed when there is no memory.
    fn loosen<S: Messages<Message = M>>(&mut self, messages: S) -> Result<(), S::Error> {
        if let Some(whole) = &self.whole {
            let unread = &messages.contents(whole)[self.taken..];
            messages.grow(|| self.queue.extend(unread))?;
            self.whole = None;
        }
        Ok(())
    }
}
