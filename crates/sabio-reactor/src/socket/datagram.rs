//! Datagram sockets: many datagrams in one call, in both directions (udp(7), unix(7)).

pub use crate::sys::{Datagram, MOST_DATAGRAMS, ReceiveBatch, can_send_rows, receive_rows, send_batch};
