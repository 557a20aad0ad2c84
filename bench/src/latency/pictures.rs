//! The rows as pictures.

use super::crowd;
use super::measure::Measured;
use super::{Kind, SIZES};
use crate::plot::{Axis, Line, Mark, Picture, Plot, Row, Rows};
use crate::report::Latencies;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Draws all of them in `directory`; where they are.
///
/// # Errors
/// If a file cannot be written.
pub fn draw(measured: &[Measured], fabric: Kind, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for bytes in SIZES {
        let cases: Vec<&Measured> = measured.iter().filter(|row| is_single(row, bytes)).collect();
        let title = |what: &str| format!("Objects of {bytes} B over {}: {what}", fabric.name());
        let legend = vec!["kDDM".to_owned(), format!("floor: {}", fabric.floor())];
        let bars = Rows {
            title: title("medians, and how many times the floor"),
            x: Axis::linear("µs"),
            legend: legend.clone(),
            rows: cases.iter().map(|row| medians(row)).collect(),
        };
        paths.extend(bars.write_in(directory, &format!("latency-{bytes}"))?);
        let boxes = Rows {
            title: title("least, quartiles, and 99 of 100"),
            x: Axis::doubling("µs"),
            legend,
            rows: cases.iter().map(|row| spread(row)).collect(),
        };
        paths.extend(boxes.write_in(directory, &format!("latency-{bytes}-spread"))?);
    }
    paths.extend(in_flight(measured, fabric).write_in(directory, "latency-in-flight")?);
    paths.extend(sharing(measured, fabric).write_in(directory, "latency-sharing")?);
    Ok(paths)
}

/// One operation at a time, with a floor.
fn is_single(row: &Measured, bytes: u32) -> bool {
    row.case.bytes == Some(bytes.into()) && row.case.ops_s.is_none() && row.floor.is_some()
}

fn name(row: &Measured) -> String {
    let home = row.case.home.as_deref().unwrap_or_default();
    format!("{}, {home} home", row.case.case)
}

fn medians(row: &Measured) -> Row {
    let floor = row.floor.as_ref().map(|floor| Mark::Bar(floor.quantile_us(0.5)));
    let note = row.case.ratio.map(|ratio| format!("{ratio:.1}×")).unwrap_or_default();
    Row { name: name(row), marks: [Mark::Bar(row.case.p50_us())].into_iter().chain(floor).collect(), note }
}

fn spread(row: &Measured) -> Row {
    let mark =
        |times: &Latencies| Mark::Box([0.0, 0.25, 0.5, 0.75, 0.99].map(|share| times.quantile_us(share)));
    let marks = [&row.ours].into_iter().chain(&row.floor).map(mark).collect();
    Row { name: name(row), marks, note: String::new() }
}

/// A line for each size of objects: `x` gives those rows a place that belong to it, `y` what is shown of them.
fn lines(
    measured: &[Measured],
    whose: &str,
    x: impl Fn(&Measured) -> Option<f64>,
    y: impl Fn(&Measured) -> Option<f64>,
) -> Vec<Line> {
    let line = |bytes: u32| {
        let rows = measured.iter().filter(|row| row.case.bytes == Some(bytes.into()));
        let points = rows.filter_map(|row| Some((x(row)?, y(row)?))).collect();
        Line { name: format!("{whose}, objects of {bytes} B"), points }
    };
    SIZES.map(line).into()
}

fn in_flight(measured: &[Measured], fabric: Kind) -> Plot {
    let width = |row: &Measured| {
        crowd::widths().find(|&width| row.case.case == crowd::flight_name(width)).map(f64::from)
    };
    let ours = lines(measured, "kDDM", width, |row| row.case.ops_s);
    let floor = lines(measured, fabric.floor(), width, |row| row.floor_ops_s);
    Plot {
        title: format!("Gets of shared objects over {}", fabric.name()),
        x: Axis::doubling("gets in flight"),
        y: Axis::doubling("gets a second"),
        lines: [ours, floor].concat(),
    }
}

fn sharing(measured: &[Measured], fabric: Kind) -> Plot {
    let percent = |row: &Measured| {
        let shares = crowd::SHARING.into_iter();
        shares.filter(|&percent| row.case.case == crowd::mix_name(percent)).map(f64::from).next()
    };
    Plot {
        title: format!("Gets and grabs of all nodes at once over {}", fabric.name()),
        x: Axis::linear("operations on objects that all nodes use, %"),
        y: Axis::doubling("operations a second, all nodes together"),
        lines: lines(measured, "kDDM", percent, |row| row.case.ops_s),
    }
}
