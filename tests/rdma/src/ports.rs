//! Ports for tests on this host.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// How many this process was given.
static GIVEN: AtomicU16 = AtomicU16::new(0);

/// The first of eight ports that nobody listens on at 127.0.0.1 to 127.0.0.`nodes`, below those that the kernel hands out, so that no other
/// program is given one meanwhile. Each call gives others.
///
/// # Panics
/// If there is none.
pub fn free(nodes: u8) -> u16 {
    let blocks = (32_000 - 20_000) / 8;
    let own = (std::process::id() % 1000) as u16;
    let is_free = |port: u16| {
        (1..=nodes).all(|node| TcpListener::bind(SocketAddr::from(([127, 0, 0, node], port))).is_ok())
    };
    let all_free = |first: &u16| (*first..first + 8).all(is_free);
    let next = || 20_000 + (own + GIVEN.fetch_add(1, Ordering::Relaxed)) % blocks * 8;
    (0..blocks).map(|_| next()).find(all_free).expect("free ports")
}
