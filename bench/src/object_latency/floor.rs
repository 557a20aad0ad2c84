//! The floor of misses: another process that answers a small message with as many bytes as it is told.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of a request, as many as a small message of the protocol.
const REQUEST: usize = 64;

/// The other process and the connection to it.
pub struct PingPong {
    child: Child,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl PingPong {
    /// Starts the other process: this very program, as `kddm-bench pong`.
    pub fn start() -> Result<PingPong> {
        let program = crate::programs::built("kddm-bench")?;
        let mut child = Command::new(program).arg("pong").stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let port: u16 = line.trim().parse().with_context(|| format!("kddm-bench pong said {line:?}"))?;
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(PingPong { child, stream, buffer: vec![0; 1 << 16] })
    }

    /// One round trip: a request out, `bytes` bytes back.
    pub fn round_trip(&mut self, bytes: u32) -> Result<Duration> {
        let mut request = [0; REQUEST];
        request[..4].copy_from_slice(&bytes.to_le_bytes());
        let begin = Instant::now();
        self.stream.write_all(&request)?;
        self.stream.read_exact(&mut self.buffer[..bytes as usize])?;
        Ok(begin.elapsed())
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        // It ends by itself when the connection does; the kill is for one that hangs.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process: prints its port, answers one connection until that ends.
///
/// # Errors
/// The network's.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut request = [0; REQUEST];
    let answer = vec![1; 1 << 16];
    while stream.read_exact(&mut request).is_ok() {
        let bytes = u32::from_le_bytes([request[0], request[1], request[2], request[3]]) as usize;
        stream.write_all(&answer[..bytes.min(answer.len())])?;
    }
    Ok(())
}
