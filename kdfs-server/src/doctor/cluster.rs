//! The cluster file, its key, and the nodes of it that are to run here.

use super::{
    Arguments,
    finding::Finding,
    wanted::{Wanted, WantedNode},
};
use kddm_cluster::{
    Cluster, ClusterError, Key, Member, Rdma,
    admin::{self, Reply, Request, Status},
    paths,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt::ReuseAddr,
};
use std::{
    io::{self, BufReader},
    net::{IpAddr, SocketAddr},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// A server that is asked how it is has so much time.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a cluster file that says nothing asks for.
const ARENA: u64 = 256 << 20;

/// Looks at what the cluster file says, and says what this machine is asked for.
pub fn look(arguments: &Arguments) -> (Wanted, Vec<Finding>) {
    let file = arguments.config.clone().unwrap_or_else(|| paths::CLUSTER_FILE.into());
    let named = arguments.config.is_some();
    let loaded = (arguments.address.is_none() && (named || file.exists())).then(|| Cluster::load(&file));
    let mut findings = match arguments.address {
        Some(address) => vec![judge_address(address, &try_to_bind((address, 0).into()))],
        None => vec![judge_file(&file, loaded.as_ref())],
    };
    let cluster = loaded.and_then(Result::ok);
    let mut here = Vec::new();
    if let Some(cluster) = &cluster {
        findings.push(judge_key(&cluster.key_file, cluster.key()));
        let asked = cluster.nodes.iter().filter(|member| arguments.node.is_none_or(|id| id == member.id));
        let run = paths::run_directory(&file);
        let places: Vec<_> = asked.map(|&member| (member, place(cluster, &member, &run))).collect();
        findings.extend(judge_places(&places, &file, arguments.node.is_some()));
        let is_here = |(_, place): &&(Member, Place)| arguments.node.is_some() || !place.is_elsewhere();
        here.extend(places.iter().filter(is_here).map(|(member, _)| *member));
    }
    (wanted(arguments, cluster.as_ref(), &here), findings)
}

fn wanted(arguments: &Arguments, cluster: Option<&Cluster>, here: &[Member]) -> Wanted {
    let node = |member: &Member| WantedNode {
        id: Some(member.id),
        address: Some(member.address),
        rdma: chosen(arguments, cluster.map_or_else(Rdma::default, |cluster| cluster.rdma(member.id))),
    };
    let mut nodes: Vec<_> = here.iter().map(node).collect();
    if nodes.is_empty() {
        let rdma = chosen(arguments, cluster.map_or_else(Rdma::default, |cluster| cluster.rdma.clone()));
        nodes.push(WantedNode { id: arguments.node, address: arguments.address, rdma });
    }
    Wanted {
        fabric: arguments.fabric.or(cluster.map(|cluster| cluster.fabric)).unwrap_or_default(),
        arena: cluster.map_or(ARENA, |cluster| cluster.arena_bytes),
        nodes,
        peers: cluster.map_or(1, |cluster| cluster.nodes.len() - 1),
        configured: cluster.is_some(),
    }
}

/// Options win; ports and GIDs are those of a device.
fn chosen(arguments: &Arguments, file: Rdma) -> Rdma {
    let Arguments { device, device_port: port, gid_index, .. } = arguments.clone();
    let file = if device.is_some() { Rdma::default() } else { file };
    Rdma { device: device.or(file.device), port: port.or(file.port), gid_index: gid_index.or(file.gid_index) }
}

fn judge_file(file: &Path, loaded: Option<&Result<Cluster, ClusterError>>) -> Finding {
    const NAME: &str = "cluster file";
    match loaded {
        None => Finding::note(
            NAME,
            format!("there is no {}, so this is no installed node", file.display()),
            "for a node: docs/operations.md says what it holds; for a playground: kddm doctor --dir DIR",
        ),
        Some(Err(error)) => {
            Finding::problem(NAME, error.to_string(), "docs/operations.md says what a cluster file holds")
        }
        Some(Ok(cluster)) => {
            let found =
                format!("{}: nodes {}, fabric {}", file.display(), cluster.nodes.len(), cluster.fabric);
            Finding::ok(NAME, found)
        }
    }
}

fn judge_address(address: IpAddr, bound: &io::Result<()>) -> Finding {
    match bound {
        Ok(()) => Finding::ok("address", format!("{address} is this machine's")),
        Err(error) => Finding::problem(
            "address",
            format!("{address} cannot be used here: {error}"),
            "give the network interface that address (ip address add), or say another",
        ),
    }
}

fn judge_key(file: &Path, key: Result<Key, ClusterError>) -> Finding {
    match key {
        Ok(_) => Finding::ok("key", format!("{} is private", file.display())),
        // The message says what to do: it is what a server would say.
        Err(error) => {
            Finding::problem("key", error.to_string(), "all nodes of the cluster need the same key")
        }
    }
}

/// What is at a node's address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The address is this machine's, and the port is free.
    Free(SocketAddr),
    /// The address is not this machine's.
    Elsewhere(SocketAddr),
    /// The node's own server has the port: its process, and how it is.
    Served(SocketAddr, u32, String),
    /// Somebody has the port; why that is not known to be the node's own server.
    Taken(SocketAddr, String),
    /// Only root can ask who has the port.
    Closed(SocketAddr, PathBuf),
    /// The system does not allow it to be used.
    Refused(SocketAddr, String),
}

impl Place {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Place::Elsewhere(_))
    }
}

fn judge_places(places: &[(Member, Place)], file: &Path, named: bool) -> Vec<Finding> {
    if places.is_empty() {
        let remedy = format!("say --node with one that {} lists", file.display());
        return vec![Finding::problem("node", "the cluster file lists no such node", remedy)];
    }
    if !named && places.iter().all(|(_, place)| place.is_elsewhere()) {
        let addresses: Vec<_> = places.iter().map(|(member, _)| member.address.to_string()).collect();
        let found = format!("none of the nodes' addresses is this machine's: {}", addresses.join(", "));
        return vec![Finding::problem("node", found, address_remedy(file))];
    }
    let here = places.iter().filter(|(_, place)| named || !place.is_elsewhere());
    here.map(|(member, place)| judge_place(member, place, file)).collect()
}

fn judge_place(member: &Member, place: &Place, file: &Path) -> Finding {
    let name = format!("node {}", member.id);
    let port_remedy = || {
        format!(
            "end the program that has the port (ss -ltnp shows it), or choose another `port` in {}, on all nodes",
            file.display()
        )
    };
    match place {
        Place::Free(at) => {
            Finding::ok(name, format!("{} is this machine's, and port {} is free", at.ip(), at.port()))
        }
        Place::Served(at, pid, state) => {
            Finding::ok(name, format!("its server has {at} (process {pid}, {state})"))
        }
        Place::Elsewhere(at) => {
            let found = format!("{} is none of this machine's addresses", at.ip());
            Finding::problem(name, found, address_remedy(file))
        }
        Place::Taken(at, why) => {
            let found = format!("{at} is taken, and not by this node's server ({why})");
            Finding::problem(name, found, port_remedy())
        }
        Place::Closed(at, socket) => {
            let found = format!("{at} is taken; by whom, {} tells only root", socket.display());
            Finding::note(name, found, "run kddm doctor as root")
        }
        Place::Refused(at, why) => {
            Finding::problem(name, format!("{at} cannot be used: {why}"), port_remedy())
        }
    }
}

fn address_remedy(file: &Path) -> String {
    format!(
        "give the network interface that address (ip address add), or correct it in {}, the same on all nodes",
        file.display()
    )
}

fn place(cluster: &Cluster, member: &Member, run: &Path) -> Place {
    let at = cluster.socket(member);
    match try_to_bind(at).map_err(|error| (error.kind(), error)) {
        Ok(()) => Place::Free(at),
        Err((io::ErrorKind::AddrNotAvailable, _)) => Place::Elsewhere(at),
        Err((io::ErrorKind::AddrInUse, _)) => {
            let socket = paths::socket(run, member.id);
            match ask(&socket) {
                Ok(status) => Place::Served(at, status.pid, format!("{:?}", status.state).to_lowercase()),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Place::Closed(at, socket),
                Err(error) => Place::Taken(at, format!("{}: {error}", socket.display())),
            }
        }
        Err((_, error)) => Place::Refused(at, error.to_string()),
    }
}

/// Takes the address, without listening: no peer can call meanwhile.
fn try_to_bind(at: SocketAddr) -> io::Result<()> {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // As the server does: connections that have just ended do not count.
    setsockopt(&socket, ReuseAddr, &true)?;
    Ok(bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?)
}

fn ask(socket: &Path) -> io::Result<Status> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    admin::send(&mut stream, &Request::Status)?;
    match admin::receive(&mut BufReader::new(stream))? {
        Some(Reply::Status(status)) => Ok(status),
        _ => Err(io::Error::other("it does not say how it is")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};
    use kddm_object::NodeId;

    fn at(last: u8) -> (Member, SocketAddr) {
        let address = SocketAddr::from(([10, 0, 0, last], 5336));
        (Member { id: NodeId::new(last).unwrap(), address: address.ip() }, address)
    }

    fn judge(places: &[(Member, Place)], named: bool) -> Vec<(String, State, String)> {
        let findings = judge_places(places, Path::new("c.toml"), named);
        findings.into_iter().map(|one| (one.name, one.state, one.found + " | " + &one.remedy)).collect()
    }

    #[test]
    fn nodes_elsewhere_are_no_problem_unless_they_are_meant() {
        let ((one, here), (two, there)) = (at(1), at(2));
        let places = [(one, Place::Free(here)), (two, Place::Elsewhere(there))];
        let findings = judge(&places, false);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].0.as_str(), findings[0].1), ("node 1", State::Ok));

        let findings = judge(&places[1..], true);
        assert_eq!((findings[0].0.as_str(), findings[0].1), ("node 2", State::Problem));
        assert!(findings[0].2.contains("10.0.0.2 is none of this machine's"), "{findings:?}");

        let findings = judge(&places[1..], false);
        assert!(findings[0].2.contains("none of the nodes' addresses"), "{findings:?}");
        assert!(judge(&[], true)[0].2.contains("no such node"));
    }

    #[test]
    fn a_port_is_free_or_ours_or_in_the_way() {
        let (one, at) = at(1);
        let state = |place| judge(&[(one, place)], false)[0].1;
        assert_eq!(state(Place::Served(at, 7, "serving".into())), State::Ok);
        assert_eq!(state(Place::Taken(at, "nobody".into())), State::Problem);
        assert_eq!(state(Place::Closed(at, "/run/kdfs/1.sock".into())), State::Note);
        assert_eq!(state(Place::Refused(at, "permission denied".into())), State::Problem);
    }

    #[test]
    fn the_places_of_this_machine_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!(
            "id = \"ab010203-0405-0607-0809-0a0b0c0d0e0f\"\nkey_file = \"k\"\nport = {port}\n\
             [[node]]\naddress = \"127.0.0.1\"\n[[node]]\naddress = \"127.0.0.2\"\n[[node]]\naddress = \"198.51.100.3\"\n"
        );
        let cluster = Cluster::parse(&text, &folder.path().join("cluster.toml")).unwrap();
        let places: Vec<_> =
            cluster.nodes.iter().map(|member| place(&cluster, member, folder.path())).collect();
        assert!(matches!(places[0], Place::Taken(..)), "{places:?}");
        assert!(matches!(places[1], Place::Free(..)), "{places:?}");
        assert!(matches!(places[2], Place::Elsewhere(..)), "{places:?}");
    }

    #[test]
    fn an_address_that_is_said_is_tried() {
        let judge = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            judge_address(address, &try_to_bind((address, 0).into())).state
        };
        assert_eq!(judge("127.0.0.9"), State::Ok);
        assert_eq!(judge("198.51.100.9"), State::Problem);
    }

    #[test]
    fn the_file_and_the_key_are_judged_with_their_own_words() {
        let file = Path::new("/etc/kdfs/cluster.toml");
        assert_eq!(judge_file(file, None).state, State::Note);
        let wrong = Cluster::parse("id = 3", file);
        let finding = judge_file(file, Some(&wrong));
        assert_eq!(finding.state, State::Problem);
        assert!(finding.found.contains("cluster.toml:1"), "{finding:?}");
        let open = ClusterError::KeyOpen { file: "k".into(), mode: 0o644 };
        let finding = judge_key(Path::new("k"), Err(open));
        assert!(finding.state == State::Problem && finding.found.contains("chmod 600"), "{finding:?}");
    }
}
