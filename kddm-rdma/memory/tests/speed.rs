//! A hit costs at most twice an uncontended lock, lookup included; 2.5 times at random over 65536 objects.

#[path = "../examples/hits/locks.rs"]
mod locks;
#[path = "../examples/hits/measure.rs"]
mod measure;

#[test]
fn a_hit_costs_no_more_than_promised() {
    let mut slow = Vec::new();
    // On a busy machine one run may be disturbed; that all three are has another reason.
    for _ in 0..3 {
        slow = measure::all().unwrap();
        for case in &slow {
            println!(
                "{}: {:.1} ns, lock {:.1} ns, ratio {:.2}",
                case.name, case.hit_ns, case.floor_ns, case.ratio
            );
        }
        slow.retain(|case| case.ratio > case.target);
        if slow.is_empty() {
            return;
        }
    }
    let names: Vec<_> = slow.iter().map(|case| (case.name, case.ratio, case.target)).collect();
    panic!("slower than promised (case, ratio, target): {names:?}");
}
