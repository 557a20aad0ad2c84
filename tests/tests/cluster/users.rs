//! Ordinary users: what one may not do on one node, nobody lets him do on another.

use kddm_tests::Cluster;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

/// Two users; the numbers need no names.
const ALICE: (u32, u32) = (20_001, 20_001);
const BOB: (u32, u32) = (20_002, 20_002);

fn shared_directory(cluster: &Cluster, name: &str, mode: u32) {
    let path = cluster.at(1, name);
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    // The temporary directory above the mounts is private; users have to pass it.
    for folder in
        cluster.at(1, "").ancestors().skip(1).take_while(|folder| folder.starts_with(cluster.directory()))
    {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(cluster.at(2, "").parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_is_its_owners_on_every_node() {
    let cluster = Cluster::up(2);
    shared_directory(&cluster, "open", 0o777);
    cluster
        .shell(r#"umask 077; echo mine >"$N1/open/private"; umask 022; echo all >"$N1/open/public""#)
        .user(ALICE.0, ALICE.1)
        .succeeds();
    let metadata = fs::metadata(cluster.at(2, "open/private")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (ALICE.0, ALICE.1, 0o600));
    let as_bob = |script: &str| cluster.shell(script).user(BOB.0, BOB.1);
    assert!(as_bob(r#"cat "$N2/open/private""#).fails().contains("Permission denied"));
    assert_eq!(as_bob(r#"cat "$N2/open/public""#).succeeds(), "all");
    assert!(as_bob(r#"echo x >>"$N2/open/public""#).fails().contains("ermission denied"));
    assert!(as_bob(r#"chmod 666 "$N2/open/public""#).fails().contains("not permitted"));
    assert!(as_bob(r#"chown 20002 "$N2/open/public""#).fails().contains("not permitted"));
    as_bob(r#"touch -d 2001-01-01 "$N2/open/public""#).fails();
    // What the owner allows on one node holds at once on the other.
    cluster.shell(r#"chmod 646 "$N1/open/public""#).user(ALICE.0, ALICE.1).succeeds();
    as_bob(r#"echo bob >>"$N2/open/public""#).succeeds();
    assert_eq!(fs::read_to_string(cluster.at(1, "open/public")).unwrap(), "all\nbob\n");
}

#[test]
fn groups_count_also_the_further_ones() {
    let cluster = Cluster::up(2);
    shared_directory(&cluster, "team", 0o770);
    chown(cluster.at(1, "team"), Some(0), Some(30_000)).unwrap();
    let enter = r#"setpriv --reuid 20001 --regid 20001 --groups GROUPS sh -ec 'echo x >"$N2/team/file"; cat "$N1/team/file"'"#;
    cluster.shell(&enter.replace("GROUPS", "30001")).fails();
    assert_eq!(cluster.shell(&enter.replace("GROUPS", "30001,30000")).succeeds(), "x");
}

#[test]
fn sticky_directories_protect_and_setgid_ones_hand_down() {
    let cluster = Cluster::up(2);
    shared_directory(&cluster, "sticky", 0o1777);
    cluster.shell(r#"echo a >"$N1/sticky/a""#).user(ALICE.0, ALICE.1).succeeds();
    let as_bob = |script: &str| cluster.shell(script).user(BOB.0, BOB.1);
    assert!(as_bob(r#"rm -f "$N2/sticky/a""#).fails().contains("not permitted"));
    assert!(as_bob(r#"mv "$N2/sticky/a" "$N2/sticky/b""#).fails().contains("not permitted"));
    cluster.shell(r#"rm "$N2/sticky/a""#).user(ALICE.0, ALICE.1).succeeds();

    shared_directory(&cluster, "setgid", 0o2777);
    chown(cluster.at(1, "setgid"), None, Some(30_000)).unwrap();
    fs::set_permissions(cluster.at(1, "setgid"), fs::Permissions::from_mode(0o2777)).unwrap();
    cluster
        .shell(r#"umask 022; mkdir "$N2/setgid/inner"; echo x >"$N2/setgid/inner/file""#)
        .user(ALICE.0, ALICE.1)
        .succeeds();
    let inner = fs::metadata(cluster.at(1, "setgid/inner")).unwrap();
    assert_eq!((inner.gid(), inner.mode() & 0o7777), (30_000, 0o2755));
    assert_eq!(fs::metadata(cluster.at(1, "setgid/inner/file")).unwrap().gid(), 30_000);
}

/// A write or a change of owner by an ordinary user takes set-id bits away.
#[test]
fn set_id_bits_go_when_the_bytes_change() {
    let cluster = Cluster::up(2);
    shared_directory(&cluster, "open", 0o777);
    cluster
        .shell(r#"umask 0; echo x >"$N1/open/program"; chmod 6777 "$N1/open/program""#)
        .user(ALICE.0, ALICE.1)
        .succeeds();
    cluster.shell(r#"echo y >>"$N2/open/program""#).user(BOB.0, BOB.1).succeeds();
    let mode = fs::metadata(cluster.at(1, "open/program")).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o777, "{mode:o}");
}
