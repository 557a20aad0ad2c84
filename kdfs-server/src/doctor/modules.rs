//! The kernel's modules for RDMA.

use super::{
    finding::Finding,
    kernel::{self, Version},
    wanted::Wanted,
};
use std::{fs, path::Path};

/// From here on rdma_rxe computes its checksums by itself.
const OWN_CHECKSUMS: Version = Version(6, 15);

/// How a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Module {
    Loaded,
    BuiltIn,
    Loadable,
    Missing,
}

impl Module {
    fn word(self) -> &'static str {
        match self {
            Module::Loaded => "loaded",
            Module::BuiltIn => "built in",
            Module::Loadable => "not loaded (modprobe would)",
            Module::Missing => "not there",
        }
    }

    fn is_ready(self) -> bool {
        matches!(self, Module::Loaded | Module::BuiltIn)
    }
}

/// Looks at modules.
pub fn look(wanted: &Wanted) -> Vec<Finding> {
    let folder = format!("/lib/modules/{}", kernel::release());
    let list = |name: &str| fs::read_to_string(Path::new(&folder).join(name)).unwrap_or_default();
    let (loadable, built_in) = (list("modules.dep"), list("modules.builtin"));
    let module = |name: &str| {
        let loaded = Path::new("/sys/module").join(name).exists();
        module(name, loaded, &loadable, &built_in)
    };
    let old = kernel::version() < OWN_CHECKSUMS;
    let [uverbs, rxe, crc] = ["ib_uverbs", "rdma_rxe", "crc32_generic"].map(module);
    vec![judge_uverbs(uverbs, wanted), judge_rxe(rxe, crc, old)]
}

fn module(name: &str, loaded: bool, loadable: &str, built_in: &str) -> Module {
    let file = format!("/{name}.ko");
    let has = |list: &str| {
        // A line of modules.dep begins with the module, compressed or not, and goes on with those that it needs.
        let mut modules = list.lines().map(|line| line.split(':').next().unwrap_or_default());
        modules
            .any(|path| path.split_once(&file).is_some_and(|(_, end)| end.is_empty() || end.starts_with('.')))
    };
    match () {
        () if has(built_in) => Module::BuiltIn,
        () if loaded => Module::Loaded,
        () if has(loadable) => Module::Loadable,
        () => Module::Missing,
    }
}

fn judge_uverbs(uverbs: Module, wanted: &Wanted) -> Finding {
    let found = format!("ib_uverbs is {}", uverbs.word());
    match uverbs {
        Module::Loaded | Module::BuiltIn => Finding::ok("RDMA modules", found),
        Module::Loadable => Finding::of(wanted.without_rdma(), "RDMA modules", found, "modprobe ib_uverbs"),
        Module::Missing => Finding::of(
            wanted.without_rdma(),
            "RDMA modules",
            format!("{found}: programs cannot use RDMA with this kernel"),
            "the distribution's full kernel instead of its cloud kernel (Debian: linux-image-amd64), then modprobe \
             ib_uverbs; or fabric = \"tcp\"",
        ),
    }
}

/// Soft-RoCE: nobody needs it who has a device.
fn judge_rxe(rxe: Module, crc: Module, old: bool) -> Finding {
    const NAME: &str = "soft-RoCE";
    let found = format!("rdma_rxe is {}", rxe.word());
    match (rxe, old && !crc.is_ready()) {
        (Module::Missing, _) => {
            Finding::ok(NAME, format!("{found}: no RDMA device can be made of a network interface"))
        }
        (_, false) => Finding::ok(NAME, found),
        (_, true) => Finding::note(
            NAME,
            format!("{found}, crc32_generic is {}: adding a device fails without it", crc.word()),
            "modprobe crc32_generic, before rdma link add",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};
    use kddm_cluster::Fabric;

    #[test]
    fn modules_are_found_in_the_kernels_lists() {
        let dep = "kernel/drivers/infiniband/core/ib_uverbs.ko.xz: kernel/drivers/infiniband/core/ib_core.ko.xz\n\
                   kernel/drivers/infiniband/sw/rxe/rdma_rxe.ko: kernel/x/crc32_generic.ko\n";
        assert_eq!(module("ib_uverbs", false, dep, ""), Module::Loadable);
        assert_eq!(module("rdma_rxe", false, dep, ""), Module::Loadable);
        assert_eq!(module("rdma_rxe", true, dep, ""), Module::Loaded);
        assert_eq!(module("crc32_generic", false, dep, ""), Module::Missing, "needed is not there");
        assert_eq!(module("crc32_generic", true, dep, "kernel/crypto/crc32_generic.ko"), Module::BuiltIn);
        assert_eq!(module("ib_uverb", false, dep, ""), Module::Missing);
    }

    #[test]
    fn what_is_missing_is_a_problem_only_for_verbs() {
        let state = |module, fabric| judge_uverbs(module, &Wanted::only(fabric)).state;
        assert_eq!(state(Module::Missing, Fabric::Verbs), State::Problem);
        assert_eq!(state(Module::Loadable, Fabric::Verbs), State::Problem);
        assert_eq!(state(Module::Missing, Fabric::Tcp), State::Note);
        assert_eq!(state(Module::Loaded, Fabric::Verbs), State::Ok);
    }

    #[test]
    fn old_soft_roce_needs_its_checksums() {
        assert_eq!(judge_rxe(Module::Loaded, Module::Missing, true).state, State::Note);
        assert_eq!(judge_rxe(Module::Loaded, Module::Loaded, true).state, State::Ok);
        assert_eq!(judge_rxe(Module::Loaded, Module::Missing, false).state, State::Ok);
        assert_eq!(judge_rxe(Module::Missing, Module::Missing, true).state, State::Ok);
    }
}
