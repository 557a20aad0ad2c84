//! A real socket, and clients of every kind.

use super::*;
use kddm_rdma::LinuxHost;
use std::net::{Shutdown, SocketAddr};

/// The server's address, and what keeps its host.
fn server() -> (SocketAddr, Arc<LinuxHost>) {
    let host = LinuxHost::start(1).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, host.clone(), || Some("page 1\n".repeat(1000)));
    (address, host)
}

fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_scraper_gets_the_page() {
    let (address, _host) = server();
    let answer = ask(address, b"GET /metrics?x=1 HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert_eq!(body, "page 1\n".repeat(1000));
    let head = ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.contains("Content-Length: 7000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn a_request_may_come_in_pieces() {
    let (address, _host) = server();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /metrics HTTP/1.0\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn what_is_no_request_is_told_so() {
    let (address, _host) = server();
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'x'; LONGEST]].concat();
    let many =
        [b"GET /metrics HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(LINES + 1), b"\r\n".to_vec()].concat();
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
        (b"GET /metrics/../x HTTP/1.1\r\n\r\n", "404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n", "405"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (b"GET /metrics\r\n\r\n", "400"),
        (&many, "400"),
        (&long[..LONGEST], "431"),
    ] {
        let answer = ask(address, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{:?}: {answer}",
            String::from_utf8_lossy(request)
        );
    }
    assert_eq!(ask(address, b"GET /met"), "", "half a request and a hang-up");
}

/// Those who say nothing are let go in the end, and until then at most so many are let in.
#[test]
fn clients_that_never_end_are_bounded_and_end() {
    let (address, _host) = server();
    let mut idle: Vec<TcpStream> = (0..3 * CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let begin = std::time::Instant::now();
    // First those who came when the house was full: they need not wait for the time of the others to be over.
    for (number, stream) in idle.iter_mut().enumerate().rev() {
        stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
        let ended = stream.read(&mut [0; 16]);
        assert!(
            matches!(ended, Ok(0))
                || ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
        );
        let turned_away = number >= CLIENTS;
        assert!(!turned_away || begin.elapsed() < PATIENCE / 2, "client {number} was let in");
    }
    assert!(begin.elapsed() >= PATIENCE * 9 / 10, "those who were let in had their time");
    assert!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
}
