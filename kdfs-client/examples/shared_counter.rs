//! Increments a counter that all programs of the cluster share: `shared_counter RING TIMES`.

use kdfs_client::{Refusal, Session, SetOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(ring), Some(times)) = (arguments.next(), arguments.next()) else {
        return Err("usage: shared_counter RING TIMES".into());
    };
    let session = Session::attach(ring)?;
    // Whoever comes first makes the set; its objects have eight bytes, zeros at first.
    let set = match session.create_set("counters", SetOptions::new(8)) {
        Err(error) if error.refusal() == Some(Refusal::NameTaken) => session.open_set("counters")?,
        made => made?,
    };
    for _ in 0..times.parse()? {
        let mut counter = set.grab(0)?; // nobody else has it, on any node …
        let value = u64::from_le_bytes(counter[..].try_into()?) + 1;
        counter.copy_from_slice(&value.to_le_bytes());
    } // … until it is dropped
    let counter = set.get(0)?;
    println!("{}", u64::from_le_bytes(counter[..].try_into()?));
    Ok(())
}
