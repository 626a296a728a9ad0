//! What a connection says and what it must hear: the contract between the generator and a mode.
//!
//! A conversation owns no socket. The generator asks it for the bytes still to be sent, tells it how
//! many left, and feeds it what arrives; the conversation knows when an answer is complete and is the
//! one that judges it. Each request names its connection and a counter, so an answer that belongs to
//! another connection or to an earlier request can never pass.

use std::fmt;

/// One request and its answer, over and over, on one connection.
pub(crate) trait Conversation {
    /// What all conversations of a run have in common.
    type Common;

    /// Starts with the first request unsent. `id` differs between the connections of a run.
    fn new(id: u32, common: &Self::Common) -> Self;

    /// The bytes of the present request that are still to be sent.
    fn unsent<'a>(&'a self, common: &'a mut Self::Common) -> &'a [u8];

    /// Notes that the first `count` bytes of [`unsent`](Self::unsent) have left.
    fn sent(&mut self, count: usize);

    /// Takes bytes that arrived; tells whether the answer is complete now.
    fn received(&mut self, bytes: &[u8], common: &mut Self::Common) -> Result<bool, Mismatch>;

    /// Goes on to the next request. Called only after an answer was complete.
    fn advance(&mut self);
}

/// An answer that is not the one the connection was owed.
#[derive(Debug, PartialEq)]
pub(crate) struct Mismatch {
    /// The connection.
    pub(crate) id: u32,
    /// Its request, counted from 0.
    pub(crate) counter: u64,
    /// What was wrong.
    pub(crate) what: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connection {}, request {}: {}",
            self.id, self.counter, self.what
        )
    }
}

impl std::error::Error for Mismatch {}
