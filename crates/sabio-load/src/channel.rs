//! What carries a conversation's bytes: a TCP connection, or TLS over one.
//!
//! TLS is rustls's, so that the load comes from another implementation than the one under test. The server is known by its
//! certificate alone: whatever else it shows ends the run. Called by the generator, which treats both kinds alike.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
};

use crate::Failure;

/// How long a connection and its handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server must show.
#[derive(Clone)]
pub(crate) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the first certificate in a PEM file, and no other.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn read(file: &Path) -> Result<Trust, Failure> {
        let certificate = CertificateDer::from_pem_file(file)
            .map_err(|error| format!("no certificate in {}: {error}", file.display()))?;
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned {
                certificate,
                provider,
            }))
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }
}

/// One connection, nonblocking.
pub(crate) enum Channel {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Bytes in records.
    Tls(TcpStream, Box<ClientConnection>),
}

impl Channel {
    /// Connects, and shakes hands where `trust` is given.
    ///
    /// # Errors
    /// When the server cannot be reached or is not the one that is trusted.
    pub(crate) fn connect(address: SocketAddr, trust: Option<&Trust>) -> Result<Channel, Failure> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
            .map_err(|error| format!("cannot connect to {address}: {error}"))?;
        stream.set_nodelay(true)?;
        let Some(trust) = trust else {
            stream.set_nonblocking(true)?;
            return Ok(Channel::Plain(stream));
        };
        let mut session = ClientConnection::new(trust.0.clone(), ServerName::from(address.ip()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while session.is_handshaking() {
            session
                .complete_io(&mut stream)
                .map_err(|error| format!("handshake with {address}: {error}"))?;
        }
        stream.set_nonblocking(true)?;
        Ok(Channel::Tls(stream, Box::new(session)))
    }

    /// The connection below.
    pub(crate) fn stream(&self) -> &TcpStream {
        match self {
            Channel::Plain(stream) | Channel::Tls(stream, _) => stream,
        }
    }

    /// Whether bytes that were written have not left yet.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Channel::Plain(_) => false,
            Channel::Tls(_, session) => session.wants_write(),
        }
    }

    /// Takes bytes, and lets what the kernel takes leave.
    ///
    /// # Errors
    /// `WouldBlock` when nothing could be taken, or what was taken before could not all leave; those of send(2).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(stream) => stream.write(bytes),
            Channel::Tls(stream, session) => {
                while session.wants_write() {
                    session.write_tls(stream)?;
                }
                if bytes.is_empty() {
                    return Ok(0);
                }
                let count = session.writer().write(bytes)?;
                while session.wants_write() {
                    match session.write_tls(stream) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        done => done?,
                    };
                }
                Ok(count)
            }
        }
    }

    /// What has arrived: 0 when the server has ended the connection.
    ///
    /// # Errors
    /// `WouldBlock` when no byte of the conversation has; those of recv(2) and of TLS.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(stream) => stream.read(into),
            Channel::Tls(stream, session) => {
                // What is decrypted must be taken before the session accepts more records, and the kernel
                // announces no data that it no longer has: so everything that is there is read.
                let mut total = 0;
                loop {
                    match session.read_tls(stream) {
                        Ok(0) => return Ok(total),
                        Ok(_) => session.process_new_packets().map_err(io::Error::other)?,
                        Err(error) if error.kind() == ErrorKind::WouldBlock && total > 0 => return Ok(total),
                        Err(error) => return Err(error),
                    };
                    match session.reader().read(&mut into[total..]) {
                        Ok(0) => return Ok(total),
                        Ok(count) => total += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                    if total > into.len() / 2 {
                        return Ok(total);
                    }
                }
            }
        }
    }
}

/// Accepts one certificate, whose key the server must have.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
