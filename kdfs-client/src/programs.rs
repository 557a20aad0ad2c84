//! The other programs of the project, found and run.

use anyhow::{Context, Result, bail};
use std::{
    env,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The program `name`: beside the one that runs, else by PATH. Cargo cannot build a `mkfs.kdfs`; there it is called
/// `mkfs-kdfs`.
pub fn find(name: &str) -> PathBuf {
    let own = env::current_exe().and_then(fs::canonicalize).unwrap_or_default();
    let built = name.replace('.', "-");
    let beside = [name, &built].map(|name| own.with_file_name(name));
    beside.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

/// Goes on as `command`, whose output and exit code take the place of this program's. Returns only if it cannot be run: why.
pub fn become_program(command: &mut Command) -> anyhow::Error {
    let error = command.exec();
    let program = Path::new(command.get_program()).display();
    anyhow::Error::new(error)
        .context(format!("{program}: cannot be run; install it beside this program or in PATH"))
}

/// A server that is to be started.
#[derive(Clone, Debug)]
pub struct ServerStart {
    /// The cluster file.
    pub config: PathBuf,
    /// Its node.
    pub node: u8,
    /// Its partition; a diskless node has none.
    pub partition: Option<PathBuf>,
    /// The root's inode number, needed by a diskless node.
    pub root: Option<u32>,
    /// Where it is to listen for us.
    pub socket: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Whether it is to end with its last mount.
    pub on_demand: bool,
    /// For tests that must see stale bytes: break coherence.
    pub unsound: bool,
}

/// A server that has been started and has not said yet that it is ready.
#[derive(Debug)]
pub struct Starting {
    child: std::process::Child,
    log: PathBuf,
}

impl ServerStart {
    /// Starts it; it goes on when this process ends.
    ///
    /// # Errors
    /// The program or its log's directory is missing.
    pub fn spawn(&self) -> Result<Starting> {
        let program = find("kdfs-server");
        if let Some(directory) = self.log.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("{}: cannot be made", directory.display()))?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("{}: the log cannot be written", self.log.display()))?;
        let mut command = Command::new(&program);
        command.arg("--config").arg(&self.config).arg("--node").arg(self.node.to_string());
        command.arg("--socket").arg(&self.socket).arg("--report").current_dir("/");
        if let Some(partition) = &self.partition {
            command.arg("--partition").arg(partition);
        }
        if let Some(root) = self.root {
            command.arg("--root").arg(root.to_string());
        }
        if self.on_demand {
            command.arg("--on-demand");
        }
        if self.unsound {
            command.arg("--unsound-skip-invalidations");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let child = command.spawn().with_context(|| {
            format!("{}: cannot be run; install it beside this program or in PATH", program.display())
        })?;
        Ok(Starting { child, log: self.log.clone() })
    }
}

impl Starting {
    /// Waits until the server answers.
    ///
    /// # Errors
    /// Its own reason why it did not start.
    pub fn wait(self) -> Result<u32> {
        let pid = self.child.id();
        let mut line = String::new();
        if let Some(report) = self.child.stdout {
            BufReader::new(report).read_line(&mut line)?;
        }
        match line.trim_end() {
            "ready" => Ok(pid),
            "" => bail!("kdfs-server ended without a word; see {}", self.log.display()),
            reason => bail!("{}", reason.strip_prefix("failed: ").unwrap_or(reason)),
        }
    }
}

/// The log of an installed node's server.
pub fn installed_log(node: u8) -> PathBuf {
    Path::new("/var/log/kdfs").join(format!("{node}.log"))
}
