//! `kddm-bench`: alternation, trees and latencies by hand, and the demo.
#![forbid(unsafe_code)]
fn main() {}
