fn main() {
    let seed: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let log = std::env::args().nth(3).is_some();
    let mut total = std::collections::BTreeMap::new();
    let t = std::time::Instant::now();
    let mut bad = 0;
    for s in seed..seed + n {
        let r = std::panic::catch_unwind(|| kddm_sim::run(s, kddm_sim::Log::new(log)));
        match r {
            Ok(Ok(r)) => {
                for (k, v) in r.coverage {
                    *total.entry(k).or_insert(0) += v;
                }
                if n < 20 {
                    println!(
                        "{s}: {:x} {} events {} ops {:?}",
                        r.fingerprint, r.events, r.operations, r.time
                    );
                }
            }
            Ok(Err(f)) => {
                bad += 1;
                println!(
                    "seed {s}: {}",
                    f.to_string().chars().take(if log { 100000 } else { 1500 }).collect::<String>()
                );
            }
            Err(_) => {
                bad += 1;
                println!("seed {s}: PANIC");
            }
        }
    }
    println!("{total:#?}\n{n} seeds {bad} findings {:?}", t.elapsed());
}
