//! One row of a report.

use super::Latencies;
use serde::Serialize;

/// One row: an operation on a node, with its floor if it has one. What does not apply is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Case {
    /// The operation.
    pub case: String,
    /// The fabric between the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fabric: Option<String>,
    /// The node that the operation was called on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Which node is the object's home, where that makes a difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// How many nodes the cluster has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u64>,
    /// Nodes with a copy before the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharers: Option<u64>,
    /// Bytes that one operation moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Samples.
    pub count: u64,
    /// How long one takes.
    #[serde(flatten)]
    pub times: Option<Times>,
    /// Throughput, for cases that move much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mib_s: Option<f64>,
    /// Operations a second: one after the other, or as many at a time as the case says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops_s: Option<f64>,
    /// Protocol messages handled a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_s: Option<f64>,
    /// What it is measured beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// The floor's median, from alternating blocks of the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_us: Option<f64>,
    /// Median over the floor's median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The fastest tenth of the samples is not longer, in µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p10_us: Option<f64>,
    /// The same of the floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_p10_us: Option<f64>,
    /// One over the other: what a busy machine hides least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_p10: Option<f64>,
    /// Protocol messages per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<f64>,
    /// READs per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<f64>,
    /// READs beside the request, per operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculated: Option<f64>,
    /// The part of those that was good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good: Option<f64>,
    /// Virtual time until the operation is complete, in one-way latencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hops: Option<f64>,
    /// Bytes of messages per operation, as they go over the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_bytes: Option<f64>,
    /// Bytes that one operation allocates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<f64>,
    /// Bytes of the directory per object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory_bytes: Option<f64>,
}

/// What a histogram says, in µs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// The shortest.
    pub min_us: f64,
    /// The median.
    pub p50_us: f64,
    /// 99 of 100 are not longer.
    pub p99_us: f64,
    /// 999 of 1000 are not longer.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Case {
    /// The row of `name`, from what was measured.
    pub fn new(name: impl Into<String>, ours: &Latencies) -> Case {
        let us = |share| ours.quantile_us(share);
        let times =
            Times { min_us: us(0.0), p50_us: us(0.5), p99_us: us(0.99), p999_us: us(0.999), max_us: us(1.0) };
        Case { count: ours.count(), times: Some(times), p10_us: Some(us(0.1)), ..Case::counted(name, 0) }
    }

    /// The row of `name`, of which `count` were counted, not timed.
    pub fn counted(name: impl Into<String>, count: u64) -> Case {
        Case { case: name.into(), count, ..Case::default() }
    }

    /// The median in µs; 0 where no time was taken.
    pub fn p50_us(&self) -> f64 {
        self.times.map_or(0.0, |times| times.p50_us)
    }

    /// With a median of µs that is finer than the histogram's.
    #[must_use]
    pub fn with_median(self, p50_us: f64) -> Case {
        let times = self.times.map(|times| Times { p50_us, ..times });
        let ratio = self.floor_us.filter(|&floor| floor > 0.0).map(|floor| p50_us / floor);
        Case { times, ratio, ..self }
    }

    /// Called on `node`.
    #[must_use]
    pub fn on(self, node: impl Into<String>) -> Case {
        Case { node: Some(node.into()), ..self }
    }

    /// Moving `bytes` each.
    #[must_use]
    pub fn moving(self, bytes: u64) -> Case {
        let p50_us = self.p50_us();
        let mib_s =
            (bytes >= 64 * 1024 && p50_us > 0.0).then(|| bytes as f64 / f64::from(1 << 20) / (p50_us / 1e6));
        Case { bytes: Some(bytes), mib_s, ..self }
    }

    /// Beside `floor`.
    #[must_use]
    pub fn beside(self, name: &str, floor: &Latencies) -> Case {
        let floor_us = floor.quantile_us(0.5);
        let ratio = (floor_us > 0.0).then(|| self.p50_us() / floor_us);
        let fastest = floor.quantile_us(0.1);
        let ratio_p10 = self.p10_us.filter(|_| fastest > 0.0).map(|ours| ours / fastest);
        let floor = Some(name.into());
        Case { floor, floor_us: Some(floor_us), floor_p10_us: Some(fastest), ratio, ratio_p10, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_does_not_apply_is_left_out() {
        let mut ours = Latencies::default();
        let mut floor = Latencies::default();
        for us in 1..=100 {
            ours.add(Duration::from_micros(us * 2));
            floor.add(Duration::from_micros(us));
        }
        let case = Case::new("stat", &ours).on("n1").beside("native", &floor);
        assert!((case.ratio.unwrap() - 2.0).abs() < 0.05, "{case:?}");
        let json = serde_json::to_value(&case).unwrap();
        assert_eq!((&json["count"], &json["node"]), (&100.into(), &"n1".into()));
        assert!(json["p50_us"].as_f64().is_some_and(|us| (99.0..102.0).contains(&us)), "{json}");
        assert!(json.get("mib_s").is_none() && json.get("reads").is_none() && json.get("times").is_none());
        let json = serde_json::to_value(Case::counted("get", 1)).unwrap();
        assert!(json.get("p50_us").is_none(), "{json}");
    }
}
