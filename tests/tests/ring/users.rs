//! Who may do what with a set.

use crate::attach;
use kddm_tests::Cluster;
use kdfs_client::SetOptions;
use std::{fs, os::unix::fs::PermissionsExt};

/// The tests are root; this runs themselves again as somebody else.
fn as_nobody(cluster: &Cluster, test: &str) {
    for folder in [cluster.directory().to_owned(), cluster.directory().join("run")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let own = cluster.directory().join("test");
    fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    let script = format!("'{}' --exact --ignored --nocapture users::{test}", own.display());
    let said = cluster.shell(&script).env("RING", &cluster.ring(1)).user(65534, 65534).succeeds();
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn a_set_is_its_owners_and_others_get_what_its_mode_says() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    for (name, mode) in [("private", 0o600), ("readable", 0o644), ("open", 0o666)] {
        let set = session.create_set(name, SetOptions { mode, ..SetOptions::new(8) }).unwrap();
        set.grab(0).unwrap()[0] = 7;
    }
    as_nobody(&cluster, "nobody_uses_sets");
    assert_eq!(session.open_set("open").unwrap().get(0).unwrap()[0], 8);
    let theirs = session.open_set("theirs").unwrap();
    theirs.grab(0).unwrap()[0] = 1;
    session.destroy_set("theirs").unwrap();
}

#[test]
#[ignore = "run by the test above, as another user"]
fn nobody_uses_sets() {
    use kdfs_client::{Refusal::Denied, Session};
    let session = Session::attach(std::env::var_os("RING").unwrap()).unwrap();
    assert_eq!(session.open_set("private").unwrap_err().refusal(), Some(Denied));
    let readable = session.open_set("readable").unwrap();
    assert_eq!(readable.get(0).unwrap()[0], 7);
    assert_eq!(readable.grab(0).unwrap_err().refusal(), Some(Denied));
    assert_eq!(readable.remove(0).unwrap_err().refusal(), Some(Denied));
    assert_eq!(session.destroy_set("open").unwrap_err().refusal(), Some(Denied));
    session.open_set("open").unwrap().grab(0).unwrap()[0] += 1;
    session.create_set("theirs", SetOptions::new(8)).unwrap();
    let sets = session.sets().unwrap();
    let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["open", "private", "readable", "theirs"]);
    assert_eq!((sets[3].uid, sets[1].uid, sets[1].mode), (65534, 0, 0o600));
}
