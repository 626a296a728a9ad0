//! The echo mode: a message goes out and the same bytes must come back.
//!
//! A message is a fixed pattern with a stamp at the start of every block of 1 KiB: the connection, the
//! block's place and the message's counter. One buffer serves all connections and is stamped afresh
//! before each use, so that 64 connections with messages of 100 KiB stay in the processor's cache and
//! the generator does not become what is measured.

use crate::conversation::{Conversation, Mismatch};

/// Bytes of a stamp, and so the least that a message can have.
pub(crate) const SMALLEST_MESSAGE: usize = 16;

const BLOCK: usize = 1024;

/// The one buffer that holds whichever message is being sent or compared.
pub(crate) struct Message {
    bytes: Vec<u8>,
    stamped: Option<(u32, u64)>,
}

impl Message {
    /// A message of `size` bytes, at least [`SMALLEST_MESSAGE`].
    pub(crate) fn new(size: usize) -> Self {
        // A multiplicative sequence: no short period, so bytes that moved cannot look right.
        let bytes = (0..size as u64)
            .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
            .collect();
        Self { bytes, stamped: None }
    }

    fn of(&mut self, id: u32, counter: u64) -> &[u8] {
        if self.stamped != Some((id, counter)) {
            for (place, block) in self.bytes.chunks_mut(BLOCK).enumerate() {
                let mut stamp = [0; SMALLEST_MESSAGE];
                stamp[..4].copy_from_slice(&id.to_le_bytes());
                stamp[4..8].copy_from_slice(&(place as u32).to_le_bytes());
                stamp[8..].copy_from_slice(&counter.to_le_bytes());
                let fits = block.len().min(stamp.len());
                block[..fits].copy_from_slice(&stamp[..fits]);
            }
            self.stamped = Some((id, counter));
        }
        &self.bytes
    }
}

/// Where one connection is in its present message.
pub(crate) struct Echo {
    id: u32,
    counter: u64,
    size: usize,
    sent: usize,
    received: usize,
}

impl Echo {
    fn mismatch(&self, what: String) -> Mismatch {
        Mismatch {
            id: self.id,
            counter: self.counter,
            what,
        }
    }
}

impl Conversation for Echo {
    type Common = Message;

    fn new(id: u32, common: &Message) -> Self {
        Self {
            id,
            counter: 0,
            size: common.bytes.len(),
            sent: 0,
            received: 0,
        }
    }

    fn unsent<'a>(&'a self, common: &'a mut Message) -> &'a [u8] {
        &common.of(self.id, self.counter)[self.sent..]
    }

    fn sent(&mut self, count: usize) {
        self.sent += count;
    }

    fn received(&mut self, bytes: &[u8], common: &mut Message) -> Result<bool, Mismatch> {
        if self.received + bytes.len() > self.sent {
            return Err(self.mismatch("more bytes came back than were sent".to_owned()));
        }
        let owed = &common.of(self.id, self.counter)[self.received..self.received + bytes.len()];
        if owed != bytes {
            let place = owed
                .iter()
                .zip(bytes)
                .take_while(|(owed, got)| owed == got)
                .count();
            return Err(self.mismatch(format!("byte {} is not the one sent", self.received + place)));
        }
        self.received += bytes.len();
        Ok(self.received == self.size)
    }

    fn advance(&mut self) {
        self.counter += 1;
        self.sent = 0;
        self.received = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 3 * BLOCK + 5;

    fn sent(id: u32, message: &mut Message) -> (Echo, Vec<u8>) {
        let mut echo = Echo::new(id, message);
        let bytes = echo.unsent(message).to_vec();
        echo.sent(bytes.len());
        (echo, bytes)
    }

    #[test]
    fn own_bytes_in_any_pieces_are_accepted() {
        let mut message = Message::new(SIZE);
        let (mut echo, bytes) = sent(7, &mut message);
        for piece in [&bytes[..1], &bytes[1..BLOCK + 3]] {
            assert_eq!(echo.received(piece, &mut message), Ok(false));
        }
        assert_eq!(echo.received(&bytes[BLOCK + 3..], &mut message), Ok(true));
        echo.advance();
        assert_ne!(
            echo.unsent(&mut message),
            bytes,
            "the counter is part of the message"
        );
    }

    #[test]
    fn another_connections_bytes_are_refused_in_every_block() {
        let mut message = Message::new(SIZE);
        let (_, others) = sent(1, &mut message);
        let (_, own) = sent(2, &mut message);
        for block in 0..3 {
            let (mut echo, _) = sent(2, &mut message);
            let mut mixed = own.clone();
            mixed[block * BLOCK..(block + 1) * BLOCK]
                .copy_from_slice(&others[block * BLOCK..(block + 1) * BLOCK]);
            let wrong = echo.received(&mixed, &mut message).unwrap_err();
            assert_eq!(wrong.what, format!("byte {} is not the one sent", block * BLOCK));
        }
    }

    #[test]
    fn an_earlier_message_of_the_same_connection_is_refused() {
        let mut message = Message::new(SIZE);
        let (mut echo, first) = sent(1, &mut message);
        assert_eq!(echo.received(&first, &mut message), Ok(true));
        echo.advance();
        echo.sent(SIZE);
        assert!(echo.received(&first, &mut message).is_err());
    }

    #[test]
    fn one_byte_too_many_is_refused() {
        let mut message = Message::new(SIZE);
        let (mut echo, mut bytes) = sent(1, &mut message);
        bytes.push(0);
        assert!(echo.received(&bytes, &mut message).is_err());
    }
}
