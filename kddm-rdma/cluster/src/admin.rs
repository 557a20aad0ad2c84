//! What the `kddm` command and mount.kdfs say to a server, over its Unix socket: one JSON value a line.
//!
//! A client sends one [`Request`] and reads one [`Reply`], as often as it likes. The descriptor of a
//! [`Request::Mount`] travels beside the request's line as SCM_RIGHTS.

mod top;
mod trace;

pub use top::{Ended, Holder, SetUse, Times, Top, Weight};
pub use trace::{Trace, TraceEvent};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, BufRead, Read, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// The longest line that is read.
pub const MAX_LINE: u64 = 1 << 20;

/// The objects that can be asked about at once.
pub const MAX_HOLDERS: usize = 256;

/// What a server is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How are you?
    Status,
    /// Where does this entry of a mounted name space live?
    Where {
        /// Its path, relative to the root of the file system.
        path: PathBuf,
    },
    /// Where does this inode live, and in which life is its number?
    Inode {
        /// The inode number.
        inode: u32,
    },
    /// What does this node know about an object?
    Dump {
        /// The object's set.
        set: u64,
        /// The object's number.
        object: u32,
    },
    /// Which set has this name?
    Named {
        /// The name, in the registry of sets.
        name: String,
    },
    /// Trace an object for ten seconds more; what happened to it?
    Trace {
        /// The object's set.
        set: u64,
        /// The object's number.
        object: u32,
        /// After this event; 0 for all that is known.
        after: u64,
    },
    /// Who is busy with what?
    Top,
    /// Who holds these objects, and who waits for them?
    Holders {
        /// Sets and numbers; at most [`MAX_HOLDERS`].
        objects: Vec<(u64, u32)>,
    },
    /// Serve the /dev/fuse descriptor that comes beside this line, mounted there.
    Mount {
        /// The mount point.
        point: PathBuf,
        /// Mount options that concern the server.
        options: Vec<String>,
    },
    /// Stop serving a mount point; what was written is durable before the reply.
    Unmount {
        /// The mount point.
        point: PathBuf,
    },
    /// Make everything durable that this node's partition is home of.
    Sync,
    /// Unmount, sync, leave, end.
    Stop,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// To Mount, Unmount, Sync, Stop.
    Done,
    /// To Status.
    Status(Status),
    /// To Where and Inode.
    Where(Where),
    /// To Dump.
    Dump(Dump),
    /// To Named.
    Set(u64),
    /// To Trace.
    Trace(Trace),
    /// To Top.
    Top(Top),
    /// To Holders.
    Holders(Vec<Holder>),
    /// It was not done; nothing changed.
    Failed {
        /// What, where, what to do.
        reason: String,
        /// The errno that a program would see, if there is one.
        errno: Option<i32>,
    },
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Recovering or meeting its peers.
    Starting,
    /// All peers are there.
    Serving,
    /// Not all peers are there.
    Alone,
    /// Unmounting, syncing.
    Leaving,
}

/// A server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node's id.
    pub id: u8,
    /// The server's process.
    pub pid: u32,
    /// Its address.
    pub address: IpAddr,
    /// What it is doing.
    pub state: State,
    /// The view.
    pub view: u32,
    /// This life of the server.
    pub incarnation: u64,
    /// The cluster's id.
    pub cluster: String,
    /// The fabric.
    pub fabric: String,
    /// The partition's directory; none on a diskless node.
    pub partition: Option<PathBuf>,
    /// The root's inode number, once known.
    pub root: Option<u32>,
    /// Where it tells its metrics, if it does.
    pub metrics: Option<SocketAddr>,
    /// Where it is mounted.
    pub mounts: Vec<PathBuf>,
    /// The other nodes.
    pub peers: Vec<Peer>,
    /// The programs that are attached.
    pub programs: Vec<Program>,
    /// Figures by name: messages, reads, hits, slots …
    pub counters: std::collections::BTreeMap<String, u64>,
}

/// A program that is attached to a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What it calls itself.
    pub name: String,
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its holds.
    pub holds: usize,
}

/// Another node, as a server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: u8,
    /// Its address.
    pub address: IpAddr,
    /// Whether the two are connected.
    pub up: bool,
    /// Its incarnation, if it is up.
    pub incarnation: Option<u64>,
    /// Why it is not up.
    pub reason: Option<String>,
}

/// Where an entry lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Where {
    /// Its inode number.
    pub inode: u32,
    /// Its generation.
    pub generation: u32,
    /// The node whose partition has it.
    pub node: u8,
    /// Its native directory, relative to that partition.
    pub directory: PathBuf,
}

/// What a node knows about an object: lines of name and value, in the order to print them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// The node.
    pub node: u8,
    /// What it knows.
    pub fields: Vec<(String, String)>,
}

/// Writes `value` as one line.
///
/// # Errors
/// The stream's.
pub fn send(stream: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.flush()
}

/// Reads one line; `None` if the stream ended before it began.
///
/// # Errors
/// The stream's; a line that is too long, cut off, or not what was expected is `InvalidData`.
pub fn receive<T: DeserializeOwned>(stream: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(io::Error::from),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "an unfinished or overlong line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_come_back() {
        let requests = [
            Request::Status,
            Request::Dump { set: 1 << 56, object: 7 },
            Request::Mount { point: "/mnt".into(), options: vec!["root=1".into()] },
            Request::Stop,
        ];
        let mut wire = Vec::new();
        for request in &requests {
            send(&mut wire, request).unwrap();
        }
        let mut read = io::BufReader::new(&wire[..]);
        for request in requests {
            assert_eq!(receive(&mut read).unwrap(), Some(request));
        }
        assert_eq!(receive::<Request>(&mut read).unwrap(), None);
    }

    #[test]
    fn bad_lines_are_errors() {
        let long = vec![b'x'; MAX_LINE as usize + 5];
        for line in [&b"\"status\""[..], b"\"stop\" 3\n", b"{}\n", b"\n", b"\"nothing\"\n", &long] {
            assert!(receive::<Request>(&mut io::BufReader::new(line)).is_err());
        }
    }

    #[test]
    fn states_are_the_words_of_the_manual() {
        assert_eq!(serde_json::to_string(&State::Alone).unwrap(), "\"alone\"");
    }
}
