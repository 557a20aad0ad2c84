//! What a hit costs beside an uncontended lock: `cargo run -p kddm-memory --example hits`.

mod arena;
mod compare;
mod locks;

fn main() -> Result<(), kddm_memory::MemoryError> {
    println!("median of alternating blocks; lookup included; floor: pthread_rwlock, lock and unlock");
    println!("{:<34} {:>9} {:>9} {:>7} {:>7}", "case", "hit ns", "floor ns", "ratio", "target");
    for case in arena::all()? {
        println!(
            "{:<34} {:>9.1} {:>9.1} {:>7.2} {:>7.1}",
            case.name, case.hit_ns, case.floor_ns, case.ratio, case.target
        );
    }
    Ok(())
}
