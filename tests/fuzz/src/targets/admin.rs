//! The admin protocol: lines of JSON (`kddm_cluster::admin`), and the server's end of the socket.

use super::{Target, numbered};
use crate::bound::bounded;
use kddm_cluster::admin::{self, Dump, Peer, Program, Reply, Request, State, Status, Where};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

pub(super) const TARGET: Target = Target {
    name: "admin",
    what: "requests and replies of the admin socket, and the stream that they come in",
    check,
    seeds,
    longest: 4096,
};

fn check(input: &[u8]) {
    lines::<Reply>(input);
    let requests = lines::<Request>(input);
    // The server reads from its socket in pieces, and descriptors beside them: the same requests.
    let heard = kdfs_server::fuzz::requests(input);
    assert_eq!(heard, requests, "the server hears something else than was said");
}

/// The values of the lines, until one is none.
fn lines<T: DeserializeOwned + Serialize + PartialEq + Debug>(input: &[u8]) -> Vec<T> {
    let (mut rest, mut values) = (input, Vec::new());
    loop {
        // A short element of a list can be a structure of some hundred bytes.
        let received = bounded(200 * input.len() + 8192, || admin::receive::<T>(&mut rest));
        let Ok(Some(value)) = received else { return values };
        let mut line = Vec::new();
        admin::send(&mut line, &value).expect("texts, and paths that came as texts");
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1, "a value of several lines");
        let again = admin::receive::<T>(&mut &line[..]).expect("what is written is read");
        assert_eq!(again.as_ref(), Some(&value), "a value does not come back");
        values.push(value);
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut seeds = Vec::new();
    for request in requests() {
        let line = line(&request);
        all.extend_from_slice(&line);
        seeds.push(line);
    }
    seeds.push(all);
    let mut named = numbered("request", seeds);
    named.extend(numbered("reply", replies().iter().map(line)));
    named
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::new();
    admin::send(&mut line, value).expect("a vector takes what comes");
    line
}

fn requests() -> [Request; 8] {
    [
        Request::Status,
        Request::Where { path: "a/\u{e9}\n".into() },
        Request::Inode { inode: 0x0100_0001 },
        Request::Dump { set: u64::MAX, object: 7 },
        Request::Mount { point: "/mnt".into(), options: vec!["root=1:1".into(), String::new()] },
        Request::Unmount { point: "/mnt".into() },
        Request::Sync,
        Request::Stop,
    ]
}

fn replies() -> [Reply; 6] {
    let address = [127, 0, 0, 2].into();
    let (up, down) = (Some(5), Some("it does not answer".to_owned()));
    let status = Status {
        id: 1,
        pid: 4711,
        address,
        state: State::Alone,
        view: 1,
        incarnation: 3,
        cluster: "ab010203-0405-0607-0809-0a0b0c0d0e0f".to_owned(),
        fabric: "tcp".to_owned(),
        partition: Some("/srv/kdfs".into()),
        root: Some(0x0100_0001),
        mounts: vec!["/mnt".into()],
        peers: vec![
            Peer { id: 2, address, up: true, incarnation: up, reason: None },
            Peer { id: 3, address, up: false, incarnation: None, reason: down },
        ],
        metrics: Some((address, 9100).into()),
        programs: vec![Program { name: "counter".to_owned(), pid: 4712, uid: 1000, holds: 3 }],
        counters: [("hits".to_owned(), u64::MAX)].into(),
    };
    let diskless = Status { partition: None, root: None, mounts: vec![], peers: vec![], ..status.clone() };
    [
        Reply::Done,
        Reply::Status(status),
        Reply::Status(diskless),
        Reply::Where(Where { inode: 7, generation: 2, node: 1, directory: "0-99/7".into() }),
        Reply::Dump(Dump { node: 1, fields: vec![("home".to_owned(), "node 1".to_owned())] }),
        Reply::Failed { reason: "there is no inode 9".to_owned(), errno: Some(2) },
    ]
}
