//! An installed libkddm, and programs built with it.

use kddm_bench::programs::built;
use kddm_tests::Shell;
use std::path::{Path, PathBuf};

/// Warnings that are errors, for C.
pub const STRICT: &str = "-std=c11 -D_GNU_SOURCE -Wall -Wextra -pedantic -Werror -O1 -g";

/// A prefix with libkddm in it; gone when dropped.
pub struct Installed {
    prefix: tempfile::TempDir,
}

/// How a program is linked.
#[derive(Clone, Copy, Debug)]
pub enum Linked {
    /// With libkddm.so.
    Shared,
    /// With libkddm.a, and shared libraries of the system.
    Archive,
    /// All of it.
    Static,
}

impl Installed {
    pub fn new() -> Installed {
        let prefix = tempfile::Builder::new().prefix("kddm-c-").tempdir().unwrap();
        let installed = Installed { prefix };
        let target = built("kddm").unwrap().ancestors().nth(2).unwrap().to_owned();
        let install = Shell::new(r#""$INSTALL""#).env("INSTALL", &source("kdfs-client/c/install"));
        install.env("PREFIX", installed.prefix()).env("CARGO_TARGET_DIR", &target).succeeds();
        // Users who are not root run what is built here.
        Shell::new(r#"chmod 755 "$PREFIX""#).env("PREFIX", installed.prefix()).succeeds();
        installed
    }

    pub fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// A script that finds the library as a user's would: `$CFLAGS` and `$LIBS` are from pkg-config.
    pub fn shell(&self, script: &str) -> Shell {
        let script = format!(
            "export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig LD_LIBRARY_PATH=$PREFIX/lib\n\
             CFLAGS=$(pkg-config --cflags kddm) LIBS=$(pkg-config --libs kddm)\n{script}"
        );
        Shell::new(&script).env("PREFIX", self.prefix())
    }

    /// Compiles a source file, without a warning.
    pub fn compiled(&self, file: &Path, linked: Linked) -> PathBuf {
        let name = format!("{}-{linked:?}", file.file_stem().unwrap().to_string_lossy());
        let program = self.prefix().join(name);
        let libraries = match linked {
            Linked::Shared => "$LIBS",
            Linked::Archive => "$PREFIX/lib/libkddm.a",
            Linked::Static => "-static $(pkg-config --static --libs kddm)",
        };
        self.shell(&format!(r#"cc {STRICT} $CFLAGS "$SOURCE" -o "$PROGRAM" -pthread {libraries}"#))
            .env("SOURCE", file)
            .env("PROGRAM", &program)
            .succeeds();
        program
    }

    /// Compiles a program of these tests.
    pub fn program(&self, name: &str) -> PathBuf {
        self.compiled(&source(&format!("tests/tests/c_abi/programs/{name}.c")), Linked::Shared)
    }
}

/// A file of the sources.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
