//! A look at the native partitions: a superblock, an inode, a page of contents, as bytes and in words.

use anyhow::{Context, Result, ensure};
use kdfs_format::{PAGE_SIZE, UnverifiedInode, UnverifiedSuperblock, paths, sets};
use std::fmt::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// The superblock of `partition`, decoded.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn superblock(partition: &Path) -> Result<String> {
    let path = partition.join(paths::SUPERBLOCK);
    let page = first_bytes(&path, PAGE_SIZE)?;
    let superblock = UnverifiedSuperblock::parse(&page).and_then(UnverifiedSuperblock::verify);
    let superblock = superblock.with_context(|| path.display().to_string())?;
    let mut text = format!("{}\n", path.display());
    dump(&mut text, &page[..96]);
    writeln!(
        text,
        "  node {}, root inode {:#010x}, mounted {} times, {} checkpoints, {}",
        superblock.node,
        superblock.root.get(),
        superblock.mounts.get(),
        superblock.checkpoint.get(),
        if superblock.is_clean() { "clean" } else { "in use" }
    )?;
    Ok(text)
}

/// The `.meta` and the first bytes of `.content` of what `path` (below a mount) is, found in `partition`. The
/// contents must be the same as seen through the mount.
///
/// # Errors
/// If it does not lie there, is damaged, or shows other bytes.
pub fn entry(partition: &Path, path: &Path) -> Result<String> {
    let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let number = u32::try_from(metadata.ino()).context("an inode number of more than 32 bits")?;
    let local = sets::local_of(number);
    let meta = partition.join(paths::meta(local));
    let bytes = first_bytes(&meta, kdfs_format::INODE_SIZE)?;
    let inode = UnverifiedInode::parse(&bytes).and_then(|inode| inode.verify(number));
    let inode = inode.with_context(|| meta.display().to_string())?;
    let mut text = format!("{} (shown as {})\n", meta.display(), path.display());
    dump(&mut text, &bytes[..128]);
    writeln!(
        text,
        "  inode {number:#010x} = node {}, local id {local}; mode {:o}, {} link(s), {} bytes",
        sets::node_of(number),
        inode.mode.get(),
        inode.nlink.get(),
        inode.size.get()
    )?;
    ensure!(inode.mode.get() == metadata.mode(), "the mode on disk is not the one that stat shows");
    let content = partition.join(paths::content(local));
    writeln!(text, "{}", content.display())?;
    if metadata.is_dir() {
        // Page 1 is the first of a directory.
        let page = page_at(&content, PAGE_SIZE as u64)?;
        dump(&mut text, &page[..96]);
        writeln!(text, "  the first page of a directory with {} entries", inode.entries.get())?;
    } else {
        ensure!(inode.size.get() == metadata.len(), "the size on disk is not the one that stat shows");
        let native = std::fs::read(&content).with_context(|| content.display().to_string())?;
        let shown = std::fs::read(path).with_context(|| path.display().to_string())?;
        // Whole pages: behind the end of the file there are zeros.
        let same = native.starts_with(&shown) && native[shown.len()..].iter().all(|&byte| byte == 0);
        ensure!(same, "{} differs from {}", content.display(), path.display());
        dump(&mut text, &shown[..shown.len().min(96)]);
        writeln!(text, "  the same {} bytes as through the mount", shown.len())?;
    }
    Ok(text)
}

fn first_bytes(path: &Path, count: usize) -> Result<Vec<u8>> {
    let mut bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    ensure!(bytes.len() >= count, "{} has only {} bytes", path.display(), bytes.len());
    bytes.truncate(count);
    Ok(bytes)
}

fn page_at(path: &Path, offset: u64) -> Result<[u8; PAGE_SIZE]> {
    let mut page = [0; PAGE_SIZE];
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    file.read_exact_at(&mut page, offset).with_context(|| format!("{} at {offset}", path.display()))?;
    Ok(page)
}

/// Sixteen bytes a line, as `hexdump -C` prints them.
fn dump(text: &mut String, bytes: &[u8]) {
    for (at, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = line.iter().map(|&byte| if (32..127).contains(&byte) { byte as char } else { '.' });
        let _ = writeln!(text, "  {:04x}  {:47}  {}", at * 16, hex.join(" "), shown.collect::<String>());
    }
}
