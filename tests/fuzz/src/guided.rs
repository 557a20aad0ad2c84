//! libFuzzer's door to the targets: `tests/fuzz/guided` builds and runs it. `KDDM_FUZZ` names the target.
#![forbid(unsafe_code)]
#![no_main]

use kddm_fuzz::{Target, target};
use std::sync::OnceLock;

static CHOSEN: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("KDDM_FUZZ").unwrap_or_default();
        let chosen = target(&name).unwrap_or_else(|| panic!("KDDM_FUZZ={name:?} names no target: kddm-fuzz list"));
        CHOSEN.set(chosen).ok().expect("BUG: chosen twice");
    },
    |input: &[u8]| {
        if let Some(target) = CHOSEN.get() {
            (target.check)(input);
        }
    }
);
