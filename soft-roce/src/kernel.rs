//! The guests' kernel: Debian's own package, fetched by apt-get and unpacked beside the built programs, never installed.

use crate::programs::{find, said};
use crate::report::say;
use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's name for "the current full kernel", which has rdma_rxe; the cloud kernel has not.
const META_PACKAGE: &str = "linux-image-amd64";

/// What the guests load, with all that it depends on. rxe asks for crc32 by name at run time, so no dependency names it.
const MODULES: [&str; 10] = [
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "9pnet_virtio",
    "9p",
    "overlay",
    "fuse",
    "crc32_generic",
    "rdma_ucm",
    "rdma_rxe",
];

/// What a guest is booted from.
#[derive(Debug)]
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// Its modules, in the order in which they are to be loaded.
    pub modules: Vec<PathBuf>,
    /// A static busybox.
    pub busybox: PathBuf,
}

impl Kernel {
    /// The kernel in `cache`, or the one that apt-get fetches.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn obtain(cache: &Path) -> Result<Kernel> {
        let folder = match newest(cache)? {
            Some(folder) => folder,
            None => fetch(cache)?,
        };
        let order = folder.join("order");
        let order = fs::read_to_string(&order).with_context(|| format!("reading {}", order.display()))?;
        Ok(Kernel {
            image: folder.join("vmlinux"),
            modules: order.lines().map(|name| folder.join(name)).collect(),
            busybox: static_busybox()?,
        })
    }
}

/// There is nothing in the initramfs that a dynamic one could be linked to.
fn static_busybox() -> Result<PathBuf> {
    let path = find("busybox").context("there is no busybox")?;
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    // The name of the loader stands right after an ELF file's headers.
    let dynamic = bytes[..bytes.len().min(4096)].windows(9).any(|part| part == b"/ld-linux");
    ensure!(!dynamic, "{} is not static; as root: apt-get install busybox-static", path.display());
    Ok(path)
}

fn newest(cache: &Path) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(cache).with_context(|| format!("reading {}", cache.display()))?;
    let kernel = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linux-image-"))
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(kernel).max())
}

fn fetch(cache: &Path) -> Result<PathBuf> {
    // One run fetches, the others find it done.
    let lock = fs::File::create(cache.join("lock"))?;
    let _turn = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    if let Some(folder) = newest(cache)? {
        return Ok(folder);
    }
    let work = tempfile::tempdir_in(cache)?;
    let package = match download(work.path()) {
        // The lists of packages may be missing, or older than the archive.
        Err(_) if nix::unistd::geteuid().is_root() => {
            said(Command::new("apt-get").args(["-qq", "update"])).and_then(|_| download(work.path()))
        }
        done => done,
    };
    let package = package.context(
        "the guests' kernel cannot be downloaded; is Debian's archive reachable, and `apt-get update` done?",
    )?;
    let version = package.trim_start_matches("linux-image-");
    let tree = work.path().join("tree");
    said(Command::new("dpkg-deb").arg("-x").arg(work.path().join("kernel.deb")).arg(&tree))?;
    let folder = work.path().join("kernel");
    fs::create_dir(&folder)?;
    extract_image(&tree.join(format!("boot/vmlinuz-{version}")), &folder.join("vmlinux"))?;
    extract_modules(&tree, version, &folder)?;
    let place = cache.join(&package);
    fs::rename(&folder, &place).with_context(|| format!("moving the kernel to {}", place.display()))?;
    Ok(place)
}

/// Gets the kernel's package as `kernel.deb`; its name.
fn download(folder: &Path) -> Result<String> {
    let depends = said(Command::new("apt-cache").args(["depends", META_PACKAGE]))?;
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let package = names.find(|name| name.starts_with("linux-image-"));
    let package = package.with_context(|| format!("apt knows no {META_PACKAGE}; it is Debian's"))?;
    say(&format!("soft-roce: fetching {package}"));
    said(Command::new("apt-get").args(["-qq", "download", package]).current_dir(folder))?;
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let deb = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    fs::rename(deb.context("apt-get downloaded nothing")?, folder.join("kernel.deb"))?;
    Ok(package.to_owned())
}

/// The kernel without its wrapping, which under emulation takes seconds to unwrap: the ELF file that qemu can start too.
fn extract_image(wrapped: &Path, image: &Path) -> Result<()> {
    let bytes = fs::read(wrapped).with_context(|| format!("reading {}", wrapped.display()))?;
    // Linux x86 boot protocol, 2.08: setup_sects, payload_offset, payload_length.
    let word = |at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    let find = || -> Option<&[u8]> {
        let begin = (usize::from(*bytes.get(0x1f1)?) + 1) * 512 + word(0x248)?;
        bytes.get(begin..begin + word(0x24c)?)
    };
    let payload = find().context("the kernel is no bzImage")?;
    ensure!(payload.starts_with(b"\xfd7zXZ"), "{} is not packed by xz", wrapped.display());
    let packed = image.with_extension("xz");
    fs::write(&packed, payload)?;
    let status = Command::new("xz")
        .args(["-dc", "--single-stream"])
        .stdin(fs::File::open(&packed)?)
        .stdout(fs::File::create(image)?)
        .status()
        .context("running xz (package xz-utils)")?;
    ensure!(status.success(), "xz could not unpack {}", wrapped.display());
    Ok(fs::remove_file(&packed)?)
}

/// Copies the modules that the guests need, and writes down the order of loading.
fn extract_modules(tree: &Path, version: &str, folder: &Path) -> Result<()> {
    let depmod = find("depmod").context("there is no depmod")?;
    said(Command::new(depmod).arg("-b").arg(tree).arg(version))?;
    let library = tree.join("lib/modules").join(version);
    let dependencies = fs::read_to_string(library.join("modules.dep")).context("reading modules.dep")?;
    let mut order: Vec<&str> = Vec::new();
    for module in MODULES {
        for path in with_dependencies(&dependencies, module)? {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    let mut names = String::new();
    for path in order {
        let name = path.rsplit('/').next().unwrap_or_default();
        let target = folder.join(name.trim_end_matches(".xz"));
        fs::copy(library.join(path), folder.join(name))?;
        if name.ends_with(".xz") {
            said(Command::new("xz").arg("-d").arg(folder.join(name)))?;
        }
        names += &format!("{}\n", target.file_name().unwrap_or_default().to_string_lossy());
    }
    Ok(fs::write(folder.join("order"), names)?)
}

/// A module after all that it depends on, by modules.dep, whose lines name what is to be loaded first last.
fn with_dependencies<'a>(dependencies: &'a str, module: &str) -> Result<Vec<&'a str>> {
    for line in dependencies.lines() {
        let Some((path, needs)) = line.split_once(':') else { continue };
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.split('.').next() == Some(module) {
            let mut order: Vec<&str> = needs.split_whitespace().collect();
            order.reverse();
            order.push(path);
            return Ok(order);
        }
    }
    bail!("the kernel has no module {module}; is it {META_PACKAGE}'s?")
}

#[cfg(test)]
mod tests {
    use super::with_dependencies;

    #[test]
    fn a_module_comes_after_what_it_needs() {
        let text = "k/a.ko:\nk/rdma_rxe.ko: k/b.ko k/a.ko\nk/b.ko.xz: k/a.ko\n";
        assert_eq!(
            with_dependencies(text, "rdma_rxe").expect("it is there"),
            ["k/a.ko", "k/b.ko", "k/rdma_rxe.ko"]
        );
        assert_eq!(with_dependencies(text, "b").expect("it is there"), ["k/a.ko", "k/b.ko.xz"]);
        let error = with_dependencies(text, "c").expect_err("it is not there");
        assert!(error.to_string().contains("no module c"), "{error}");
    }
}
