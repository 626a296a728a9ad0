//! The HTTP mode: keep-alive GET requests whose target names the connection and a counter.
//!
//! The server answers 200 with the target as its body, framed by `Content-Length` or in chunks
//! (RFC 9112, sections 6 and 7.1); anything else ends the run. Sending the target back costs a server
//! next to nothing and proves that each answer belongs to the request it followed.

use std::borrow::Cow;
use std::io::Write;

use crate::conversation::{Conversation, Mismatch};

/// Most bytes of an answer; a server that goes past it is not one of the benchmarks' servers.
const LARGEST_ANSWER: usize = 1 << 20;

/// Bytes of a target: a slash and eight digits for the connection, a slash and sixteen for the counter.
const TARGET: usize = 1 + 8 + 1 + 16;

const METHOD: &[u8] = b"GET ";

/// One keep-alive connection.
pub(crate) struct Http {
    id: u32,
    counter: u64,
    request: Vec<u8>,
    sent: usize,
    arrived: Vec<u8>,
}

impl Http {
    fn write_request(&mut self) {
        self.request.clear();
        self.request.extend_from_slice(METHOD);
        // Writing into a vector cannot fail.
        let _ = write!(self.request, "/{:08x}/{:016x}", self.id, self.counter);
        self.request
            .extend_from_slice(b" HTTP/1.1\r\nHost: sabio-load\r\n\r\n");
    }

    fn target(&self) -> &[u8] {
        &self.request[METHOD.len()..METHOD.len() + TARGET]
    }

    fn judge(&self) -> Result<bool, String> {
        if self.sent < self.request.len() {
            return Err("an answer came before the request was sent".to_owned());
        }
        let Some((body, length)) = answer(&self.arrived)? else {
            if self.arrived.len() > LARGEST_ANSWER {
                return Err(format!("the answer has more than {LARGEST_ANSWER} bytes"));
            }
            return Ok(false);
        };
        if length < self.arrived.len() {
            return Err("bytes follow the answer".to_owned());
        }
        if *body != *self.target() {
            return Err(format!("the body is {:?}", String::from_utf8_lossy(&body)));
        }
        Ok(true)
    }
}

impl Conversation for Http {
    type Common = ();

    fn new(id: u32, (): &()) -> Self {
        let mut this = Self {
            id,
            counter: 0,
            request: Vec::new(),
            sent: 0,
            arrived: Vec::new(),
        };
        this.write_request();
        this
    }

    fn unsent<'a>(&'a self, (): &'a mut ()) -> &'a [u8] {
        &self.request[self.sent..]
    }

    fn sent(&mut self, count: usize) {
        self.sent += count;
    }

    fn received(&mut self, bytes: &[u8], (): &mut ()) -> Result<bool, Mismatch> {
        self.arrived.extend_from_slice(bytes);
        self.judge().map_err(|what| Mismatch {
            id: self.id,
            counter: self.counter,
            what,
        })
    }

    fn advance(&mut self) {
        self.counter += 1;
        self.sent = 0;
        self.arrived.clear();
        self.write_request();
    }
}

/// A body and the bytes that head, framing and body take together.
type Framed<'a> = (Cow<'a, [u8]>, usize);

/// The answer at the start of `bytes`, or `None` when more bytes are needed. The error says what makes
/// it no answer to a keep-alive request.
fn answer(bytes: &[u8]) -> Result<Option<Framed<'_>>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the head is not text".to_owned())?;
    let start = end + 4;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !(status.starts_with("HTTP/1.1 200 ") || status == "HTTP/1.1 200") {
        return Err(format!("the status line is {status:?}"));
    }
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("no header: {line:?}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(
                value
                    .parse::<usize>()
                    .map_err(|_| format!("no length: {line:?}"))?,
            );
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            return Err("the server is about to close".to_owned());
        }
    }
    match (length, chunked) {
        (_, true) => Ok(chunks(&bytes[start..])?.map(|(body, length)| (body.into(), start + length))),
        (Some(length), false) if length > LARGEST_ANSWER => Err(format!("a body of {length} bytes")),
        (Some(length), false) => Ok(bytes
            .get(start..start + length)
            .map(|body| (body.into(), start + length))),
        (None, false) => Err("neither Content-Length nor chunks".to_owned()),
    }
}

/// The joined chunks at the start of `bytes` and the length of their encoding.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line])
            .ok()
            .and_then(|text| usize::from_str_radix(text.split(';').next()?.trim(), 16).ok())
            .filter(|size| *size <= LARGEST_ANSWER)
            .ok_or("a chunk without a size")?;
        at += line + 2;
        if size == 0 {
            // Trailers, if any, end with an empty line as the head does.
            return Ok(trailers(&bytes[at..]).map(|length| (body, at + length)));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        let Some(data) = chunk.strip_suffix(b"\r\n") else {
            return Err("a chunk of another size".to_owned());
        };
        body.extend_from_slice(data);
        at += chunk.len();
    }
}

fn trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        Some(2)
    } else {
        find(bytes, b"\r\n\r\n").map(|end| end + 4)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "/00000005/0000000000000000";

    fn asked() -> Http {
        let mut http = Http::new(5, &());
        let length = http.unsent(&mut ()).len();
        http.sent(length);
        http
    }

    fn with_length(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-LENGTH: {}\r\nServer: x\r\n\r\n{body}",
            body.len()
        )
    }

    fn in_chunks(body: &str) -> String {
        let (one, two) = body.split_at(5);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!(
            "{head}5;x=y\r\n{one}\r\n{:X}\r\n{two}\r\n0\r\nT: 1\r\n\r\n",
            two.len()
        )
    }

    #[test]
    fn the_request_names_connection_and_counter() {
        let mut http = asked();
        http.advance();
        let text = String::from_utf8(http.unsent(&mut ()).to_vec()).unwrap();
        assert!(
            text.starts_with("GET /00000005/0000000000000001 HTTP/1.1\r\nHost: "),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_answer_is_complete_at_its_last_byte_and_not_before() {
        for text in [with_length(OWN), in_chunks(OWN)] {
            let mut http = asked();
            let (last, before) = text.as_bytes().split_last().unwrap();
            for byte in before {
                assert_eq!(http.received(&[*byte], &mut ()), Ok(false), "{text}");
            }
            assert_eq!(http.received(&[*last], &mut ()), Ok(true), "{text}");
        }
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        for other in [
            "/00000006/0000000000000000",
            "/00000005/0000000000000001",
            "hello",
        ] {
            assert!(
                asked().received(with_length(other).as_bytes(), &mut ()).is_err(),
                "{other}"
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (text, named) in [
            (with_length(OWN) + "x", "follow"),
            (with_length(OWN).replace("200", "500"), "status"),
            (
                with_length(OWN).replace("Server: x", "Connection: close"),
                "close",
            ),
            (with_length(OWN).replace("content-LENGTH", "x"), "neither"),
            (
                with_length(OWN).replace("content-LENGTH: 26", "Content-Length: -1"),
                "no length",
            ),
            (
                with_length(OWN).replace("content-LENGTH: 26", "Content-Length: 9999999999999"),
                "body of",
            ),
            (in_chunks(OWN).replace("5;x", "z;x"), "size"),
            (in_chunks(OWN).replace("5;x", "4;x"), "size"),
        ] {
            let wrong = asked().received(text.as_bytes(), &mut ()).unwrap_err();
            assert!(wrong.what.contains(named), "{text}: {wrong}");
        }
    }
}
