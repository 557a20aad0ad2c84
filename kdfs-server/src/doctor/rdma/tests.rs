use super::*;
use kddm_object::NodeId;

fn gid(index: u32, address: &str) -> Gid {
    Gid { index, kind: "RoCE v2", address: address.parse().unwrap() }
}

fn port() -> Port {
    let gids = vec![gid(0, "fe80::1"), gid(1, "10.77.0.1")];
    Port { number: 1, state: "active", active: true, ethernet: true, mtu: 4096, lid: 0, gids }
}

fn device(port: Port) -> Rdma {
    Rdma::Devices(vec![Ok(Device { name: "rxe0".into(), ports: vec![Ok(port)], reads: (16, 128) })])
}

fn states(rdma: &Rdma, fabric: Fabric) -> Vec<State> {
    judge(rdma, &Wanted::only(fabric)).iter().map(|finding| finding.state).collect()
}

#[test]
fn no_device_stands_in_the_way_of_verbs_alone_and_the_way_out_is_told() {
    for rdma in [Rdma::Nothing("this kernel has none".into()), Rdma::Devices(Vec::new()), Rdma::NotBuilt] {
        assert_eq!(states(&rdma, Fabric::Verbs), [State::Problem]);
        assert_eq!(states(&rdma, Fabric::Tcp), [State::Note]);
        let finding = &judge(&rdma, &Wanted::only(Fabric::Tcp))[0];
        assert!(finding.found.contains("fabric tcp works"), "{finding:?}");
    }
    let finding = &judge(&Rdma::Devices(Vec::new()), &Wanted::only(Fabric::Verbs))[0];
    assert!(finding.remedy.contains("rdma link add rxe0"), "{finding:?}");
}

#[test]
fn a_device_is_shown_with_ports_and_gids() {
    let findings = judge(&device(port()), &Wanted::only(Fabric::Verbs));
    let names: Vec<_> = findings.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(names, ["device rxe0", "rxe0 port 1", "rxe0 port 1 GIDs"]);
    assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:?}");
    assert_eq!(findings[1].found, "active, Ethernet (RoCE), packets of 4096 bytes");
    assert_eq!(findings[2].found, "0: RoCE v2 fe80::1, 1: RoCE v2 10.77.0.1");
}

#[test]
fn small_packets_and_ports_that_are_down_are_noted() {
    let small = device(Port { mtu: 1024, ..port() });
    assert_eq!(states(&small, Fabric::Verbs), [State::Ok, State::Note, State::Ok]);
    let down = judge(
        &device(Port { active: false, state: "down", gids: Vec::new(), ..port() }),
        &Wanted::only(Fabric::Verbs),
    );
    assert!(down[1].remedy.contains("ip link set"), "{down:?}");
    assert_eq!(down[2].found, "none");
    let infiniband = Port { ethernet: false, mtu: 2048, lid: 7, gids: Vec::new(), ..port() };
    assert_eq!(states(&device(infiniband.clone()), Fabric::Verbs), [State::Ok; 3]);
    let down = judge(&device(Port { active: false, ..infiniband }), &Wanted::only(Fabric::Verbs));
    assert!(down[1].remedy.contains("subnet manager"), "{down:?}");
}

#[test]
fn a_device_that_cannot_be_opened_is_told_beside_the_others() {
    let two = Rdma::Devices(vec![
        Err("mlx5_0: opening the device: Permission denied".into()),
        Ok(Device { name: "rxe0".into(), ports: Vec::new(), reads: (1, 1) }),
    ]);
    assert_eq!(states(&two, Fabric::Verbs), [State::Problem, State::Ok]);
    assert_eq!(states(&two, Fabric::Tcp), [State::Note, State::Ok]);
}

fn node(address: Option<&str>, gid_index: Option<u32>) -> WantedNode {
    WantedNode {
        id: NodeId::new(3).ok(),
        address: address.map(|address| address.parse().unwrap()),
        rdma: kddm_cluster::Rdma { gid_index, ..Default::default() },
    }
}

fn used(gid: Option<Gid>) -> Result<Used, String> {
    Ok(Used { device: "rxe0".into(), port: 1, lid: Some(9).filter(|_| gid.is_none()), gid })
}

#[test]
fn which_gid_is_used_is_said_with_the_reason() {
    let judge = |node: &WantedNode, used| judge_used(node, used, &Wanted::only(Fabric::Verbs));
    let own = judge(&node(Some("10.77.0.1"), None), used(Some(gid(1, "10.77.0.1"))));
    assert_eq!(own, Finding::ok("RDMA of node 3", "rxe0 port 1, GID 1 (10.77.0.1): the node's own address"));
    let other = judge(&node(Some("10.1.1.1"), None), used(Some(gid(1, "10.77.0.1"))));
    assert_eq!(other.state, State::Note);
    assert!(other.found.contains("no GID is of the node's address 10.1.1.1"), "{other:?}");
    let chosen = judge(&node(Some("10.1.1.1"), Some(1)), used(Some(gid(1, "10.77.0.1"))));
    assert!(chosen.state == State::Ok && chosen.found.ends_with("which was chosen"), "{chosen:?}");
    let infiniband = judge(&node(Some("10.1.1.1"), None), used(None));
    assert_eq!(infiniband, Finding::ok("RDMA of node 3", "rxe0 port 1, LID 9"));
}

#[test]
fn what_cannot_be_used_is_in_the_way_of_verbs() {
    let state =
        |fabric| judge_used(&node(None, Some(99)), Err("no GID 99".into()), &Wanted::only(fabric)).state;
    assert_eq!(state(Fabric::Verbs), State::Problem);
    assert_eq!(state(Fabric::Tcp), State::Note);
}
