//! The corpus: a folder for each target, a file for each input.

use crate::Target;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The inputs of `target` that lie in the tree.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Every input of `target`, with its file's name, in the order of names.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn read(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Writes the seeds of `target` to its folder; says how many there are. Other files stay.
///
/// # Errors
/// The folder cannot be written.
pub fn write_seeds(target: &Target) -> io::Result<usize> {
    let (folder, seeds) = (folder(target), (target.seeds)());
    fs::create_dir_all(&folder)?;
    for (name, bytes) in &seeds {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(seeds.len())
}
