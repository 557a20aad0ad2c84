//! The calls, one by one: what is timed, and what is prepared before the clock starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of the sequential cases.
const SEQUENTIAL: usize = 8 << 20;
/// Bytes of each call in them.
const CHUNK: usize = 128 << 10;
/// Entries of the directory that is listed.
const LISTED: u32 = 1000;

/// Where calls are made.
pub struct Place {
    /// Its name in the report.
    pub name: String,
    /// The directory that was given.
    pub directory: PathBuf,
    /// Our own folder in it.
    pub folder: PathBuf,
}

/// A call, or a few that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    OpenRead,
    OpenWrite,
    Stat,
    Rename,
    Unlink,
    Mkdir,
    List,
    Durable,
    SequentialWrite,
    SequentialRead,
}

impl Call {
    /// All of them, in the order of the table.
    pub const ALL: [Call; 11] = [
        Call::Create,
        Call::OpenRead,
        Call::OpenWrite,
        Call::Stat,
        Call::Rename,
        Call::Unlink,
        Call::Mkdir,
        Call::List,
        Call::Durable,
        Call::SequentialWrite,
        Call::SequentialRead,
    ];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Call::Create => "create+close",
            Call::OpenRead => "open+read 4 KiB+close",
            Call::OpenWrite => "open+write 4 KiB+close",
            Call::Stat => "stat",
            Call::Rename => "rename",
            Call::Unlink => "unlink",
            Call::Mkdir => "mkdir",
            Call::List => "readdir of 1000",
            Call::Durable => "create+write 4 KiB+fsync",
            Call::SequentialWrite => "write 8 MiB",
            Call::SequentialRead => "read 8 MiB",
        }
    }

    /// Bytes that it moves.
    pub fn bytes(self) -> u64 {
        match self {
            Call::OpenRead | Call::OpenWrite | Call::Durable => 4096,
            Call::SequentialWrite | Call::SequentialRead => SEQUENTIAL as u64,
            _ => 0,
        }
    }

    /// How much less often it is called than the cheap ones.
    pub fn cost(self) -> u32 {
        match self {
            Call::List => 50,
            Call::Durable => 10,
            Call::SequentialWrite | Call::SequentialRead => 100,
            _ => 1,
        }
    }

    /// Makes call number `at` and times it.
    ///
    /// # Errors
    /// If it, or its preparation, failed.
    pub fn time(self, place: &Place, at: u32) -> io::Result<Duration> {
        let path = place.folder.join(format!("{self:?}-{at}"));
        let steady = place.folder.join("steady");
        if !steady.exists() {
            fs::write(&steady, [7; 4096])?;
        }
        match self {
            Call::Create => timed(|| File::create_new(&path).map(drop)),
            Call::OpenRead => timed(|| read_file(&steady, &mut [0; 4096])),
            Call::OpenWrite => {
                timed(|| OpenOptions::new().write(true).open(&steady)?.write_all_at(&[8; 4096], 0))
            }
            Call::Stat => timed(|| fs::metadata(&steady).map(drop)),
            Call::Rename => {
                File::create_new(&path)?;
                let target = path.with_extension("renamed");
                timed(|| fs::rename(&path, &target))
            }
            Call::Unlink => {
                File::create_new(&path)?;
                timed(|| fs::remove_file(&path))
            }
            Call::Mkdir => timed(|| fs::create_dir(&path)),
            Call::List => {
                let listed = listed(place)?;
                timed(|| {
                    let count = fs::read_dir(&listed)?.count();
                    let wrong = || io::Error::other(format!("{count} entries listed instead of {LISTED}"));
                    if count == LISTED as usize { Ok(()) } else { Err(wrong()) }
                })
            }
            Call::Durable => timed(|| {
                let mut file = File::create_new(&path)?;
                file.write_all(&[9; 4096])?;
                file.sync_all()
            }),
            Call::SequentialWrite => timed(|| write_sequentially(&path)),
            Call::SequentialRead => {
                let path = place.folder.join("sequential");
                if !path.exists() {
                    write_sequentially(&path)?;
                }
                timed(|| read_sequentially(&path))
            }
        }
    }
}

/// Opens `path`, fills `buffer` from it and closes it.
///
/// # Errors
/// If the file is shorter, or a call failed.
pub fn read_file(path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    File::open(path)?.read_exact(buffer)
}

fn timed(call: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let begin = Instant::now();
    call()?;
    Ok(begin.elapsed())
}

fn listed(place: &Place) -> io::Result<PathBuf> {
    let folder = place.folder.join("listed");
    if !folder.exists() {
        fs::create_dir(&folder)?;
        for at in 0..LISTED {
            File::create_new(folder.join(format!("entry-{at:04}")))?;
        }
    }
    Ok(folder)
}

fn write_sequentially(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let chunk = vec![5; CHUNK];
    (0..SEQUENTIAL / CHUNK).try_for_each(|_| file.write_all(&chunk))
}

fn read_sequentially(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK];
    (0..SEQUENTIAL / CHUNK).try_for_each(|_| file.read_exact(&mut chunk))
}
