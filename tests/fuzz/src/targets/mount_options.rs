//! What `mount -o` says (`kdfs_client::mount_options`).

use super::{Target, numbered};
use crate::bound::bounded;
use kdfs_client::mount_options::{MountOptions, inode};
use kdfs_format::sets;
use nix::mount::MsFlags;

pub(super) const TARGET: Target =
    Target { name: "mount-options", what: "the options of mount -o", check, seeds, longest: 1024 };

/// The flags that options can set.
const FLAGS: MsFlags = MsFlags::MS_RDONLY
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC)
    .union(MsFlags::MS_NOATIME)
    .union(MsFlags::MS_NODIRATIME);

fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(number) = inode(text) {
        can_be(number);
    }
    // Paths are copied, an error quotes the word and remembers where it was made.
    let parsed = bounded(8 * input.len() + (32 << 10), || {
        let mut options = MountOptions::default();
        options.add(text).map(|()| options)
    });
    let Ok(options) = parsed else { return };
    keeps_the_rules(&options);
    let mut again = MountOptions::default();
    again.add(&written(&options)).expect("what is written is read");
    assert_eq!(again, options, "{text:?} is {:?} when written", written(&options));
}

fn keeps_the_rules(options: &MountOptions) {
    options.root.into_iter().for_each(can_be);
    assert!(options.node.is_none_or(|node| (1..=254).contains(&node)), "node {:?}", options.node);
    assert!(FLAGS.contains(options.flags.0), "flags {:?}", options.flags);
    for path in [&options.config, &options.socket, &options.log].into_iter().flatten() {
        assert!(!path.as_os_str().is_empty(), "a file without a name");
    }
}

fn can_be(number: u32) {
    let parts = sets::inode_number(sets::node_of(number), sets::local_of(number));
    assert_eq!(parts, Some(number), "{number:#x} is the number of no inode");
}

fn written(options: &MountOptions) -> String {
    let path = |name: &str, path: &Option<std::path::PathBuf>| {
        path.as_ref().map(|path| format!("{name}={}", path.to_string_lossy()))
    };
    let flags = [
        (MsFlags::MS_RDONLY, "ro"),
        (MsFlags::MS_NOSUID, "nosuid"),
        (MsFlags::MS_NODEV, "nodev"),
        (MsFlags::MS_NOEXEC, "noexec"),
        (MsFlags::MS_NOATIME, "noatime"),
        (MsFlags::MS_NODIRATIME, "nodiratime"),
    ];
    let flags = flags.into_iter().filter(|(flag, _)| options.flags.0.contains(*flag));
    let mut words: Vec<String> = flags.map(|(_, word)| word.to_owned()).collect();
    words.extend(options.root.map(|root| format!("root={root:#x}")));
    words.extend(options.node.map(|node| format!("node={node}")));
    words.extend(path("config", &options.config));
    words.extend(path("socket", &options.socket));
    words.extend(path("log", &options.log));
    words.join(",")
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let texts = [
        "rw,nosuid,root=1:1,node=2",
        "config=/etc/kdfs/cluster.toml,suid,noatime,x-systemd.automount",
        "root=0x1000001,socket=/run/kdfs/1.sock,log=/var/log/kdfs/1.log",
        "root=16777217,ro,nodev,noexec,nodiratime",
        "defaults,auto,noauto,nofail,_netdev,user,users,nouser,owner,group,async,comment=x,helper=kdfs",
        "dev,exec,relatime,atime,diratime,default_permissions,allow_other,user=root,uhelper=x",
        "254:16777215",
        "0x1000001",
    ];
    numbered("options", texts.map(|text| text.as_bytes().to_vec()))
}
