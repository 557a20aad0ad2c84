//! kddm_program…: programs that are attached, and what they ask for.

use super::exposition::{Page, alone, label};
use crate::{Server, ring::RingTold};
use std::fmt;

/// What a server knows of its programs.
#[derive(Debug)]
pub struct Programs {
    attached: usize,
    holds: usize,
    told: RingTold,
}

impl Programs {
    pub fn of(server: &Server) -> Programs {
        let programs = server.programs();
        let holds = programs.iter().map(|program| program.holds).sum();
        Programs { attached: programs.len(), holds, told: server.rings.figures() }
    }

    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let RingTold { ends, times, attached, turned_away, corrupt } = &self.told;
        page.gauge("kddm_programs", "Programs that are attached", alone(self.attached))?;
        page.gauge("kddm_program_holds", "Holds of programs", alone(self.holds))?;
        for (name, help, count) in [
            ("kddm_programs_attached", "Programs that were let in", attached),
            ("kddm_programs_turned_away", "Programs that were not", turned_away),
            ("kddm_programs_corrupt", "Programs that were ended for what was in their rings", corrupt),
        ] {
            page.counter(name, help, alone(*count))?;
        }
        let ends = ends.iter().map(|&(request, outcome, count)| {
            (vec![("request", request.into()), ("outcome", outcome.into())], count)
        });
        page.counter("kddm_program_requests", "Requests of programs, by kind and outcome", ends)?;
        page.durations(
            "kddm_program_request_duration_seconds",
            "How long requests of programs took that could not be answered at once, by kind",
            times.iter().map(|(request, times)| (label("request", request), *times)),
        )
    }
}
