//! perftest's figures, from the same machines: what others call the latency of a READ and of a message, and the rate of READs.

use crate::report::{Case, Times};
use anyhow::{Context, Result};
use std::path::Path;

/// The rows of what `ib_read_lat`, `ib_send_lat` and `ib_read_bw` printed, in files of these names in `directory`.
///
/// # Errors
/// A file is not there, or has no row of figures.
pub fn rows(directory: &Path) -> Result<Vec<Case>> {
    ["ib_read_lat", "ib_send_lat", "ib_read_bw"].iter().map(|name| row(directory, name)).collect()
}

fn row(directory: &Path, name: &str) -> Result<Case> {
    let path = directory.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    parse(name, &text).with_context(|| format!("{}: no row of figures that {name} prints", path.display()))
}

/// perftest prints a row of figures after a line that begins with ` #bytes`: bytes, iterations, and, of latencies, the least, the largest,
/// the median, the mean, the deviation and two quantiles in µs; of rates, the peak and the mean in MB/s, which are 2^20 bytes.
fn parse(name: &str, text: &str) -> Option<Case> {
    let after = text.lines().skip_while(|line| !line.trim_start().starts_with("#bytes")).skip(1);
    let figures = |line: &str| line.split_whitespace().map_while(|figure| figure.parse().ok()).collect();
    let figures: Vec<f64> = after.map(figures).find(|figures: &Vec<f64>| !figures.is_empty())?;
    let [bytes, count] = [*figures.first()?, *figures.get(1)?];
    let case = Case::counted(format!("perftest: {name}"), count as u64).on("n2");
    let case = Case { bytes: Some(bytes as u64), fabric: Some("verbs".into()), ..case };
    Some(match name.ends_with("_bw") {
        true => Case { mib_s: Some(*figures.get(3)?), ..case },
        false => {
            let [min_us, max_us, p50_us] = [*figures.get(2)?, *figures.get(3)?, *figures.get(4)?];
            let [p99_us, p999_us] = [*figures.get(7)?, *figures.get(8)?];
            Case { times: Some(Times { min_us, p50_us, p99_us, p999_us, max_us }), ..case }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perftest_prints_is_understood() {
        let latency = "\
 remote address: LID 0000 QPN 0x0011 PSN 0x16d23a
---------------------------------------------------------------------------------------
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec] 
Conflicting CPU frequency values detected
 4096    300          255.13         3000.50      331.25              350.10          80.00            900.00                3000.50
---------------------------------------------------------------------------------------
";
        let plain = latency.replace("Conflicting CPU frequency values detected\n", "");
        let case = parse("ib_read_lat", &plain).unwrap();
        let times = case.times.unwrap();
        assert_eq!((case.bytes, case.count, times.min_us, times.p50_us), (Some(4096), 300, 255.13, 331.25));
        assert_eq!((times.p99_us, times.p999_us, times.max_us), (900.0, 3000.5, 3000.5));
        assert!(parse("ib_read_lat", latency).is_some(), "what it says in between is passed over");
        let rate = " #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]\n 65536      200              41.20              40.50               0.000648\n";
        assert_eq!(parse("ib_read_bw", rate).unwrap().mib_s, Some(40.5));
        for wrong in ["", " #bytes\n", " #bytes\n 1 2 3\n", "Couldn't connect to 10.0.0.1:18515\n"] {
            assert!(parse("ib_send_lat", wrong).is_none(), "{wrong:?}");
        }
    }
}
