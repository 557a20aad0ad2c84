//! One thing that was looked at, and how all of them are shown.

use serde_json::{Value, json};
use std::fmt::Write;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing; what this node is asked for works.
    Note,
    /// Stands in the way of what this node is asked for.
    Problem,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Note => "note",
            State::Problem => "problem",
        }
    }
}

/// What was found at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found there.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(name: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { name: name.into(), state: State::Ok, found: found.into(), remedy: String::new() }
    }

    /// As it should not be, in this degree.
    pub fn of(
        state: State,
        name: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding { name: name.into(), state, found: found.into(), remedy: remedy.into() }
    }

    /// Worth knowing.
    pub fn note(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::of(State::Note, name, found, remedy)
    }

    /// In the way.
    pub fn problem(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::of(State::Problem, name, found, remedy)
    }
}

/// Whether anything stands in the way.
pub fn any_problem(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.state == State::Problem)
}

/// For programs: `[{"name", "state", "found", "remedy"}]`.
pub fn json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "name": finding.name, "state": finding.state.word(), "found": finding.found, "remedy": finding.remedy,
        })
    };
    findings.iter().map(one).collect()
}

/// For people: a line each, with what to do below it, and a last line that sums up.
pub fn text(findings: &[Finding], fabric: &str) -> String {
    let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { name, state, found, remedy } in findings {
        // Writing into a String does not fail.
        let _ = writeln!(text, "{:7}  {name:width$}  {found}", state.word());
        if !remedy.is_empty() {
            let _ = writeln!(text, "{:7}  {:width$}  -> {remedy}", "", "");
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let notes = match count(State::Note) {
        0 => String::new(),
        1 => "; 1 note".to_owned(),
        several => format!("; {several} notes"),
    };
    let _ = match count(State::Problem) {
        0 => writeln!(text, "\nNothing stands in the way of fabric {fabric}{notes}."),
        1 => writeln!(text, "\n1 problem stands in the way of fabric {fabric}{notes}."),
        several => writeln!(text, "\n{several} problems stand in the way of fabric {fabric}{notes}."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_are_told_the_same() {
        let findings = [
            Finding::ok("kernel", "Linux 6.18"),
            Finding::problem("rxe0 port 1", "down", "ip link set eth0 up"),
            Finding::note("clock", "nobody sets it", "run chrony"),
        ];
        assert_eq!(
            text(&findings, "verbs"),
            "ok       kernel       Linux 6.18\n\
             problem  rxe0 port 1  down\n\
             \x20                     -> ip link set eth0 up\n\
             note     clock        nobody sets it\n\
             \x20                     -> run chrony\n\
             \n\
             1 problem stands in the way of fabric verbs; 1 note.\n"
        );
        assert!(any_problem(&findings));
        let json = json(&findings);
        assert_eq!(
            json[1],
            json!({"name": "rxe0 port 1", "state": "problem", "found": "down", "remedy": "ip link set eth0 up"})
        );
        assert_eq!(json.as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn notes_stand_in_nobodys_way() {
        let findings = [Finding::note("clock", "nobody sets it", "run chrony")];
        assert!(!any_problem(&findings));
        assert!(text(&findings, "tcp").ends_with("\nNothing stands in the way of fabric tcp; 1 note.\n"));
    }
}
