//! Process 1 of a guest, once the host's file system is there: readies the RDMA device, runs the command when the host
//! says so, and tells how it ended.

use crate::job::{self, Job};
use crate::port::{GO, Message, Stream};
use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The only port of the only virtio-serial device.
const PORT: &str = "/dev/vport0p1";

/// Never returns: a process 1 that ends is a kernel panic.
pub fn main() -> ! {
    let Err(error) = live();
    // To the console, whose end the host shows.
    eprintln!("soft-roce: {error:#}");
    off()
}

fn live() -> Result<Infallible> {
    wait_for(Path::new(PORT))?;
    let mut port =
        File::options().read(true).write(true).open(PORT).with_context(|| format!("opening {PORT}"))?;
    let told = Told(Arc::new(Mutex::new(port.try_clone()?)));
    let (job, gid) = match prepare() {
        Ok(ready) => ready,
        Err(error) => {
            told.tell(&Message::Failed(format!("{error:#}")))?;
            stay()
        }
    };
    told.tell(&Message::Ready)?;
    let mut word = [0];
    port.read_exact(&mut word).context("hearing the host")?;
    ensure!(word[0] == GO, "BUG: the host said {word:?}");
    let code = run(&job, gid, &told)?;
    told.tell(&Message::Exit(code))?;
    stay()
}

/// Until the host ends the machine. It is there for the others' sake as long as they run, as a real one would be.
fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

fn off() -> ! {
    let _ = reboot(RebootMode::RB_POWER_OFF);
    unreachable!("process 1 may switch the machine off")
}

/// The way to the host, one message at a time.
#[derive(Clone)]
struct Told(Arc<Mutex<File>>);

impl Told {
    fn tell(&self, message: &Message) -> Result<()> {
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        message.write(&mut *port).context("telling the host")
    }
}

/// Until the kernel has made a device file.
fn wait_for(path: &Path) -> Result<()> {
    let folder = path.parent().context("a device file lies in a folder")?;
    let changes = Inotify::init(InitFlags::IN_CLOEXEC)?;
    changes.add_watch(folder, AddWatchFlags::IN_CREATE)?;
    while !path.exists() {
        changes.read_events()?;
    }
    Ok(())
}

/// Everything that a command may count on; the job, and the GID's index.
fn prepare() -> Result<(Job, usize)> {
    let job: Job =
        serde_json::from_slice(&fs::read(job::PATH)?).with_context(|| format!("reading {}", job::PATH))?;
    mount_all(&job)?;
    // As a service manager does: registered memory is locked memory.
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    setrlimit(Resource::RLIMIT_NOFILE, 1 << 16, 1 << 16)?;
    nix::unistd::sethostname(format!("guest-{}", job.rank))?;
    let gid = add_device(&job)?;
    std::env::set_current_dir(&job.directory).with_context(|| {
        format!(
            "the working directory {} is not there (/dev, /run and /proc are a guest's own)",
            job.directory.display()
        )
    })?;
    Ok((job, gid))
}

fn mount_all(job: &Job) -> Result<()> {
    // As udev does.
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666))
        .context("opening /dev/fuse to all")?;
    let add = |kind: &str, source: &str, target: &Path, options: &str| {
        fs::create_dir_all(target).with_context(|| format!("creating {}", target.display()))?;
        mount(Some(source), target, Some(kind), MsFlags::empty(), Some(options))
            .with_context(|| format!("mounting {kind} on {}", target.display()))
    };
    add("devpts", "pts", Path::new("/dev/pts"), "ptmxmode=666")?;
    add("tmpfs", "shm", Path::new("/dev/shm"), "mode=1777")?;
    // No cache: what one guest writes, the others read.
    add("9p", "share", &job.share, "trans=virtio,version=9p2000.L,msize=512000,cache=none")
}

/// The address is there before the device: the device takes its GID from it.
fn add_device(job: &Job) -> Result<usize> {
    let add = ["link", "add", job::DEVICE, "type", "rxe", "netdev", job::NETDEV];
    let output = Command::new("rdma").args(add).output().context("running rdma (package iproute2)")?;
    ensure!(
        output.status.success(),
        "rdma {}: {}",
        add.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let port = Path::new("/sys/class/infiniband").join(job::DEVICE).join("ports/1");
    let state =
        fs::read_to_string(port.join("state")).with_context(|| format!("reading {}", port.display()))?;
    ensure!(state.contains("ACTIVE"), "the port of {} is {}", job::DEVICE, state.trim());
    let wanted = job::address(job.rank).to_ipv6_mapped();
    let gid = |index: &usize| -> Option<Ipv6Addr> {
        fs::read_to_string(port.join(format!("gids/{index}"))).ok()?.trim().parse().ok()
    };
    let mut indices = 0..16;
    let found = indices.find(|index| gid(index) == Some(wanted));
    found.with_context(|| format!("{} has no GID for {}", job::DEVICE, job::address(job.rank)))
}

/// Runs the command to its end and ends all that it left running; its exit code, as a shell has it.
fn run(job: &Job, gid: usize, told: &Told) -> Result<u8> {
    let (program, arguments) = job.command.split_first().context("BUG: no command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(job.variables(gid));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let words = format!("soft-roce: {program}: {error}\n");
            told.tell(&Message::Output(Stream::Err, words.into_bytes()))?;
            return Ok(if error.kind() == ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let out = child.stdout.take().map(|pipe| pass_on(pipe, told, Stream::Out));
    let err = child.stderr.take().map(|pipe| pass_on(pipe, told, Stream::Err));
    let first = i32::try_from(child.id()).context("a process id")?;
    // Process 1 also buries what others left behind.
    let code = loop {
        match wait()? {
            WaitStatus::Exited(pid, code) if pid.as_raw() == first => break u8::try_from(code & 0xff)?,
            WaitStatus::Signaled(pid, signal, _) if pid.as_raw() == first => break 128 + signal as u8,
            _ => {}
        }
    };
    // Whoever still has the pipes open goes, so that they end. There may be nobody.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    for reader in [out, err].into_iter().flatten() {
        reader.join().map_err(|_| anyhow::anyhow!("BUG: a thread panicked"))??;
    }
    Ok(code)
}

fn pass_on(mut pipe: impl Read + Send + 'static, told: &Told, stream: Stream) -> JoinHandle<Result<()>> {
    let told = told.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        loop {
            match pipe.read(&mut buffer)? {
                0 => return Ok(()),
                length => told.tell(&Message::Output(stream, buffer[..length].to_vec()))?,
            }
        }
    })
}
