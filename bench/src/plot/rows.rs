//! Named rows over one axis: bars, or boxes that show how values are spread.

use super::{Axis, COLOURS, FONT, Picture, Placed};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels from side to side.
const WIDTH: u32 = 1300;
/// Pixels of a row's height, and of what is around all rows.
const ROW: u32 = 34;
const AROUND: u32 = 170;
/// Pixels for names.
const NAMES: u32 = 400;
/// Text.
const TEXT: u32 = 16;

/// One value, or several of them, in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mark {
    /// A bar from the axis' beginning.
    Bar(f64),
    /// Whiskers from the first to the last of them, a box from the second to the fourth, a line at the third.
    Box([f64; 5]),
}

impl Mark {
    fn values(&self) -> &[f64] {
        match self {
            Mark::Bar(value) => std::slice::from_ref(value),
            Mark::Box(values) => values,
        }
    }

    fn last(&self) -> f64 {
        self.values().iter().copied().fold(f64::MIN, f64::max)
    }
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// To its left.
    pub name: String,
    /// One below the other, in the order of [`Rows::legend`]; there may be fewer.
    pub marks: Vec<Mark>,
    /// Behind the first mark.
    pub note: String,
}

/// Rows.
#[derive(Clone, Debug)]
pub struct Rows {
    /// What is to be seen.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// What the first marks are, the second and so on.
    pub legend: Vec<String>,
    /// From the top.
    pub rows: Vec<Row>,
}

type Chart<'a, D> = ChartContext<'a, D, Cartesian2d<Placed, RangedCoordf64>>;
type Drawn<D> = Result<(), DrawingAreaErrorKind<<D as DrawingBackend>::ErrorType>>;

impl Picture for Rows {
    fn size(&self) -> (u32, u32) {
        (WIDTH, AROUND + ROW * self.rows.len().max(1) as u32)
    }

    fn draw<D: DrawingBackend>(&self, area: &DrawingArea<D, Shift>) -> Drawn<D> {
        let values: Vec<f64> =
            self.rows.iter().flat_map(|row| &row.marks).flat_map(Mark::values).copied().collect();
        // Notes lie behind the longest mark.
        let x = self.x.over(&values, 0.06);
        let (ticks, begin) = (x.ticks.len(), x.ends.0);
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 26))
            .margin(18)
            .x_label_area_size(64)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(x, 0.0..self.rows.len().max(1) as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(ticks)
            .max_light_lines(0)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(&self.x.name)
            .label_style((FONT, TEXT))
            .axis_desc_style((FONT, 20))
            .draw()?;
        for (row, place) in self.rows.iter().rev().zip(0..) {
            self.row(area, &mut chart, row, f64::from(place), begin)?;
        }
        self.explain(area)?;
        area.present()
    }
}

impl Rows {
    /// A row whose lower edge is at `low`.
    fn row<D: DrawingBackend>(
        &self,
        area: &DrawingArea<D, Shift>,
        chart: &mut Chart<'_, D>,
        row: &Row,
        low: f64,
        begin: f64,
    ) -> Drawn<D> {
        let text = |position| (FONT, TEXT).into_text_style(area).pos(position);
        let left = chart.backend_coord(&(begin, low + 0.5));
        let name =
            Text::new(row.name.as_str(), (left.0 - 12, left.1), text(Pos::new(HPos::Right, VPos::Center)));
        area.draw(&name)?;
        let thick = 0.8 / self.legend.len().max(1) as f64;
        for (at, mark) in row.marks.iter().enumerate() {
            let high = low + 0.9 - thick * at as f64;
            self.mark(chart, mark, [high - thick * 0.92, high], COLOURS[at % COLOURS.len()], begin)?;
            if at == 0 && !row.note.is_empty() {
                let end = chart.backend_coord(&(mark.last(), high - thick / 2.0));
                let note = Text::new(
                    row.note.as_str(),
                    (end.0 + 6, end.1),
                    text(Pos::new(HPos::Left, VPos::Center)),
                );
                area.draw(&note)?;
            }
        }
        Ok(())
    }

    fn mark<D: DrawingBackend>(
        &self,
        chart: &mut Chart<'_, D>,
        mark: &Mark,
        [low, high]: [f64; 2],
        colour: RGBColor,
        begin: f64,
    ) -> Drawn<D> {
        match *mark {
            Mark::Bar(value) => {
                chart.draw_series([Rectangle::new([(begin, low), (value, high)], colour.filled())])?;
            }
            Mark::Box([least, quarter, median, three_quarters, most]) => {
                let middle = (low + high) / 2.0;
                let line = |from: (f64, f64), to: (f64, f64), width: u32| {
                    PathElement::new([from, to], colour.stroke_width(width))
                };
                chart.draw_series([line((least, middle), (most, middle), 2)])?;
                let filled =
                    Rectangle::new([(quarter, low), (three_quarters, high)], colour.mix(0.45).filled());
                chart.draw_series([filled])?;
                chart.draw_series([line((median, low), (median, high), 4)])?;
            }
        }
        Ok(())
    }

    /// The legend: under the rows, to the left of the axis' name.
    fn explain<D: DrawingBackend>(&self, area: &DrawingArea<D, Shift>) -> Drawn<D> {
        let (_, height) = self.size();
        for (at, name) in self.legend.iter().enumerate() {
            let (x, y) = (24, height as i32 - 62 + at as i32 * 24);
            area.draw(&Rectangle::new([(x, y), (x + 24, y + 14)], COLOURS[at % COLOURS.len()].filled()))?;
            let style = (FONT, TEXT).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(name.as_str(), (x + 34, y + 7), style))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_kinds_are_drawn_with_their_text() {
        let row = |name: &str, marks: Vec<Mark>| Row { name: name.into(), marks, note: "2.0×".into() };
        let boxes = [1.0, 2.0, 3.0, 4.0, 9.0].map(|value| value * 10.0);
        let rows = Rows {
            title: "rows to look for".into(),
            x: Axis::doubling("µs"),
            legend: vec!["ours".into(), "floor".into()],
            rows: vec![
                row("one & only", vec![Mark::Box(boxes), Mark::Box(boxes.map(|value| value / 2.0))]),
                row("without a floor", vec![Mark::Bar(30.0)]),
            ],
        };
        let directory = tempfile::tempdir().unwrap();
        let [svg, png] = rows.write_in(directory.path(), "rows").unwrap();
        let text = std::fs::read_to_string(svg).unwrap();
        for wanted in ["rows to look for", "one &amp; only", "without a floor", "2.0×", "floor"] {
            assert!(text.contains(wanted), "{wanted} is missing");
        }
        assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
    }
}
