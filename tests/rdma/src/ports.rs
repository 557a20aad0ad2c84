//! Ports for tests on this host.

use std::net::{SocketAddr, TcpListener};

/// The first of eight ports that nobody listens on at 127.0.0.1 to 127.0.0.`nodes`, below those that the kernel hands out, so that no other
/// program is given one meanwhile.
///
/// # Panics
/// If there is none.
pub fn free(nodes: u8) -> u16 {
    let first = 20_000 + (std::process::id() % 1000) as u16 * 8;
    let is_free = |port: u16| {
        (1..=nodes).all(|node| TcpListener::bind(SocketAddr::from(([127, 0, 0, node], port))).is_ok())
    };
    let all_free = |first: &u16| (*first..first + 8).all(is_free);
    (first..32_000).step_by(8).find(all_free).expect("free ports")
}
