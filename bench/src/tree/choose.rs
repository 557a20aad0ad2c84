//! Which tree: the sources of our own dependencies are on every machine that has built us.

use crate::progress::Progress;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A tree of files that is ready to be copied.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Its top directory.
    pub path: PathBuf,
    /// Regular files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Makes a tree of real source files in `into`, which must not exist: `files` of them, and then the largest
/// others until there are `bytes` bytes, of the first source that has enough (`from` if given, the cargo
/// registry's sources, /usr/include, /usr/share), and a corner of our own with everything that source trees
/// seldom have.
///
/// # Errors
/// If no source has at least a quarter of that many files, or copying fails.
pub fn stage(from: Option<&Path>, into: &Path, files: usize, bytes: u64) -> Result<Tree> {
    let sources = from.map_or_else(usual_sources, |from| vec![from.to_owned()]);
    let mut best: Vec<PathBuf> = Vec::new();
    let mut base = PathBuf::new();
    for source in sources {
        if best.len() >= files {
            break;
        }
        let chosen = choose(all_files(&source), files, bytes);
        if chosen.len() > best.len() {
            (best, base) = (chosen, source);
        }
    }
    ensure!(
        best.len() >= files / 4,
        "no tree of {files} files found ({} in {}): name one with --source DIR",
        best.len(),
        base.display()
    );
    let mut tree = Tree { path: into.to_owned(), files: 0, bytes: 0 };
    let mut progress = Progress::new("staging the tree", best.len() as u64);
    fs::create_dir(into).with_context(|| format!("creating {}", into.display()))?;
    for path in &best {
        let target = into.join(path.strip_prefix(&base)?);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        tree.bytes += fs::copy(path, &target).with_context(|| format!("copying {}", path.display()))?;
        tree.files += 1;
        progress.step();
    }
    corner(&into.join("corner"), &mut tree)?;
    Ok(tree)
}

fn usual_sources() -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut sources: Vec<PathBuf> = cargo.map(|cargo| cargo.join("registry/src")).into_iter().collect();
    sources.extend(["/usr/include", "/usr/share/doc", "/usr/share"].map(PathBuf::from));
    sources
}

/// The regular files below `top` with their sizes, in the order of their names; what cannot be read is passed
/// over, and a giant tree is not walked to its end.
fn all_files(top: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
        for entry in entries {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.is_file() => files.push((entry.path(), metadata.len())),
                _ => {}
            }
        }
        if files.len() > 50_000 {
            break;
        }
    }
    files
}

/// The first `count` files, and then the largest others until there are `bytes` bytes.
fn choose(mut files: Vec<(PathBuf, u64)>, count: usize, bytes: u64) -> Vec<PathBuf> {
    let mut others = files.split_off(count.min(files.len()));
    others.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut chosen_bytes: u64 = files.iter().map(|(_, size)| size).sum();
    for other in others {
        if chosen_bytes >= bytes {
            break;
        }
        chosen_bytes += other.1;
        files.push(other);
    }
    files.into_iter().map(|(path, _)| path).collect()
}

/// Links, odd names, modes, sizes at page borders, holes, empty and deep directories.
fn corner(top: &Path, tree: &mut Tree) -> Result<()> {
    fs::create_dir(top)?;
    for size in [0usize, 1, 4095, 4096, 4097, 12_288, 3_000_001] {
        let bytes = crate::random::Random::new(size as u64).bytes(size);
        fs::write(top.join(format!("size-{size}")), bytes)?;
        tree.files += 1;
        tree.bytes += size as u64;
    }
    let sparse = fs::File::create(top.join("sparse"))?;
    sparse.set_len(1 << 20)?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 500_000)?;
    for (name, mode) in [("executable", 0o755), ("private", 0o600), ("read-only", 0o444)] {
        fs::write(top.join(name), name)?;
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode))?;
    }
    fs::write(top.join("ein Name mit Leerzeichen, Ümläuten und 'Zeichen'"), "x")?;
    fs::write(top.join("n".repeat(255)), "the longest name")?;
    fs::hard_link(top.join("executable"), top.join("another-link"))?;
    symlink("size-4096", top.join("symlink"))?;
    symlink("../nowhere", top.join("dangling"))?;
    symlink("d".repeat(1000), top.join("long-symlink"))?;
    fs::create_dir(top.join("empty"))?;
    fs::set_permissions(top.join("empty"), fs::Permissions::from_mode(0o2750))?;
    let deep: PathBuf = (0..20).map(|level| format!("level-{level}")).collect();
    fs::create_dir_all(top.join(&deep))?;
    fs::write(top.join(deep).join("bottom"), "deep")?;
    tree.files += 8;
    tree.bytes += 1 << 20;
    Ok(())
}
