//! Compares two trees: names, kinds, bytes, modes, owners, modification times, link counts and targets.

use crate::progress::Progress;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Differences that are described; comparing stops there.
const MOST: usize = 20;

/// What differs between `left` and `right`, in words; nothing if they are the same. `files` is only for the
/// progress bar.
///
/// # Errors
/// If something cannot be read.
pub fn compare(left: &Path, right: &Path, files: u64) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let mut progress = Progress::new("comparing", files);
    entry(left, right, &mut differences, &mut progress)?;
    Ok(differences)
}

fn entry(left: &Path, right: &Path, differences: &mut Vec<String>, progress: &mut Progress) -> Result<()> {
    if differences.len() >= MOST {
        return Ok(());
    }
    let a = fs::symlink_metadata(left).with_context(|| format!("reading {}", left.display()))?;
    let b = fs::symlink_metadata(right).with_context(|| format!("reading {}", right.display()))?;
    let mut say = |what: String| differences.push(format!("{}: {what}", right.display()));
    if let Some(what) = differing_attributes(&a, &b) {
        say(what);
    }
    if a.file_type() != b.file_type() {
        return Ok(());
    }
    if a.is_dir() {
        let [a, b] = [names(left)?, names(right)?];
        a.difference(&b).for_each(|name| say(format!("{name:?} is missing")));
        b.difference(&a).for_each(|name| say(format!("{name:?} is too much")));
        for name in a.intersection(&b) {
            entry(&left.join(name), &right.join(name), differences, progress)?;
        }
        return Ok(());
    }
    progress.step();
    if a.is_symlink() {
        if fs::read_link(left)? != fs::read_link(right)? {
            say("another target".into());
        }
    } else if let Some(at) = differing_byte(left, right)? {
        say(format!("different from byte {at}"));
    }
    Ok(())
}

fn names(folder: &Path) -> Result<BTreeSet<OsString>> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry.with_context(|| format!("listing {}", folder.display()))?.file_name();
        anyhow::ensure!(names.insert(name.clone()), "{} lists {name:?} twice", folder.display());
    }
    Ok(names)
}

fn differing_attributes(a: &Metadata, b: &Metadata) -> Option<String> {
    let links = |metadata: &Metadata| if metadata.is_dir() { 0 } else { metadata.nlink() };
    let size = |metadata: &Metadata| if metadata.is_dir() { 0 } else { metadata.size() };
    let pairs = [
        ("kind and mode", u64::from(a.mode()), u64::from(b.mode())),
        ("size", size(a), size(b)),
        ("owner", u64::from(a.uid()), u64::from(b.uid())),
        ("group", u64::from(a.gid()), u64::from(b.gid())),
        ("link count", links(a), links(b)),
        ("mtime", a.mtime() as u64, b.mtime() as u64),
        ("mtime's nanoseconds", a.mtime_nsec() as u64, b.mtime_nsec() as u64),
    ];
    let (what, a, b) = pairs.into_iter().find(|(_, a, b)| a != b)?;
    Some(if what == "kind and mode" {
        format!("{what} {b:o} instead of {a:o}")
    } else {
        format!("{what} {b} instead of {a}")
    })
}

fn differing_byte(left: &Path, right: &Path) -> Result<Option<usize>> {
    let read = |path: &Path| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let result: io::Result<usize> = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        result.with_context(|| format!("reading {}", path.display()))?;
        Ok(bytes)
    };
    let [a, b] = [read(left)?, read(right)?];
    if a == b {
        return Ok(None);
    }
    Ok(Some(a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{copy, stage};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_copy_is_the_same_and_every_kind_of_difference_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::create_dir_all(source.join("inner")).unwrap();
        for at in 0..40 {
            fs::write(source.join("inner").join(format!("f{at}")), format!("contents {at}")).unwrap();
        }
        let tree = stage(Some(&source), &directory.path().join("tree"), 40, 0).unwrap();
        let copied = directory.path().join("copy");
        copy(&tree.path, &copied, tree.files).unwrap();
        let check = || compare(&tree.path, &copied, tree.files).unwrap();
        assert_eq!(check(), Vec::<String>::new());

        let victim = copied.join("inner/f7");
        let original = fs::metadata(tree.path.join("inner/f7")).unwrap();
        fs::write(&victim, "contents X").unwrap();
        File::options()
            .write(true)
            .open(&victim)
            .unwrap()
            .set_modified(original.modified().unwrap())
            .unwrap();
        assert!(check()[0].ends_with("different from byte 9"), "{:?}", check());
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o4640)).unwrap();
        assert!(check()[0].contains("kind and mode"), "{:?}", check());
        fs::remove_file(&victim).unwrap();
        assert!(
            check()[1].ends_with("f7\" is missing") || check()[0].ends_with("f7\" is missing"),
            "{:?}",
            check()
        );
    }
}
