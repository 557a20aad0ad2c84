//! Metrics, as docs/metrics.md lists them and as a server tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The list of metrics.
pub const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// Names of metrics with the names of their labels.
pub type Metrics = BTreeMap<String, BTreeSet<String>>;

/// Those of the document: the first and the third cell of each row whose second is a type.
pub fn documented() -> Metrics {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `k"));
    let cells = rows.map(|row| row.split('|').map(str::trim).skip(1).collect::<Vec<_>>());
    let metrics = cells.filter(|cells| ["counter", "gauge", "histogram"].contains(&cells[1]));
    metrics
        .map(|cells| {
            let labels = cells[2].split(',').map(|label| label.trim().trim_matches('`').to_owned());
            (cells[0].trim_matches('`').to_owned(), labels.filter(|label| !label.is_empty()).collect())
        })
        .collect()
}

/// A page of metrics: each series with its value.
pub struct Page(BTreeMap<String, f64>);

impl Page {
    /// What the server at `socket` tells now.
    pub fn fetch(socket: SocketAddr) -> Page {
        let mut stream = TcpStream::connect(socket).unwrap_or_else(|error| panic!("{socket}: {error}"));
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time to wait");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: kddm\r\n\r\n").expect("a request is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let series = body.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        });
        Page(series.collect())
    }

    /// The value of a series, written as in the page.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("there is no series {series}"))
    }

    /// The sum of all series of a metric.
    pub fn sum(&self, metric: &str) -> f64 {
        let of = |series: &str| series.split('{').next() == Some(metric);
        self.0.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }

    /// The metrics that it has, histograms under their own names.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        for series in self.0.keys() {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels: BTreeSet<String> =
                labels.trim_end_matches('}').split("\",").filter_map(label).collect();
            let of = histogram_of(name).unwrap_or(name);
            metrics.entry(of.to_owned()).or_default().extend(labels);
        }
        metrics
    }
}

/// The histogram that a series belongs to, if it belongs to one.
pub fn histogram_of(name: &str) -> Option<&str> {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|name| name.ends_with("_seconds"))
}

fn label(text: &str) -> Option<String> {
    let (name, _) = text.split_once('=')?;
    (name != "le").then(|| name.to_owned())
}
