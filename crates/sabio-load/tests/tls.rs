//! The binary from outside, over TLS: only the server with the named certificate is driven.

// Also the server here is part of a test: whatever goes wrong in it must fail it.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn certificate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/localhost.pem")
}

/// Echoes over TLS; the threads end with the test process.
fn echo_server() -> u16 {
    let chain = vec![CertificateDer::from_pem_file(certificate()).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificate()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, config) = (stream.unwrap(), config.clone());
            thread::spawn(move || echo(stream, config));
        }
    });
    port
}

fn echo(stream: TcpStream, config: Arc<ServerConfig>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut memory = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut memory) {
        if stream
            .write_all(&memory[..count])
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

fn load(port: u16, arguments: &str, certificate: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sabio-load"))
        .args(format!("--port {port} --seconds 0.2 --warmup 0.05 {arguments} --tls").split_whitespace())
        .arg(certificate)
        .output()
        .unwrap()
}

#[test]
fn messages_of_all_sizes_come_back() {
    let port = echo_server();
    for size in [16, 1024, 100 << 10, 3 << 20] {
        let output = load(port, &format!("--size {size} --connections 4"), &certificate());
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_server_with_another_certificate_is_refused() {
    let text = std::fs::read_to_string(certificate()).unwrap();
    // The same certificate but for a few bits of its signature, at the end.
    let (body, end) = text.split_at(text.rfind("\n-----END").unwrap() - 12);
    let changed = if end.starts_with('A') { 'B' } else { 'A' };
    let other = std::env::temp_dir().join(format!("sabio-load-{}.pem", std::process::id()));
    std::fs::write(&other, format!("{body}{changed}{}", &end[1..])).unwrap();
    let output = load(echo_server(), "--connections 1", &other);
    std::fs::remove_file(&other).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("invalid peer certificate"),
        "{output:?}"
    );
}

#[test]
fn a_server_without_tls_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"not a handshake at all").unwrap();
    });
    let output = load(port, "--connections 1", &certificate());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
}
