//! How the shared library presents itself to the linker and the loader.

/// Counts up with every change that breaks programs which are linked already.
const ABI: u32 = 0;

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libkddm.so.{ABI}");
    // Threads of the library may run, and have values to drop, whenever a program closes it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
