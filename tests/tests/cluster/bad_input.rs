//! Mistakes, damage and foreign things: each is told in words that say what, where, and what to do.

use kddm_tests::{ByHand, MOUNT_1, MOUNT_2, errno_of};
use nix::errno::Errno;
use std::fs;

/// All of `parts` are in `text`, whatever their case.
#[track_caller]
fn says(text: &str, parts: &[&str]) {
    let lower = text.to_lowercase();
    for part in parts {
        assert!(lower.contains(&part.to_lowercase()), "{part:?} is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_directory_that_is_no_partition() {
    let hand = ByHand::new();
    says(&hand.shell(MOUNT_1).fails(), &["p1", "not a kDFS partition", "mkfs.kdfs"]);
    fs::write(hand.path("p1/letter.txt"), "dear reader").unwrap();
    says(&hand.shell(MOUNT_1).fails(), &["not a kDFS partition"]);
    says(&hand.shell(r#""$MKFS" --node 1 "$P1" 1"#).fails(), &["p1", "not empty", "--force"]);
    fs::write(hand.path("p1/..."), "x".repeat(8192)).unwrap();
    says(&hand.shell(MOUNT_1).fails(), &["...", "superblock"]);
    assert_eq!(fs::read_to_string(hand.path("p1/letter.txt")).unwrap(), "dear reader");
    hand.shell(r#"mkdir "$P2/lost+found"; "$MKFS" --node 2 "$P2" 1"#).succeeds();
}

#[test]
fn a_damaged_superblock() {
    let hand = ByHand::new();
    hand.format();
    hand.damage(&hand.path("p1/..."), 50);
    says(&hand.shell(MOUNT_1).fails(), &["p1", "superblock", "checksum"]);
    // Another version of the format is told from damage.
    hand.damage(&hand.path("p1/..."), 50);
    hand.damage(&hand.path("p1/..."), 8);
    says(&hand.shell(MOUNT_1).fails(), &["superblock", "version"]);
    hand.damage(&hand.path("p1/..."), 8);
    hand.mount();
}

#[test]
fn a_damaged_inode_and_a_damaged_directory() {
    let hand = ByHand::new();
    hand.format();
    hand.mount();
    let one = hand.path("m1");
    fs::write(one.join("good"), "good").unwrap();
    fs::write(one.join("bad"), "bad").unwrap();
    fs::create_dir(one.join("broken")).unwrap();
    fs::write(one.join("broken/inside"), "").unwrap();
    let native = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        let local = fs::metadata(one.join(name)).unwrap().ino() & 0xff_ffff;
        hand.path(&format!("p1/{}-{}/{local}", local / 100 * 100, local / 100 * 100 + 99))
    };
    let [bad, broken] = [native("bad").join(".meta"), native("broken").join(".content")];
    hand.unmount();
    hand.damage(&bad, 60);
    hand.damage(&broken, 4096 + 40);
    hand.mount();
    for mount in ["m1", "m2"] {
        let mount = hand.path(mount);
        assert_eq!(fs::read_to_string(mount.join("good")).unwrap(), "good");
        assert_eq!(errno_of(fs::read(mount.join("bad"))), Errno::EIO);
        assert_eq!(errno_of(fs::metadata(mount.join("broken/inside"))), Errno::EIO);
        fs::write(mount.join("new"), "still works").unwrap();
    }
    let log = fs::read_to_string(hand.path("1.log")).unwrap();
    says(&log, &[".meta", "checksum"]);
}

#[test]
fn another_root_on_the_second_node() {
    let hand = ByHand::new();
    hand.shell(r#""$MKFS" --node 1 "$P1" 1; "$MKFS" --node 2 "$P2" 2"#).succeeds();
    hand.shell(MOUNT_1).succeeds();
    let said = hand.shell(MOUNT_2).fails();
    says(&said, &["root"]);
}

#[test]
fn two_servers_on_one_partition_and_two_nodes_with_one_id() {
    let hand = ByHand::new();
    hand.format();
    hand.mount();
    // The same partition under another cluster file, so with another socket.
    fs::create_dir(hand.path("other")).unwrap();
    hand.write_config("other/cluster.toml", "../key", &["127.0.0.1", "127.0.0.2"]);
    fs::create_dir(hand.path("m3")).unwrap();
    let again = r#""$MOUNT" "$P1" "$D/m3" -o config="$D/other/cluster.toml",log="$D/3.log""#;
    says(&hand.shell(again).fails(), &["p1", "another server", "stop"]);
    // Another partition of the same node.
    hand.shell(r#"mkdir "$D/p3"; "$MKFS" --node 1 "$D/p3" 1"#).succeeds();
    let twice = again.replace("$P1", "$D/p3");
    says(&hand.shell(&twice).fails(), &["127.0.0.1", "in use"]);
    // And in the cluster file.
    let text = fs::read_to_string(hand.path("cluster.toml")).unwrap();
    fs::write(hand.path("other/cluster.toml"), text.replace("127.0.0.2", "127.1.0.1")).unwrap();
    says(&hand.shell(&twice).fails(), &["both node 1", "cluster.toml"]);
    fs::write(hand.path("m1/file"), "unharmed").unwrap();
    assert_eq!(fs::read_to_string(hand.path("m2/file")).unwrap(), "unharmed");
}

#[test]
fn an_absent_peer_is_named() {
    let hand = ByHand::new();
    hand.format();
    hand.shell(MOUNT_1).succeeds();
    fs::write(hand.path("m1/file"), "alone").unwrap();
    let status = hand.shell(r#""$KDDM" status --config "$C" || true"#).succeeds();
    says(&status, &["alone", "127.0.0.2", "misses node 2"]);
    // The second node without the first has no root: it says so, in time.
    hand.unmount();
    says(&hand.shell(MOUNT_2).fails(), &["root", "node 1"]);
}

#[test]
fn a_wrong_key_gets_nowhere_and_harms_nobody() {
    let hand = ByHand::new();
    hand.format();
    hand.shell(MOUNT_1).succeeds();
    hand.shell(r#""$KDDM" key new "$D/other-key""#).succeeds();
    hand.write_config("other/cluster.toml", "../other-key", &["127.0.0.1", "127.0.0.2"]);
    let said = hand.shell(r#""$MOUNT" "$P2" "$M2" -o config="$D/other/cluster.toml",log="$D/2.log""#).fails();
    says(&said, &["key"]);
    fs::write(hand.path("m1/file"), "unharmed").unwrap();
    // A key that others can read is no key.
    hand.shell(r#"chmod 644 "$D/other-key""#).succeeds();
    let said = hand.shell(r#""$MOUNT" "$P2" "$M2" -o config="$D/other/cluster.toml",log="$D/2.log""#).fails();
    says(&said, &["other-key", "chmod 600"]);
    says(&hand.shell(r#""$KDDM" key new "$D/key""#).fails(), &["key", "exists"]);
}

#[test]
fn wrong_options_and_mount_points() {
    let hand = ByHand::new();
    hand.format();
    says(
        &hand.shell(r#""$MOUNT" "$P1" "$D/nowhere" -o config="$C",log="$D/1.log""#).fails(),
        &["nowhere", "directory"],
    );
    says(
        &hand.shell(r#""$MOUNT" "$P1" "$M1" -o config="$C",colour=red"#).fails(),
        &["colour=red", "not known"],
    );
    says(&hand.shell(r#""$MOUNT" "$P1" "$M1" -o config="$D/no.toml""#).fails(), &["no.toml"]);
    says(&hand.shell(r#""$MOUNT" "$P1" "$M1" -o config="$C",node=2"#).fails(), &["partition of node 1"]);
    says(&hand.shell(r#""$KDDM" playground up --nodes 0 --dir "$D/x""#).fails(), &["1 to 254"]);
    fs::create_dir(hand.path("foreign")).unwrap();
    fs::write(hand.path("foreign/letter.txt"), "dear reader").unwrap();
    let said = hand.shell(r#""$KDDM" playground up --nodes 2 --dir "$D/foreign""#).fails();
    says(&said, &["foreign", "letter.txt", "empty"]);
    says(&hand.shell(r#""$KDDM" status --dir "$D/nothing""#).fails(), &["no playground"]);
    says(&hand.shell(r#""$MKFS" "$P1" 255"#).fails(), &["1 to 254"]);
}

/// What mount(8), findmnt and umount(8) see. Needs the helper's link in /sbin, which `make setup` puts there.
#[test]
fn mount_and_findmnt_know_the_type() {
    let hand = ByHand::new();
    hand.format();
    let kind = hand
        .shell(
            r#"
        if [ -x /sbin/mount.kdfs ]; then mount -t kdfs "$P1" "$M1" -o config="$C",log="$D/1.log"; else
            "$MOUNT" "$P1" "$M1" -o config="$C",log="$D/1.log"; fi
        findmnt -n -o FSTYPE,SOURCE "$M1"; touch "$M1/x"; umount "$M1"; ls "$M1""#,
        )
        .succeeds();
    assert_eq!(kind, format!("fuse.kdfs {}", hand.path("p1").canonicalize().unwrap().display()));
    // An error of the helper reaches the caller of mount.
    let said = hand
        .shell(
            r#"rm "$P1/..."; if [ -x /sbin/mount.kdfs ]; then mount -t kdfs "$P1" "$M1" -o config="$C"; else
        "$MOUNT" "$P1" "$M1" -o config="$C"; fi"#,
        )
        .fails();
    says(&said, &["not a kDFS partition"]);
}
