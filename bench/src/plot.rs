//! Pictures for reports: `target/report/NAME.svg` and `NAME.png`, drawn alike.
//!
//! The font is built in (DejaVu Sans), so that a machine without fonts draws them too.

mod rows;

pub use rows::{Mark, Row, Rows};

use crate::report;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::register_font;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Pixels of a picture.
const SIZE: (u32, u32) = (1000, 600);
/// The name by which the drawing library finds the font, and by which a viewer of the SVG finds its own.
const FONT: &str = "sans-serif";
/// Colours that differ for colour-blind readers too (Okabe and Ito, Color Universal Design, 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

/// How the values of an axis lie on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps, equal distances; from 0.
    Linear,
    /// Doubling is a step; values are greater than 0.
    Doubling,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Doubling => value.max(f64::MIN_POSITIVE).log2(),
        }
    }
}

/// An axis: its name, with the unit, and its scale.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is shown, in which unit.
    pub name: String,
    /// How.
    pub scale: Scale,
}

/// Points joined by a line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What they are.
    pub name: String,
    /// Where they are, x ascending.
    pub points: Vec<(f64, f64)>,
}

/// Lines over two axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What is to be seen.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The lines; the legend has them in this order.
    pub lines: Vec<Line>,
}

impl Axis {
    /// An axis with equal steps from 0.
    pub fn linear(name: &str) -> Axis {
        Axis { name: name.into(), scale: Scale::Linear }
    }

    /// An axis on which doubling is a step.
    pub fn doubling(name: &str) -> Axis {
        Axis { name: name.into(), scale: Scale::Doubling }
    }

    /// The axis for these values, of which a share `air` is above the highest.
    fn over(&self, values: &[f64], air: f64) -> Placed {
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let most = values.iter().copied().fold(f64::MIN, f64::max).max(least);
        let (least, most) = if values.is_empty() { (1.0, 2.0) } else { (least, most) };
        let ticks = self.ticks(least, most);
        let ends = match self.scale {
            Scale::Linear => {
                let last = ticks.last().copied().unwrap_or(most);
                (0.0, (most.max(f64::MIN_POSITIVE) / (1.0 - air)).max(last))
            }
            Scale::Doubling => {
                let first = ticks.first().copied().unwrap_or(least);
                (first, first * (most.max(first * 2.0) / first).powf(1.0 / (1.0 - air)))
            }
        };
        Placed { scale: self.scale, ticks, ends }
    }

    /// The values that get a tick: on the doubling scale powers of two, a dozen at most.
    fn ticks(&self, least: f64, most: f64) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step_of(most);
                (0..).map(|at| f64::from(at) * step).take_while(|&tick| tick < most + step * 0.999).collect()
            }
            Scale::Doubling => {
                let (first, last) = (least.log2().floor() as i32, most.log2().ceil() as i32);
                let stride = ((last - first) / 12 + 1) as usize;
                (first..=last).step_by(stride).map(|power| 2f64.powi(power)).collect()
            }
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that makes five to a dozen ticks up to `most`.
fn step_of(most: f64) -> f64 {
    let rough = (most / 10.0).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough * 0.999).unwrap_or(10.0);
    step * power
}

/// Something that can be drawn on anything.
pub trait Picture {
    /// Pixels, to the right and down.
    fn size(&self) -> (u32, u32);

    /// Draws it.
    ///
    /// # Errors
    /// What is drawn on fails.
    fn draw<D: DrawingBackend>(
        &self,
        area: &DrawingArea<D, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<D::ErrorType>>;

    /// Draws both files in `target/report`; where they are.
    ///
    /// # Errors
    /// If there is nothing to draw, or a file cannot be written.
    fn write(&self, name: &str) -> Result<[PathBuf; 2]> {
        self.write_in(&report::directory()?, name)
    }

    /// The same in another directory.
    ///
    /// # Errors
    /// As [`Picture::write`].
    fn write_in(&self, directory: &Path, name: &str) -> Result<[PathBuf; 2]> {
        register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
            .map_err(|_| anyhow!("BUG: the font that is built in is none"))?;
        let [svg, png] = ["svg", "png"].map(|kind| directory.join(format!("{name}.{kind}")));
        let failed = |path: &Path, why: String| anyhow!("drawing {}: {why}", path.display());
        let drawn = self.draw(&SVGBackend::new(&svg, self.size()).into_drawing_area());
        drawn.map_err(|error| failed(&svg, error.to_string()))?;
        let drawn = self.draw(&BitMapBackend::new(&png, self.size()).into_drawing_area());
        drawn.map_err(|error| failed(&png, error.to_string()))?;
        Ok([svg, png])
    }
}

impl Picture for Plot {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<D: DrawingBackend>(
        &self,
        area: &DrawingArea<D, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<D::ErrorType>> {
        let values = |which: fn(&(f64, f64)) -> f64| -> Vec<f64> {
            self.lines.iter().flat_map(|line| line.points.iter().map(which)).collect()
        };
        // The legend lies above the lines.
        let legend = if self.lines.len() > 1 { self.lines.len() as f64 * 24.0 + 30.0 } else { 0.0 };
        let x = self.x.over(&values(|point| point.0), 0.05);
        let y = self.y.over(&values(|point| point.1), 0.05 + legend / f64::from(SIZE.1 - 130));
        let [x_ticks, y_ticks] = [x.ticks.len(), y.ticks.len()];
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 26))
            .margin(18)
            .x_label_area_size(64)
            .y_label_area_size(96)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_labels(x_ticks)
            .y_labels(y_ticks)
            .max_light_lines(0)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(&self.x.name)
            .y_desc(&self.y.name)
            .label_style((FONT, 18))
            .axis_desc_style((FONT, 20))
            .draw()?;
        for (at, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            // Later lines are thinner: where two lie on each other both are seen.
            let width = 3 + 2 * (self.lines.len() - 1 - at).min(4) as u32;
            let points = || line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points(), colour.stroke_width(width)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 26, y)], colour.stroke_width(5)));
            chart.draw_series(points().map(|point| Circle::new(point, width / 2 + 4, colour.filled())))?;
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .margin(12)
                .legend_area_size(36)
                .background_style(WHITE.mix(0.85))
                .border_style(RGBColor(190, 190, 190))
                .label_font((FONT, 18))
                .draw()?;
        }
        area.present()
    }
}

/// An axis that knows where its values lie and which of them are named.
struct Placed {
    scale: Scale,
    ticks: Vec<f64>,
    /// The first and the last value.
    ends: (f64, f64),
}

impl Ranged for Placed {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let [low, high, value] = [self.ends.0, self.ends.1, *value].map(|value| self.scale.place(value));
        first + ((value - low) / (high - low) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.ends.0..self.ends.1
    }
}

impl ValueFormatter<f64> for Placed {
    fn format_ext(&self, value: &f64) -> String {
        match *value {
            value if value >= 1e6 => format!("{} M", rounded(value / 1e6)),
            value if value >= 1e4 => format!("{} k", rounded(value / 1e3)),
            value => rounded(value),
        }
    }
}

/// Up to two decimals, and no more than are needed.
fn rounded(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(Axis::doubling("").ticks(2.0, 250.0), [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]);
        assert_eq!(Axis::linear("").ticks(0.0, 5.0).len(), 11);
        for most in [0.7, 3.0, 64.0, 511.0, 123_456.0] {
            let ticks = Axis::linear("").ticks(0.0, most);
            assert!((5..=13).contains(&ticks.len()), "{most}: {ticks:?}");
        }
        let axis = Axis::doubling("").over(&[2.0, 20_000.0], 0.1);
        assert_eq!(axis.format_ext(&16384.0), "16.38 k");
        assert_eq!(axis.format_ext(&0.5), "0.5");
        // Doubling is the same distance everywhere.
        let [two, four, eight] = [2.0, 4.0, 8.0].map(|value| axis.map(&value, (0, 100_000)));
        assert!(two == 0 && four > 0 && (eight - 2 * four).abs() <= 1, "{two} {four} {eight}");
    }

    #[test]
    fn both_files_are_drawn_and_have_their_text() {
        let plot = Plot {
            title: "a title to look for".into(),
            x: Axis::doubling("nodes"),
            y: Axis::linear("messages"),
            lines: vec![Line { name: "get".into(), points: vec![(2.0, 1.0), (8.0, 2.0)] }],
        };
        let [svg, png] = plot.write("plot-test").unwrap();
        let text = std::fs::read_to_string(&svg).unwrap();
        assert!(text.contains("a title to look for") && text.contains("messages"), "{text}");
        assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
        for path in [svg, png] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
