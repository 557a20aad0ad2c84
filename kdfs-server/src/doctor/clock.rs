//! Clocks: nothing but file times depends on how they are set.

use super::finding::Finding;
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What programs that set the clock leave behind while they run.
const SETTERS: [(&str, &str); 6] = [
    ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
    ("/run/chrony/chronyd.pid", "chrony"),
    ("/run/chronyd.pid", "chrony"),
    ("/run/ntpd.pid", "ntpd"),
    ("/run/openntpd.sock", "openntpd"),
    ("/run/ptp4l", "ptp4l"),
];

/// 2026-01-01: this program is younger.
const YOUNGEST: Duration = Duration::from_secs(1_767_225_600);

/// Looks at the clocks.
pub fn look() -> Vec<Finding> {
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let setter = SETTERS.iter().find(|(file, _)| Path::new(file).exists()).map(|(_, name)| *name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    vec![judge(now, source.unwrap_or_default().trim(), setter)]
}

fn judge(now: Duration, source: &str, setter: Option<&str>) -> Finding {
    let source = if source.is_empty() { "an unknown source" } else { source };
    let remedy = "run chrony or systemd-timesyncd on all nodes: times of files come from the node that acts";
    match setter {
        _ if now < YOUNGEST => Finding::note("clock", format!("from {source}; it is years behind"), remedy),
        Some(setter) => Finding::ok("clock", format!("from {source}, set by {setter}")),
        None => Finding::note(
            "clock",
            format!("from {source}; nothing that keeps it with those of other machines is seen"),
            remedy,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn a_clock_is_kept_or_not_or_wrong() {
        assert_eq!(judge(YOUNGEST, "tsc", Some("chrony")), Finding::ok("clock", "from tsc, set by chrony"));
        assert_eq!(judge(YOUNGEST, "tsc", None).state, State::Note);
        assert!(judge(Duration::ZERO, "", Some("chrony")).found.contains("years behind"));
    }
}
