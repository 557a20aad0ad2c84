//! docs/c.md: what it shows is what runs.

use crate::installed::{Installed, Linked, source};
use std::fs;

/// The blocks of a page that are marked so.
fn blocks(page: &str, mark: &str) -> Vec<String> {
    let fence = format!("```{mark}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_pages_program_is_the_example_and_its_commands_do_what_they_say() {
    let page = fs::read_to_string(source("docs/c.md")).unwrap();
    let programs = blocks(&page, "c");
    let example = fs::read_to_string(source("kdfs-client/c/examples/counter.c")).unwrap();
    assert_eq!(programs[0], example, "docs/c.md shows another program than examples/counter.c");
    let installed = Installed::new();
    // The other blocks are parts of programs: each is the inside of a function.
    for (number, part) in programs.iter().enumerate().skip(1) {
        let file = installed.prefix().join(format!("part{number}.c"));
        fs::write(&file, format!("{PART}{part}    return 0;\n}}\n")).unwrap();
        installed.compiled(&file, Linked::Shared);
    }

    let commands = blocks(&page, "sh");
    assert_eq!(commands.len(), 2, "how to build, and how to run");
    let programs = kddm_bench::programs::built("kddm").unwrap();
    let script = format!(
        "export PATH=$BIN:$PATH\ncd \"$PREFIX\"\ncp \"$EXAMPLE\" counter.c\ntrap 'kddm playground down --dir try' EXIT\n{}{}",
        commands[0], commands[1]
    );
    // One cluster at a time on this machine; this one's directory stays empty.
    let turn = kddm_tests::Cluster::prepared(kddm_bench::playground::Options::nodes(1));
    let said = installed
        .shell(&script)
        .env("BIN", programs.parent().unwrap())
        .env("EXAMPLE", &source("kdfs-client/c/examples/counter.c"))
        .succeeds();
    drop(turn);
    assert!(said.lines().any(|line| line == "2000"), "{said}");
}

const PART: &str = "#include <errno.h>
#include <fcntl.h>
#include <kddm.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
int part(kddm_session *session, kddm_set *set);
int main(void) { return part(NULL, NULL); }
int part(kddm_session *session, kddm_set *set)
{
    (void)session;
    (void)set;
";
