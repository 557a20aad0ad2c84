//! Timestamps of inodes.

use crate::FileSystem;
use kdfs_format::{Inode, Timestamp};

/// How far a node's clock may be behind another's for its changes to be stamped after the other's all the same.
const MAX_SKEW_SECONDS: i64 = 60;

impl FileSystem {
    /// The moment that a change is stamped with.
    pub(crate) fn now(&self) -> Timestamp {
        self.node().host().wall().into()
    }
}

/// The moment of a change of `inode` now: after its last change, even if that was stamped by a clock that is a
/// little ahead of ours, so that whoever compares times sees that something happened.
fn moment(inode: &Inode, now: Timestamp) -> Timestamp {
    let (last, (seconds, _)) = (inode.ctime.parts(), now.parts());
    if last < now.parts() || last.0 > seconds.saturating_add(MAX_SKEW_SECONDS) {
        return now;
    }
    match last {
        (seconds, 999_999_999..) => Timestamp::new(seconds.saturating_add(1), 0),
        (seconds, nanoseconds) => Timestamp::new(seconds, nanoseconds + 1),
    }
}

/// The inode has changed: ctime.
pub(crate) fn changed(inode: &mut Inode, now: Timestamp) {
    inode.ctime = moment(inode, now);
}

/// The bytes (or the entries) have changed: mtime and ctime.
pub(crate) fn modified(inode: &mut Inode, now: Timestamp) {
    changed(inode, now);
    inode.mtime = inode.ctime;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(last: (i64, u32), now: (i64, u32)) -> (i64, u32) {
        let mut inode = Inode::new(1, 1, 0o100644, Timestamp::new(last.0, last.1));
        modified(&mut inode, Timestamp::new(now.0, now.1));
        assert_eq!(inode.mtime, inode.ctime);
        inode.ctime.parts()
    }

    #[test]
    fn changes_are_stamped_one_after_the_other() {
        assert_eq!(after((5, 7), (6, 0)), (6, 0));
        assert_eq!(after((5, 7), (5, 7)), (5, 8));
        assert_eq!(after((5, 999_999_999), (4, 0)), (6, 0));
    }

    #[test]
    fn a_clock_gone_wrong_is_not_followed() {
        assert_eq!(after((5000, 0), (5, 0)), (5, 0));
    }
}
