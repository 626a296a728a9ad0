//! The bare epoll echo server: what the kernel alone charges for an echoed message.
//!
//! One thread, level-triggered epoll, one `recv` into a fixed buffer and one `send` for each readiness.
//! What a `send` leaves over is kept, and nothing more is read from that connection until it has left.
//! It prints `{"port": ..., "pid": ...}` once it listens and runs until it is killed.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::Failure;
use crate::args::RawEcho;
use crate::cpu;

const SCRATCH: usize = 256 << 10;

/// Serves until the process ends.
///
/// # Errors
/// When the port is taken and when the poller fails; what goes wrong on one connection only ends that one.
pub(crate) fn serve(server: &RawEcho) -> Result<Infallible, Failure> {
    cpu::pin(server.cpu)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, server.port))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let listening = listener.as_raw_fd() as u64;
    epoll::add(&epoll, &listener, EventData::new_u64(listening), EventFlags::IN)?;
    let port = listener.local_addr()?.port();
    let mut stdout = io::stdout();
    writeln!(stdout, r#"{{"port": {port}, "pid": {}}}"#, std::process::id())?;
    stdout.flush()?;

    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut scratch = vec![0; SCRATCH];
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let token = event.data.u64();
            if token == listening {
                accept(&listener, &epoll, &mut clients)?;
                continue;
            }
            let Some(place) = clients.get_mut(token as usize) else {
                continue;
            };
            let Some(client) = place else { continue };
            if !client.turn(&epoll, &mut scratch).unwrap_or(false) {
                *place = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &OwnedFd, clients: &mut Vec<Option<Client>>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                // The descriptor is the token: it is unique while the client lives, and one wait
                // reports it once, so no event of a client that ended can meet its successor.
                let token = stream.as_raw_fd() as usize;
                epoll::add(epoll, &stream, EventData::new_u64(token as u64), EventFlags::IN)?;
                if clients.len() <= token {
                    clients.resize_with(token + 1, || None);
                }
                clients[token] = Some(Client {
                    stream,
                    unsent: Vec::new(),
                });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if [ErrorKind::Interrupted, ErrorKind::ConnectionAborted].contains(&error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
}

struct Client {
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Client {
    /// Deals with one readiness; false when the peer is gone.
    fn turn(&mut self, epoll: &OwnedFd, scratch: &mut [u8]) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let count = write(&self.stream, &self.unsent)?;
            self.unsent.drain(..count);
            if self.unsent.is_empty() {
                self.watch(epoll, EventFlags::IN)?;
            }
            return Ok(true);
        }
        let count = match (&self.stream).read(scratch) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let sent = write(&self.stream, &scratch[..count])?;
        if sent < count {
            self.unsent.extend_from_slice(&scratch[sent..count]);
            self.watch(epoll, EventFlags::OUT)?;
        }
        Ok(true)
    }

    fn watch(&self, epoll: &OwnedFd, interest: EventFlags) -> io::Result<()> {
        let token = EventData::new_u64(self.stream.as_raw_fd() as u64);
        Ok(epoll::modify(epoll, &self.stream, token, interest)?)
    }
}

/// Writes once; a full socket takes nothing.
fn write(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => Ok(0),
        result => result,
    }
}
