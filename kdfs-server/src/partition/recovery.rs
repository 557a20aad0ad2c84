//! After an unclean end: a look at every inode.
//!
//! The checkpoints keep metadata consistent by themselves; what can be left over is bytes that were written ahead of
//! a checkpoint that never came, and inodes that were waiting for their last close.

use super::device::{Device, Short};
use kddm_object::{ObjectKey, SetId};
use kdfs_format::bitmap::{BitmapPage, IDS_PER_PAGE, PAGES, page_of};
use kdfs_format::sets::{self, BITMAP_SET, bitmap_object};
use kdfs_format::{FileType, Inode, PAGE_SIZE, paths};
use std::collections::BTreeMap;
use std::io;

/// What a look at every inode found.
#[derive(Debug, Default)]
struct Findings {
    inodes: u64,
    damaged: u64,
    leftovers: u64,
    cut: u64,
    bits: u64,
    /// The ids that are taken, by page of the bitmap.
    taken: BTreeMap<u32, Vec<u32>>,
}

/// Looks at every inode, removes what is left over, and notes the orphans.
pub(crate) fn scan(device: &Device) -> io::Result<()> {
    let mut findings = Findings::default();
    let native = &device.native;
    for range in native.disk().list(native.root())? {
        let Some(first) = range.name.to_str().and_then(paths::parse_range) else { continue };
        for entry in native.disk().list(&native.root().join(&range.name))? {
            let local = entry.name.to_str().and_then(|name| name.parse::<u32>().ok());
            match local.filter(|&local| entry.directory && local / paths::RANGE * paths::RANGE == first) {
                Some(local) => look(device, local, &mut findings)?,
                None => {
                    tracing::warn!(range = ?range.name, name = ?entry.name, "not made by kDFS: left alone")
                }
            }
        }
    }
    mend_bitmap(device, &mut findings)?;
    let Findings { inodes, damaged, leftovers, cut, bits, .. } = findings;
    tracing::info!(inodes, damaged, leftovers, cut, bits, "recovery is done");
    Ok(())
}

fn look(device: &Device, local: u32, findings: &mut Findings) -> io::Result<()> {
    let native = &device.native;
    match native.read_meta(local) {
        Ok(None) => {
            // Bytes written ahead for a file whose creation was never committed.
            native.remove(local)?;
            findings.leftovers += 1;
            return Ok(());
        }
        Ok(Some(inode)) => {
            findings.inodes += 1;
            if inode.file_type() == FileType::Regular && native.cut_to(local, length(&inode))? {
                findings.cut += 1;
            }
            if inode.nlink.get() == 0 {
                device.note_orphan(inode.inode.get(), inode.generation.get());
            }
        }
        // It was logged. The id stays taken, so that nothing is written over what can still be saved.
        Err(_) => findings.damaged += 1,
    }
    findings.taken.entry(page_of(local)).or_default().push(local);
    Ok(())
}

/// The bytes of `.content` that count: what lies behind belongs to writes that were never committed.
fn length(inode: &Inode) -> u64 {
    inode.size.get().min(u64::from(inode.written_pages.get()) * PAGE_SIZE as u64)
}

/// Makes the bitmap say what is there.
fn mend_bitmap(device: &Device, findings: &mut Findings) -> io::Result<()> {
    let node = device.native.node();
    let mut bytes = [0; PAGE_SIZE];
    for page in 0..PAGES {
        let there = device.native.read_bitmap(page, &mut bytes)?;
        let taken = findings.taken.remove(&page).unwrap_or_default();
        if !there && taken.is_empty() {
            continue;
        }
        let object = bitmap_object(node, page);
        let key = ObjectKey::new(SetId(BITMAP_SET), object);
        let mut bytes = [0; PAGE_SIZE];
        device.insert(key, &mut bytes)?;
        let bitmap = BitmapPage::of_mut(&mut bytes, object).map_err(io::Error::other)?;
        let wrong = mend_page(bitmap, page, &taken);
        if wrong > 0 {
            findings.bits += wrong;
            device.sync(key, &bytes)?;
        }
    }
    device.seal(std::iter::empty(), &Short::new(), || true)?;
    device.commit(true)?;
    device.settle()?;
    device.native.make_all_durable()
}

/// How many bits were wrong.
fn mend_page(bitmap: &mut BitmapPage, page: u32, taken: &[u32]) -> u64 {
    let mut wrong = 0;
    let first = page * IDS_PER_PAGE;
    let mut should = vec![false; IDS_PER_PAGE as usize];
    taken.iter().for_each(|&local| should[(local - first) as usize] = true);
    for (local, &should) in (first..).zip(&should) {
        let is = bitmap.is_taken(local);
        if is && !should && local <= sets::MAX_LOCAL_ID {
            bitmap.release(local);
            wrong += 1;
        } else if should && !is {
            tracing::warn!(local, "an inode whose id was not marked as taken: now it is");
            bitmap.take(local);
            wrong += 1;
        }
    }
    wrong
}
