//! As much of HTTP as a scraper needs, for whoever comes: everything that a client can take of the server is bounded, in bytes, in time
//! and in number.

use super::exposition::TYPE;
use futures_lite::future::block_on;
use kddm_rdma::Host;
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Bytes of a request.
const LONGEST: usize = 8 << 10;
/// Lines of a request.
const LINES: usize = 64;
/// From the connection to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients at a time; those who come then are turned away.
const CLIENTS: usize = 8;

/// What is answered.
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
    /// HEAD wants to know only how long it is.
    with_body: bool,
}

/// Answers clients from now on with what `page` says, until it says nothing any more.
pub fn serve(
    listener: TcpListener,
    host: Arc<dyn Host>,
    page: impl Fn() -> Option<String> + Send + Sync + 'static,
) {
    let (clients, page) = (Arc::new(AtomicUsize::new(0)), Arc::new(page));
    let threads = host.clone();
    let accept = move || {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(reason = %error, "who wants the metrics could not be let in; trying again in a second");
                    block_on(host.sleep(Duration::from_secs(1)));
                    continue;
                }
            };
            if clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS {
                clients.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let (clients, page, client) = (clients.clone(), page.clone(), host.clone());
            host.spawn_thread(
                "metrics-client",
                Box::new(move || {
                    if let Err(error) = converse(stream, &*client, &*page) {
                        tracing::debug!(reason = %error, "somebody did not wait for the metrics, or was not waited for");
                    }
                    clients.fetch_sub(1, Ordering::AcqRel);
                }),
            );
        }
    };
    threads.spawn_thread("metrics", Box::new(accept));
}

fn converse(mut stream: TcpStream, host: &dyn Host, page: &dyn Fn() -> Option<String>) -> io::Result<()> {
    let end = host.now() + PATIENCE;
    let left = || match end.saturating_sub(host.now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        time => Ok(time),
    };
    let mut buffer = [0; LONGEST];
    let mut length = 0;
    let answer = loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer[length..])? {
            0 => return Ok(()),
            more => length += more,
        }
        if let Some(answer) = answer(&buffer[..length], page) {
            break answer;
        }
        if length == LONGEST {
            break Answer::plain(
                "431 Request Header Fields Too Large",
                "this is too much for a request of metrics\n",
            );
        }
    };
    let mut bytes = &answer.bytes()[..];
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left()?))?;
        let written = stream.write(bytes)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

/// The answer to a request; `None` as long as it is not whole.
fn answer(request: &[u8], page: &dyn Fn() -> Option<String>) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; LINES];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Some(Answer::plain("400 Bad Request", "this is no HTTP\n")),
    }
    let path = parsed.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let with_body = match parsed.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Some(Answer::plain("405 Method Not Allowed", "metrics can be read: GET /metrics\n")),
    };
    Some(match (path, page) {
        ("/metrics", page) => match page() {
            Some(body) => Answer { status: "200 OK", kind: TYPE, body, with_body },
            None => Answer::plain("503 Service Unavailable", "the server is ending\n"),
        },
        _ => Answer::plain("404 Not Found", "there is only /metrics here\n"),
    })
}

impl Answer {
    fn plain(status: &'static str, body: &str) -> Answer {
        Answer { status, kind: "text/plain; charset=utf-8", body: body.to_owned(), with_body: true }
    }

    fn bytes(&self) -> Vec<u8> {
        let Answer { status, kind, body, with_body } = self;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
        );
        let body = if *with_body { body.as_str() } else { "" };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests;
