//! The report on a terminal, again and again.

use super::{
    gather::Gatherer,
    report::Report,
    text::{self, NODES, OBJECTS, OUTCOMES, SETS},
};
use anyhow::Result;
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::Line,
    widgets::{Row, Table},
};
use std::time::{Duration, Instant};

/// Shows what happens until somebody presses q, Escape or Ctrl-C.
pub fn run(gatherer: &mut Gatherer, interval: Duration) -> Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = (|| {
        loop {
            let report = gatherer.gather_since()?;
            terminal.draw(|frame| draw(frame, &report))?;
            let end = Instant::now() + interval;
            loop {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() || !event::poll(left)? {
                    break;
                }
                match event::read()? {
                    Event::Key(key) if is_end(key.code, key.modifiers) => return Ok(()),
                    Event::Resize(..) => {
                        terminal.draw(|frame| draw(frame, &report))?;
                    }
                    _ => {}
                }
            }
        }
    })();
    ratatui::try_restore()?;
    result
}

fn is_end(code: KeyCode, modifiers: KeyModifiers) -> bool {
    matches!(code, KeyCode::Char('q') | KeyCode::Esc)
        || code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL)
}

fn draw(frame: &mut Frame<'_>, report: &Report) {
    let lines = |rows: usize| Constraint::Length(rows as u16 + 2);
    let areas = Layout::vertical([
        Constraint::Length(1),
        lines(report.nodes.len()),
        Constraint::Fill(1),
        lines(report.hottest.len()),
        lines(report.contended.len()),
    ])
    .split(frame.area());
    let [head, nodes, middle, hottest, contended] = areas[..] else { return };
    let about = match report.seconds {
        Some(seconds) => format!("kddm top: the last {seconds:.1} s; q ends"),
        None => "kddm top: since the servers started; q ends".to_owned(),
    };
    frame.render_widget(Line::from(about).bold(), head);
    let halves = Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).split(middle);
    table(frame, nodes, "nodes", &NODES, report.nodes.iter().map(text::node));
    table(frame, halves[0], "sets", &SETS, report.sets.iter().map(text::set));
    table(frame, halves[1], "operations", &OUTCOMES, report.outcomes.iter().map(text::outcome));
    table(frame, hottest, "hottest objects", &OBJECTS, report.hottest.iter().map(text::object));
    table(frame, contended, "most contended objects", &OBJECTS, report.contended.iter().map(text::object));
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let [above, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Line::from(title.to_owned()).bold().cyan(), above);
    let columns =
        header.iter().enumerate().map(|(column, _)| Constraint::Fill(if column == 0 { 2 } else { 1 }));
    let table = Table::new(rows.map(Row::new), columns)
        .header(Row::new(header.iter().map(|name| (*name).to_owned())).style(Style::new().dim()));
    frame.render_widget(table, below);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::report::{self, Object};
    use ratatui::{Terminal, backend::TestBackend};

    #[test]
    fn a_small_terminal_is_no_reason_to_fail_and_a_large_one_shows_all() {
        let mut report = report::report(&[], 10);
        report.contended.push(Object {
            set: 7,
            name: "counters".into(),
            object: 3,
            weight: 42,
            home: Some(1),
            holds: vec![report::Hold { node: 2, readers: 0, writer: true }],
            waits: vec![report::Wait { node: 1, operations: 5 }],
        });
        for (width, height) in [(1, 1), (20, 5), (140, 40)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &report)).unwrap();
            let shown = terminal.backend().to_string();
            if width > 100 {
                for part in ["counters/3", "node 2 writes", "node 1 ×5", "hottest objects"] {
                    assert!(shown.contains(part), "no {part:?} in\n{shown}");
                }
            }
        }
    }
}
