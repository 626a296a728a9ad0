//! The binary from outside: a run against an honest server gives figures, one against a server that
//! lies, stops or mixes its clients up gives none.
//!
//! The servers of these tests speak plain blocking sockets, one thread a connection.

// Also the servers here are part of a test: whatever goes wrong in them must fail it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;

fn sabio_load(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sabio-load"));
    command.args(arguments.split_whitespace());
    command
}

fn load(port: u16, arguments: &str) -> Output {
    let arguments = format!("--port {port} --seconds 0.2 --warmup 0.05 {arguments}");
    sabio_load(&arguments).output().unwrap()
}

/// The figure under a key of the printed object.
fn figure(output: &Output, key: &str) -> f64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, after) = text
        .split_once(&format!("\"{key}\": "))
        .unwrap_or_else(|| panic!("no {key} in {output:?}"));
    after.split([',', '}']).next().unwrap().parse().unwrap()
}

fn refused(output: &Output, named: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        output.stdout.is_empty(),
        "a failed run printed figures: {output:?}"
    );
    assert!(complaint.contains(named), "{complaint}");
}

struct RawEcho(Child);

impl RawEcho {
    fn start() -> (Self, u16) {
        let mut child = sabio_load("raw-echo").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.split([' ', ',']).nth(1).unwrap().parse().unwrap();
        (Self(child), port)
    }
}

impl Drop for RawEcho {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Serves every connection with `answer` on a thread of its own; the threads end with the test process.
fn serve(answer: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || answer(stream));
        }
    });
    port
}

/// Answers every request head with what `body` makes of its target.
fn http(stream: &TcpStream, body: fn(&str) -> String) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if reader.read_line(&mut request).unwrap_or(0) == 0 {
                return;
            }
        }
        let target = request.split(' ').nth(1).unwrap();
        if (&*stream).write_all(body(target).as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn raw_echo_gives_every_connection_its_own_messages() {
    let (server, port) = RawEcho::start();
    for size in [16, 1024, 100 << 10, 3 << 20] {
        let output = load(
            port,
            &format!("--size {size} --connections 8 --server-pid {}", server.0.id()),
        );
        assert!(output.status.success(), "{output:?}");
        assert!(figure(&output, "messages") >= 1.0);
        assert!(figure(&output, "latency_p99_us") >= figure(&output, "latency_p50_us"));
        assert!(figure(&output, "cpu_seconds") > 0.0);
        assert!(figure(&output, "seconds") >= 0.2);
    }
}

#[test]
fn raw_echo_outlives_a_client_that_leaves_in_the_middle() {
    let (_server, port) = RawEcho::start();
    for _ in 0..10 {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(&[0; 100_000]).unwrap();
    }
    assert!(load(port, "--connections 2").status.success());
}

#[test]
fn both_framings_of_http_are_read() {
    let with_length = |stream: TcpStream| {
        http(&stream, |target| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}",
                target.len()
            )
        });
    };
    let in_chunks = |stream: TcpStream| {
        http(&stream, |target| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            format!("{head}{:x}\r\n{target}\r\n0\r\n\r\n", target.len())
        });
    };
    for server in [with_length as fn(TcpStream), in_chunks] {
        let output = load(serve(server), "--mode http --connections 4");
        assert!(
            output.status.success() && figure(&output, "messages") >= 4.0,
            "{output:?}"
        );
    }
}

#[test]
fn an_http_answer_without_the_target_ends_the_run() {
    let port = serve(|stream| {
        http(&stream, |_| {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno".to_owned()
        });
    });
    refused(&load(port, "--mode http --connections 2"), "the body is");
}

#[test]
fn answers_that_went_to_the_wrong_connection_end_the_run() {
    // Each connection is answered with the message that came in before it, on any connection.
    static EARLIER: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let port = serve(|mut stream| {
        let mut message = vec![0; 1024];
        while stream.read_exact(&mut message).is_ok() {
            let earlier = EARLIER
                .lock()
                .unwrap()
                .replace(message.clone())
                .unwrap_or_else(|| message.clone());
            if stream.write_all(&earlier).is_err() {
                return;
            }
        }
    });
    refused(&load(port, "--connections 4"), "is not the one sent");
}

#[test]
fn a_server_that_hangs_up_ends_the_run() {
    let port = serve(|mut stream| {
        let mut message = [0; 1024];
        for _ in 0..50 {
            if stream
                .read_exact(&mut message)
                .and_then(|()| stream.write_all(&message))
                .is_err()
            {
                return;
            }
        }
    });
    refused(&load(port, "--connections 2"), "connection");
}

#[test]
fn nothing_listening_is_an_error_that_names_the_address() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    refused(&load(port, ""), &format!("127.0.0.1:{port}"));
}

#[test]
fn wrong_usage_exits_with_two() {
    let output = sabio_load("--port 1 --connections 0").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--connections"));
}
