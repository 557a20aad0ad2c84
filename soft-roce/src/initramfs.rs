//! The initramfs: an archive in cpio's "newc" form with busybox, the modules and the guest's job. Made for each guest anew.

use crate::job::{self, Job};
use crate::kernel::Kernel;
use anyhow::{Context, Result};
use std::path::Path;

/// What a guest boots into.
const INIT: &str = include_str!("init.sh");

/// The archive for one guest.
///
/// # Errors
/// If a file that belongs into it cannot be read.
pub fn build(kernel: &Kernel, job: &Job, mtu: u16) -> Result<Vec<u8>> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    let program = std::env::current_exe().context("finding this program")?;
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "run", "new", "lower", "upper", "modules"] {
        archive.folder(folder);
    }
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", &read(&kernel.busybox)?);
    let mut order = String::new();
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), &read(module)?);
        order += &format!("{name}\n");
    }
    archive.file("modules/order", order.as_bytes());
    archive.file("address", format!("{}/24", job::address(job.rank)).as_bytes());
    archive.file("mtu", mtu.to_string().as_bytes());
    archive.file("program", program.as_os_str().as_encoded_bytes());
    archive.file("job", &serde_json::to_vec(job)?);
    Ok(archive.end())
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, 0o100_755, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("files of a guest are small");
        let name_size = u32::try_from(name.len() + 1).expect("names are short");
        // inode, mode, uid, gid, links, time, size, device twice, name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
