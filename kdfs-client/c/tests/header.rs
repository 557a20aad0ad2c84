//! kddm.h and the library say the same.
#![forbid(unsafe_code)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn header() -> String {
    fs::read_to_string(Path::new(HERE).join("include/kddm.h")).unwrap()
}

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = header();
    // Without comments and macros, which name functions, too.
    let header: String =
        header.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let code: String =
        header.split("/*").map(|part| part.split_once("*/").map_or("", |(_, code)| code)).collect();
    let declarations = code.split(';').filter(|text| !text.contains("typedef"));
    let names = declarations.filter_map(|text| {
        let (before, _) = text.split_once('(')?;
        let name = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        name.starts_with("kddm_").then(|| name.to_owned())
    });
    names.collect()
}

/// The library beside this test.
fn library() -> std::path::PathBuf {
    let me = std::env::current_exe().unwrap();
    me.with_file_name("libkddm.so")
}

#[test]
fn what_the_library_exports_is_what_the_header_declares() {
    let symbols = said(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let exported: BTreeSet<String> =
        symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    assert!(exported.len() > 50, "{exported:?}");
    assert_eq!(exported, declared());
    let dynamic = said(Command::new("readelf").arg("-d").arg(library()));
    assert!(dynamic.contains("Library soname: [libkddm.so.0]"), "{dynamic}");
}

#[test]
fn structures_are_the_same_on_both_sides() {
    let structures = [
        ("kddm_attach_options", kddm::AttachOptions::LAYOUT),
        ("kddm_set_options", kddm::SetOptions::LAYOUT),
        ("kddm_hold_options", kddm::HoldOptions::LAYOUT),
        ("kddm_set_info", kddm::SetInfo::LAYOUT),
        ("kddm_entry", kddm::Entry::LAYOUT),
    ];
    let mut program =
        String::from("#include <kddm.h>\n#define SAME(a, b) typedef char same[(a) == (b) ? 1 : -1]\n");
    let mut fields = 0;
    program += "void check(void);\nvoid check(void)\n{\n";
    for (structure, layout) in structures {
        for (field, at) in layout {
            program += &match field.is_empty() {
                true => format!("    {{ SAME(sizeof({structure}), {at}); (void)(same *)0; }}\n"),
                false => format!("    {{ SAME(offsetof({structure}, {field}), {at}); (void)(same *)0; }}\n"),
            };
            fields += 1;
        }
    }
    program += "}\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layout.c");
    fs::write(&file, &program).unwrap();
    said(
        Command::new("cc")
            .args(["-std=c99", "-fsyntax-only", "-I"])
            .arg(format!("{HERE}/include"))
            .arg(&file),
    );
    // Fields that only the header has would be missed: as many lines as the header's structures have fields.
    let text = header();
    let bodies =
        text.split("typedef struct ").skip(1).filter_map(|rest| rest.split_once('{')?.1.split_once('}'));
    let in_header: usize =
        bodies.map(|(body, _)| body.lines().filter(|line| line.contains(';')).count()).sum();
    assert_eq!(in_header + structures.len(), fields);
}

#[test]
fn the_header_is_clean_in_every_language_that_includes_it() {
    let folder = tempfile::tempdir().unwrap();
    for (compiler, standards, ending) in
        [("cc", ["c99", "c11", "gnu17"], "c"), ("c++", ["c++11", "c++17", "c++20"], "cc")]
    {
        let file = folder.path().join(format!("twice.{ending}"));
        fs::write(
            &file,
            "#include <kddm.h>\n#include <kddm.h>\nint main() { return kddm_last_error() == NULL; }\n",
        )
        .unwrap();
        for standard in standards {
            let mut command = Command::new(compiler);
            command.args([
                &format!("-std={standard}"),
                "-Wall",
                "-Wextra",
                "-pedantic",
                "-Werror",
                "-Wconversion",
            ]);
            command.args(["-fsyntax-only", "-I"]).arg(format!("{HERE}/include")).arg(&file);
            said(&mut command);
        }
    }
}

#[test]
fn the_header_has_the_librarys_version() {
    let line = format!("#define KDDM_VERSION \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(header().contains(&line), "{line}");
}
