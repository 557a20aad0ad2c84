//! One guest's qemu. It inherits its two sockets, so that nothing of it has a name that another run could use.

use crate::job;
use crate::options::Options;
use crate::place::Place;
use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, getppid, sysconf};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// console: to the log alone. panic, oops: a broken guest ends instead of hanging. no_timer_check: a guest that the busy host leaves
/// alone for so long as ten ticks would take its timer for a broken one, and panic. The rest is time saved at boot.
const KERNEL_WORDS: &str = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic no_timer_check nokaslr mitigations=off audit=0 \
                            apparmor=0 random.trust_cpu=on";

/// KVM has a clock of its own for guests, and tells them its pace.
const CLOCK_OF_KVM: &str = "tsc=reliable";

const QEMU: &str = "qemu-system-x86_64";

/// How much of a log is shown.
const SHOWN: usize = 15;

/// How a kernel's last words begin.
const CALAMITIES: [&str; 3] = ["Kernel panic", "Oops:", "BUG: "];

/// The first argument of this program when it is to become a qemu that dies with its parent.
pub const BOUND: &str = "bound";

/// Becomes the qemu of the process `parent`, which the kernel kills when that one ends, however it ends.
///
/// # Errors
/// Why it could not; otherwise it does not return.
pub fn become_qemu(parent: &OsStr, arguments: impl Iterator<Item = OsString>) -> Result<Infallible> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent that ended before this line sends no signal.
    ensure!(parent == getppid().to_string().as_str(), "whoever started this has ended");
    Err(Command::new(QEMU).args(arguments).exec()).context(QEMU)
}

/// A running qemu; killed when dropped.
#[derive(Debug)]
pub struct Machine {
    process: Child,
    /// The host's end of the guest's port.
    pub port: UnixStream,
    console: PathBuf,
    complaints: PathBuf,
}

impl Machine {
    /// Starts guest `rank` from `image` and `initramfs`. `clock` is what [`clock::words`](crate::clock::words) says.
    ///
    /// # Errors
    /// If qemu cannot be started.
    pub fn start(
        options: &Options,
        rank: u8,
        image: &Path,
        initramfs: &[u8],
        clock: &str,
        place: &Place,
        wire: UnixStream,
    ) -> Result<Machine> {
        let archive = place.temporary.path().join(format!("initramfs-{rank}"));
        let console = place.work.join(format!("console-{rank}.log"));
        let complaints = place.work.join(format!("qemu-{rank}.log"));
        fs::write(&archive, initramfs).with_context(|| format!("writing {}", archive.display()))?;
        let (port, port_in_guest) = UnixStream::pair()?;
        let mac = job::mac(rank).map(|byte| format!("{byte:02x}")).join(":");

        // Standard input is the guest's port, and standard output its wire.
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.arg(BOUND).arg(std::process::id().to_string());
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.args(["-machine", "q35,usb=off,sata=off,smbus=off"]);
        command.args([
            "-accel",
            if options.accel == "kvm" { "kvm" } else { "tcg,thread=multi" },
            "-cpu",
            "max",
        ]);
        command.args(["-smp", &options.cpus.to_string(), "-m", &options.memory.to_string()]);
        let clock = if options.accel == "kvm" { CLOCK_OF_KVM } else { clock };
        command.arg("-kernel").arg(image).arg("-initrd").arg(&archive);
        command.args(["-append", &format!("{KERNEL_WORDS} {clock}")]);
        command.arg("-serial").arg(format!("file:{}", escaped(&console)));
        command.args(["-chardev", "socket,id=port,fd=0", "-device", "virtio-serial-pci"]);
        command.args(["-device", "virtserialport,nr=1,chardev=port"]);
        command.args(["-netdev", "socket,id=wire,fd=1"]);
        command.args(["-device", &format!("virtio-net-pci,netdev=wire,romfile=,host_mtu=9000,mac={mac}")]);
        let folder = "security_model=none,multidevs=remap";
        command.args(["-virtfs", &format!("local,path=/,mount_tag=host,readonly=on,{folder}")]);
        command.args(["-virtfs", &format!("local,path={},mount_tag=share,{folder}", escaped(&place.share))]);
        command.stdin(Stdio::from(OwnedFd::from(port_in_guest))).stdout(Stdio::from(OwnedFd::from(wire)));
        command.stderr(fs::File::create(&complaints)?);
        // A Ctrl-C is this program's to answer.
        command.process_group(0);
        let process = command.spawn().context("starting this program again")?;
        // For whoever wants to stop or kill one guest. (What was started becomes qemu, and keeps its id.)
        fs::write(place.work.join(format!("qemu-{rank}.pid")), process.id().to_string())?;
        Ok(Machine { process, port, console, complaints })
    }

    /// What qemu and the guest's kernel said last, or, if the kernel told of a calamity, from there on.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        for path in [&self.complaints, &self.console] {
            let log = fs::read(path).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            let calamity = lines.iter().position(|line| CALAMITIES.iter().any(|words| line.contains(words)));
            let begin = calamity.unwrap_or(lines.len().saturating_sub(SHOWN));
            for line in lines[begin..].iter().take(SHOWN) {
                text += &format!("    {line}\n");
            }
        }
        if text.is_empty() { "    (it said nothing)\n".into() } else { text }
    }

    /// How much of the host's processors it has had, in words: one that had little hangs for no other reason.
    pub fn share(&self) -> String {
        match self.processor_time() {
            Some(time) => format!("its machine was given {:.1} s of a processor", time.as_secs_f32()),
            None => "its machine has ended".to_owned(),
        }
    }

    /// Of user and system, as /proc/pid/stat counts both (proc(5)).
    fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        let ticks: u32 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u32>().ok())
            .sum();
        let a_second = u32::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
        Some(Duration::from_secs(1) * ticks / a_second)
    }

    /// Whether the guest's kernel gave up.
    pub fn panicked(&self) -> bool {
        let log = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&log).contains("Kernel panic")
    }

    /// Ends it, however it is.
    pub fn end(&mut self) {
        // It fails only if qemu has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// A path inside one of qemu's option lists.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
