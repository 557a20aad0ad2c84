//! Several operations, or several nodes, at once.

use super::cases::{self, OWNER, REQUESTER, distant, place};
use super::conductor::{times, turns};
use super::control::{Deed, Keys, Mix, Order, Turn};
use super::floor::{MAX_READ, MAX_WIDTH};
use super::measure::{Bench, Measured, Samples};
use super::pattern::Step::{All, Read};
use super::pattern::{Program, Rank};
use crate::report::Case;
use anyhow::{Result, ensure};
use std::time::Duration;

/// Objects of a range.
const RANGE: u32 = 256;
/// Bytes of each.
const PAGE: u32 = 4096;
/// Objects that a mix shares, and that each node has for itself.
const MIXED: u32 = 64;
/// How many of a hundred operations of a mix go to shared objects.
pub const SHARING: [u32; 5] = [0, 25, 50, 75, 100];

/// The numbers of gets in flight.
pub fn widths() -> impl Iterator<Item = u32> {
    (0..).map(|power| 1 << power).take_while(|&width| width <= MAX_WIDTH)
}

/// What [`flight`] is called.
pub fn flight_name(width: u32) -> String {
    format!("get first, {width} in flight")
}

/// What [`mix`] is called.
pub fn mix_name(percent: u32) -> String {
    format!("mixed, {percent} % shared")
}

/// `holders` nodes grab one object in turn. From a put to the next hold.
pub fn hand_over(bench: &mut Bench, holders: Rank, bytes: u32) -> Result<Measured> {
    let nodes = bench.cluster.nodes();
    let home = if holders > distant(nodes) { holders - 1 } else { distant(nodes) };
    let program = Program::of(&cases::hand_over(holders, home, bytes), REQUESTER)?;
    let block = bench.size.block;
    let total = block * u32::from(holders);
    let samples = bench.blocks(block, |bench, samples| {
        let keys = bench.fresh(Some(home), bytes, 1);
        let orders = (0..holders).map(|rank| (rank, Order::Alternate(keys, holders.into(), total)));
        let answers = bench.counted(samples, |cluster| cluster.together(orders))?;
        let answers: Vec<Vec<Turn>> = answers.into_iter().map(turns).collect::<Result<_>>()?;
        between_holds(&answers).into_iter().for_each(|time| samples.ours.add(time));
        // Everybody grabs once to come, and once to see that it is over.
        samples.operations += u64::from(total) + 2 * u64::from(holders);
        let taken = bench.cluster.walk(&program, block, 1)?;
        let turn = |&round: &u64| Duration::from_nanos(round) / u32::from(holders);
        taken.each.iter().map(turn).for_each(|time| samples.floor.add(time));
        bench.act(home, Deed::Remove, keys)
    })?;
    ensure!(samples.ours.count() > 0, "{holders} nodes never took turns");
    let row = bench.row(&format!("hand-over among {holders} nodes"), bytes.into(), samples);
    Ok(Measured { case: Case { home: Some(place(home).into()), ..row.case }, ..row })
}

/// The mean time from a put to the next hold, of each round in which all held once: what a node waited is as many hand-overs as
/// there are nodes, and the holds of the others. No clock is compared with another node's.
fn between_holds(nodes: &[Vec<Turn>]) -> Vec<Duration> {
    let mut turns: Vec<(usize, Turn)> = nodes
        .iter()
        .enumerate()
        .flat_map(|(node, turns)| turns.iter().map(move |&turn| (node, turn)))
        .collect();
    turns.sort_by_key(|(_, turn)| turn.number);
    let round = |round: &[(usize, Turn)]| {
        let ((first, others), (node, last)) = (round.split_first()?, round.last()?);
        let others = &others[..others.len() - 1];
        let fair = first.0 == *node && others.iter().all(|(other, _)| other != node);
        let held: u64 = others.iter().map(|(_, turn)| turn.held).sum();
        let waited = last.waited.filter(|_| fair)?.checked_sub(held)?;
        Some(Duration::from_nanos(waited / nodes.len() as u64))
    };
    turns.windows(nodes.len() + 1).filter_map(round).collect()
}

/// 1 MiB in objects that another node owns, prefetched; beside READs of 64 KiB.
pub fn range(bench: &mut Bench) -> Result<Measured> {
    let home = distant(bench.cluster.nodes());
    let bytes = RANGE * PAGE;
    let reads = (0..bytes / MAX_READ).map(|_| vec![Read(OWNER, MAX_READ)]).collect();
    let program = Program::of(&vec![All(reads)], REQUESTER)?;
    // A range takes as long as many gets: a tenth of them will do.
    let samples = bench.blocks(10, |bench, samples| {
        let keys = bench.fresh(Some(home), PAGE, RANGE);
        bench.act(OWNER, Deed::Get, keys)?;
        let order = Order::Range(keys);
        let taken = bench.counted(samples, |cluster| times(cluster.one(REQUESTER, &order)?))?;
        samples.add(&taken);
        bench.floor(samples, &program, 1, 1)?;
        bench.act(home, Deed::Remove, keys)
    })?;
    let row = bench.row("sequential range, 256 objects of 4096 B", bytes.into(), samples);
    Ok(Measured { case: Case { home: Some(place(home).into()), ..row.case }, ..row })
}

/// Gets of shared objects, `width` in flight; beside as many walks in flight.
pub fn flight(bench: &mut Bench, width: u32, bytes: u32) -> Result<Measured> {
    let nodes = bench.cluster.nodes();
    let home = distant(nodes);
    let program = Program::of(&cases::get_shared(nodes, home, bytes), REQUESTER)?;
    let count = bench.size.block.max(width * 4);
    let samples = bench.blocks(count, |bench, samples| {
        let keys = bench.fresh(Some(home), bytes, count);
        bench.act(OWNER, Deed::Get, keys)?;
        let order = Order::Flight(keys, width);
        let taken = bench.counted(samples, |cluster| times(cluster.one(REQUESTER, &order)?))?;
        samples.add(&taken);
        bench.floor(samples, &program, count, width)?;
        bench.act(home, Deed::Remove, keys)
    })?;
    let ops_s = samples.operations as f64 / (samples.all.max(1) as f64 / 1e9);
    let row = bench.row(&flight_name(width), bytes.into(), samples);
    let mib_s = Some(ops_s * f64::from(bytes) / f64::from(1 << 20)).filter(|_| bytes >= PAGE);
    let case = Case { home: Some(place(home).into()), ops_s: Some(ops_s), mib_s, ..row.case };
    Ok(Measured { case, ..row })
}

/// All nodes get and grab at once, half of each; `percent` of a hundred go to objects that all of them use.
pub fn mix(bench: &mut Bench, percent: u32, bytes: u32) -> Result<Measured> {
    let shared = bench.fresh(None, bytes, MIXED);
    let own: Vec<(Rank, Keys)> =
        bench.cluster.ranks().into_iter().map(|rank| (rank, bench.fresh(None, bytes, MIXED))).collect();
    // Everything has been touched before, by whom it belongs to.
    for &(rank, keys) in own.iter().chain([&(REQUESTER, shared)]) {
        bench.act(rank, Deed::Grab, keys)?;
    }
    let operations = bench.size.count;
    let orders = own.iter().map(|&(rank, own)| {
        (rank, Order::Mix(Mix { shared, own, percent, operations, seed: u64::from(rank) }))
    });
    let mut samples = Samples::default();
    let answers = bench.counted(&mut samples, |cluster| cluster.together(orders))?;
    let mut longest = 0;
    for answer in answers {
        let taken = times(answer)?;
        longest = taken.all.max(longest);
        samples.add(&taken);
    }
    for keys in own.iter().map(|&(_, own)| own).chain([shared]) {
        bench.act(REQUESTER, Deed::Remove, keys)?;
    }
    let ops_s = samples.operations as f64 / (longest.max(1) as f64 / 1e9);
    let row = bench.row(&mix_name(percent), bytes.into(), samples);
    let nodes = Some(u64::from(bench.cluster.nodes()));
    let case = Case { node: Some("all".into()), nodes, ops_s: Some(ops_s), ..row.case };
    Ok(Measured { case, ..row })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(number: u32, waited: Option<u64>, held: u64) -> Turn {
        Turn { number, waited, held }
    }

    #[test]
    fn a_hand_over_is_what_was_waited_without_the_others_holds() {
        // Two hand-overs of 10 ns around a hold of 50.
        let [a, b] =
            [[turn(0, None, 100), turn(2, Some(70), 100)], [turn(1, None, 50), turn(3, Some(120), 50)]];
        let times = between_holds(&[a.to_vec(), b.to_vec()]);
        assert_eq!(times, [Duration::from_nanos(10), Duration::from_nanos(10)]);
    }

    #[test]
    fn a_round_in_which_somebody_held_twice_does_not_count() {
        let a = vec![turn(0, None, 100), turn(1, Some(1), 100), turn(3, Some(70), 100)];
        let b = vec![turn(2, None, 50)];
        assert_eq!(between_holds(&[a, b]), [Duration::from_nanos(10)]);
    }

    #[test]
    fn flights_double() {
        assert_eq!(widths().collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64]);
    }
}
