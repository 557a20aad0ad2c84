//! Prometheus's text format, by the `prometheus-client` crate: here is only what saves words.

use kddm_rdma::figures::{Distribution, STEPS};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet,
        prometheus_text::{self, CONTENT_TYPE},
    },
    metrics::MetricType,
    registry::Registry,
};
use std::fmt::{self, Debug};

/// The type of [`text`].
pub const TYPE: &str = CONTENT_TYPE;

/// Names and values that tell the series of one metric apart.
pub type Labels = Vec<(&'static str, String)>;

/// Something that has metrics.
pub trait Exposition: Debug + Send + Sync + 'static {
    /// Writes all of them down.
    fn write(&self, page: &mut Page<'_>) -> fmt::Result;
}

/// What `told` has to tell.
pub fn text(told: impl Exposition) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(told)));
    let mut text = String::with_capacity(64 << 10);
    if let Err(error) = prometheus_text::encode(&mut text, &registry) {
        tracing::error!(reason = %error, "BUG: metrics could not be written");
    }
    text
}

#[derive(Debug)]
struct Collected<T>(T);

impl<T: Exposition> Collector for Collected<T> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Page(encoder))
    }
}

/// Where metrics are written down.
pub struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A count since the server started; `_total` is added to its name.
    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, series, |encoder, count| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }

    /// Something as it is now.
    pub fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, series, |encoder, value| encoder.encode_gauge(&value))
    }

    /// How long things took, in seconds.
    pub fn durations(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, Distribution)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, series, |encoder, times| {
            let seconds = times.nanos as f64 / 1e9;
            encoder.encode_histogram::<NoLabelSet>(seconds, times.count(), &buckets(&times), None)
        })
    }

    fn family<V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl IntoIterator<Item = (Labels, V)>,
        mut write: impl FnMut(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in series {
            match labels.is_empty() {
                true => write(&mut family, value)?,
                false => write(&mut family.encode_family(&labels)?, value)?,
            }
        }
        Ok(())
    }
}

/// One label.
pub fn label(name: &'static str, value: impl ToString) -> Labels {
    vec![(name, value.to_string())]
}

/// The only series of a metric.
pub fn alone<V>(value: V) -> [(Labels, V); 1] {
    [(Labels::new(), value)]
}

/// Every second step, up to 16.8 s, and what took longer: thirteen and one more, since each is a line of text for each series.
fn buckets(times: &Distribution) -> Vec<(f64, u64)> {
    let steps: Vec<usize> = (0..STEPS).step_by(2).collect();
    let end = |step: usize| Distribution::end_of(step).map_or(f64::INFINITY, |end| end.as_secs_f64());
    let mut from = 0;
    let mut buckets = Vec::with_capacity(steps.len() + 1);
    for step in steps {
        buckets.push((end(step), times.counts[from..=step].iter().sum()));
        from = step + 1;
    }
    buckets.push((f64::INFINITY, times.counts[from..].iter().sum()));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(Debug)]
    struct Sample;

    impl Exposition for Sample {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            let mut times = Distribution::default();
            [1, 3, 4, 5, 20_000_000].iter().for_each(|micros| times.record(Duration::from_micros(*micros)));
            page.counter("c", "A count", [(label("kind", "a\"b"), 3), (label("kind", "d"), 0)])?;
            page.gauge("g", "A gauge", alone(7_u64))?;
            page.durations("t_seconds", "Times", alone(times))
        }
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let text = text(Sample);
        for line in [
            "# TYPE c_total counter",
            "c_total{kind=\"a\\\"b\"} 3",
            "c_total{kind=\"d\"} 0",
            "g 7",
            "t_seconds_count 5",
            "t_seconds_sum 20.000013",
            "t_seconds_bucket{le=\"1e-06\"} 1",
            "t_seconds_bucket{le=\"4e-06\"} 3",
            "t_seconds_bucket{le=\"1.6e-05\"} 4",
            "t_seconds_bucket{le=\"16.777216\"} 4",
            "t_seconds_bucket{le=\"+Inf\"} 5",
        ] {
            assert!(text.lines().any(|other| other == line), "no line {line} in\n{text}");
        }
        assert_eq!(text.matches("_bucket").count(), 14);
    }
}
