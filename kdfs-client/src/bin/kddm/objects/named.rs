//! An object as people name it, and how long they wait for it.

use crate::attach;
use anyhow::{Context, Error, Result, anyhow};
use clap::Args;
use kdfs_client::{Error as ClientError, Refusal, Session, Set, Wait, session::SetSummary};
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::time::Duration;

/// An object of a set.
#[derive(Args, Clone, Debug)]
pub struct Object {
    /// The set's name.
    pub set: String,
    /// The object's number, 0 to 4294967295.
    #[arg(value_name = "OBJ", value_parser = number)]
    pub object: u32,
    #[command(flatten)]
    node: attach::Node,
}

/// How long to wait for a hold. Not given: as long as it takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct Patience {
    /// Fail at once if somebody holds the object.
    #[arg(short, long)]
    nonblock: bool,
    /// Fail if it takes longer.
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "nonblock")]
    timeout: Option<Duration>,
}

impl Patience {
    /// As the library has it.
    pub fn wait(self) -> Wait {
        match (self.nonblock, self.timeout) {
            (true, _) => Wait::Never,
            (false, Some(time)) => Wait::AtMost(time),
            (false, None) => Wait::Forever,
        }
    }
}

impl Object {
    /// Attaches, and opens the set.
    ///
    /// # Errors
    /// No node runs, or there is no such set, or it is not for this user.
    pub fn open(&self) -> Result<(Session, Set)> {
        let session = self.node.attach()?;
        let set = session.open_set(&self.set).map_err(|error| of_set(error, &session, &self.set))?;
        Ok((session, set))
    }

    /// An error of an operation on it, with what there is to know about it.
    pub fn error(&self, error: ClientError, session: &Session) -> Error {
        match error.refusal() {
            Some(Refusal::Denied | Refusal::NoSet) => of_set(error, session, &self.set),
            _ => Error::new(error).context(format!("{}/{}", self.set, self.object)),
        }
    }
}

/// An error of an operation on a set, with what there is to know about it.
pub fn of_set(error: ClientError, session: &Session, name: &str) -> Error {
    let denied = error.refusal() == Some(Refusal::Denied);
    let set = denied.then(|| session.sets().ok()?.into_iter().find(|set| set.name == name)).flatten();
    let whose = set.map(|set| format!(" is {}, and you are {}", belongs(&set), user(geteuid())));
    Error::new(error).context(format!("set {name:?}{}", whose.unwrap_or_default()))
}

/// Whose a set is, and its mode.
fn belongs(set: &SetSummary) -> String {
    let (owner, group) = (user(Uid::from_raw(set.uid)), group(Gid::from_raw(set.gid)));
    format!("user {owner}'s, group {group}, mode {:04o}", set.mode)
}

/// A user's name, or number.
pub fn user(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A group's name, or number.
pub fn group(gid: Gid) -> String {
    Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

/// Seconds, with a fraction if need be.
pub fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().context("write seconds, as 2 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| anyhow!("{error}; write seconds, as 2 or 0.5"))
}

fn number(text: &str) -> Result<u32> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|error| anyhow!("{error}; objects have numbers, as 7 or 0x7"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_seconds_are_what_they_look_like() {
        assert_eq!((number("7").ok(), number("0x10").ok()), (Some(7), Some(16)));
        assert!(number("-1").is_err() && number("4294967296").is_err() && number("x").is_err());
        assert_eq!(seconds("0.5").ok(), Some(Duration::from_millis(500)));
        assert!(seconds("-1").is_err() && seconds("soon").is_err() && seconds("1e40").is_err());
    }
}
