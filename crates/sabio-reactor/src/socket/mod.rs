//! Sockets: addresses, the nonblocking calls of stream and datagram sockets, sending files, and the options that
//! connecting and listening need.
//!
//! Every call here returns at once: what would block fails with `WouldBlock`. A descriptor made here
//! is nonblocking and closed on exec from its first moment. Functions borrow the descriptor; whoever
//! owns it (a transport, a listener, the user's socket object) closes it.

mod address;
mod datagram;
mod file;
mod option;
mod stream;

pub use address::Address;
pub use datagram::{Datagram, MOST_DATAGRAMS, ReceiveBatch, can_send_rows, receive_rows, send_batch};
pub use file::{file_size, seek, send_file};
pub use option::{
    bind, listen, set_keepalive, set_nodelay, set_nonblocking, set_reuse_address, set_reuse_port, set_v6only,
    take_error,
};
pub use stream::{
    Connect, accept, connect, local_address, peer_address, recv, recv_uninit, send, send_vectored,
    shutdown_write, socket,
};
