//! Latencies of file-system calls on the nodes' mounts, beside the same call on a native directory.
//!
//! Every case runs in short blocks that alternate between the places (native, n1, n2, …), so that what the
//! machine does meanwhile falls on all alike.

mod calls;

use crate::progress::Progress;
use crate::report::{Case, Latencies};
use anyhow::{Context, Result, ensure};
use calls::{Call, Place};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to measure, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// A native directory, usually on the file system that the partitions are on.
    pub native: PathBuf,
    /// The mounts, with the names of their nodes.
    pub nodes: Vec<(String, PathBuf)>,
    /// The fabric between them.
    pub fabric: String,
    /// Calls of each kind at each place; the expensive kinds are called less often.
    pub count: u32,
}

/// Measures everything and gives back the rows.
///
/// # Errors
/// If a call failed.
pub fn run(options: &Options) -> Result<Vec<Case>> {
    ensure!(!options.nodes.is_empty(), "name at least one mount");
    let mut places = vec![Place::new("native", &options.native)?];
    for (name, mount) in &options.nodes {
        places.push(Place::new(name, mount)?);
    }
    let mut cases = Vec::new();
    let mut progress = Progress::new("file-system calls", (Call::ALL.len() + 1) as u64);
    for call in Call::ALL {
        let measured = alternating(call, &places, options.count)?;
        let (floor, ours) = measured.split_first().context("the native place is always there")?;
        for (latencies, place) in ours.iter().zip(&places[1..]) {
            let case = Case::new(call.name(), latencies).on(&place.name).beside("native", floor);
            cases.push(Case { fabric: Some(options.fabric.clone()), ..with_bytes(case, call) });
        }
        progress.step();
    }
    if let [_, first, second, ..] = &places[..] {
        for (writer, reader) in [(first, second), (second, first)] {
            let latencies = written_there_read_here(writer, reader, options.count)?;
            let name = format!("open+read 4 KiB just written on {}", writer.name);
            let case = Case::new(name, &latencies).on(&reader.name).moving(4096);
            cases.push(Case { fabric: Some(options.fabric.clone()), ..case });
        }
        for (writer, reader) in [(first, second), (second, first)] {
            for (name, what) in [("steady", "stat"), ("absent", "stat of no file")] {
                let (changed, quiet) = looked_up_beside_changes(writer, reader, name, options.count)?;
                let name = format!("{what}, a name beside it just changed on {}", writer.name);
                let case = Case::new(name, &changed).on(&reader.name).beside("unchanged", &quiet);
                cases.push(Case { fabric: Some(options.fabric.clone()), ..case });
            }
        }
    }
    progress.step();
    Ok(cases)
}

fn with_bytes(case: Case, call: Call) -> Case {
    match call.bytes() {
        0 => case,
        bytes => case.moving(bytes),
    }
}

/// The latencies of `call` at each place, in the order of the places.
fn alternating(call: Call, places: &[Place], count: u32) -> Result<Vec<Latencies>> {
    let mut measured = vec![Latencies::default(); places.len()];
    let total = (count / call.cost()).max(3);
    let block = (total / 10).clamp(1, 50);
    let mut done = 0;
    while done < total {
        for (place, latencies) in places.iter().zip(&mut measured) {
            for at in done..(done + block).min(total) {
                let time =
                    call.time(place, at).with_context(|| format!("{} on {}", call.name(), place.name))?;
                latencies.add(time);
            }
        }
        done += block;
    }
    for place in places {
        place.clear()?;
    }
    Ok(measured)
}

/// Opening and reading what the other node has written a moment before.
fn written_there_read_here(writer: &Place, reader: &Place, count: u32) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let name = format!("there-{}", writer.name);
    let [written, read] = [writer.folder.join(&name), reader.sibling(writer).join(&name)];
    let mut buffer = [0; 4096];
    for at in 0..count {
        let value = [at as u8; 4096];
        std::fs::write(&written, value).with_context(|| format!("writing {}", written.display()))?;
        let begin = Instant::now();
        calls::read_file(&read, &mut buffer).with_context(|| format!("reading {}", read.display()))?;
        latencies.add(begin.elapsed());
        ensure!(buffer == value, "{} shows what was written before", read.display());
    }
    std::fs::remove_file(&written)?;
    Ok(latencies)
}

/// Looking up a name after another name in its directory was changed by the other node, and once more.
fn looked_up_beside_changes(
    writer: &Place,
    reader: &Place,
    name: &str,
    count: u32,
) -> Result<(Latencies, Latencies)> {
    let [mut changed, mut quiet] = [Latencies::default(), Latencies::default()];
    std::fs::write(writer.folder.join("steady"), [7; 4096])?;
    let looked_up = reader.sibling(writer).join(name);
    let beside = writer.folder.join("beside");
    for at in 0..count {
        match at % 2 {
            0 => drop(std::fs::File::create_new(&beside)?),
            _ => std::fs::remove_file(&beside)?,
        }
        for latencies in [&mut changed, &mut quiet] {
            let begin = Instant::now();
            let found = looked_up.symlink_metadata().is_ok();
            latencies.add(begin.elapsed());
            ensure!(found == (name == "steady"), "{}: found {found}", looked_up.display());
        }
    }
    writer.clear()?;
    Ok((changed, quiet))
}

/// A fresh directory name for this run.
fn folder_name(place: &str) -> String {
    format!("latency-{place}-{}", std::process::id())
}

impl Place {
    fn new(name: &str, directory: &Path) -> Result<Place> {
        let folder = directory.join(folder_name(name));
        std::fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Place { name: name.to_owned(), directory: directory.to_owned(), folder })
    }

    /// The folder of `other` as this place shows it.
    fn sibling(&self, other: &Place) -> PathBuf {
        self.directory.join(folder_name(&other.name))
    }

    fn clear(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder)?;
        std::fs::create_dir(&self.folder).with_context(|| format!("creating {}", self.folder.display()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_measured_at_every_place_and_nothing_stays() {
        let directory = tempfile::tempdir().unwrap();
        let [native, shared] = ["native", "shared"].map(|name| directory.path().join(name));
        std::fs::create_dir(&native).unwrap();
        std::fs::create_dir(&shared).unwrap();
        let nodes = vec![("n1".into(), shared.clone()), ("n2".into(), shared.clone())];
        let options = Options { native: native.clone(), nodes, fabric: "none".into(), count: 20 };
        let cases = run(&options).unwrap();
        assert_eq!(cases.len(), 2 * Call::ALL.len() + 2 + 4);
        assert!(cases.iter().all(|case| case.count >= 3 && case.p50_us() > 0.0), "{cases:?}");
        for place in [native, shared] {
            assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
        }
    }
}
