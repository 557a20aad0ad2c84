//! `kddm playground down`.

use super::{PATIENCE, directory::Playground};
use anyhow::{Result, bail};
use kddm_cluster::{Member, admin::Request};
use kdfs_client::{Connection, Process, mount_table, mounting};
use std::path::Path;

/// Unmounts, syncs and ends all nodes, and reports those that did not end in good order. Whatever happens, nothing
/// stays mounted or running.
pub fn run(dir: &Path) -> Result<()> {
    let Some(playground) = Playground::open(dir)? else {
        bail!("{}: no playground is there", dir.display());
    };
    let mut complaints = Vec::new();
    let mut running: Vec<(Member, Connection, Process)> = Vec::new();
    for member in &playground.cluster.nodes {
        if let Some(mut server) = playground.connect(member) {
            server.set_patience(PATIENCE)?;
            // One that is just ending has no process any more.
            if let Ok(process) = server.process() {
                running.push((*member, server, process));
            }
        }
    }
    let mut everybody = |what: &str, request: fn(&Playground, &Member) -> Request| {
        for (member, server, _) in &mut running {
            if let Err(error) = server.ask(&request(&playground, member)) {
                complaints.push(format!("node {}: {what}: {error:#}", member.id));
            }
        }
    };
    // In steps, so that each node still finds the others while it gives back what it has of theirs.
    everybody("unmount", |playground, member| Request::Unmount { point: playground.mount(member) });
    everybody("sync", |_, _| Request::Sync);
    everybody("stop", |_, _| Request::Stop);
    for (member, _, process) in &running {
        if !process.wait(PATIENCE)? {
            process.kill()?;
            process.wait(PATIENCE)?;
            complaints.push(format!("node {}: did not end (pid {}); killed", member.id, process.pid));
        }
    }
    for member in &playground.cluster.nodes {
        unmount(&playground, member, &mut complaints)?;
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("all is down, but not in good order:\n{}", complaints.join("\n"))
}

/// What a server left mounted: one that was killed, or whose mount was busy.
fn unmount(playground: &Playground, member: &Member, complaints: &mut Vec<String>) -> Result<()> {
    let point = playground.mount(member);
    while mount_table::mount_at(&point)?.is_some() {
        if mounting::unmount_alone(&point)? {
            complaints.push(format!(
                "node {}: {} was still in use by some program; unmounted lazily",
                member.id,
                point.display()
            ));
        } else {
            eprintln!("kddm: node {}: its server had died; its mount is taken away", member.id);
        }
    }
    Ok(())
}
