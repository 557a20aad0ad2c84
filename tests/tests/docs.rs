//! The pages of the manual that show commands are run, and what they show is compared with what happens.
//!
//! In ```` ```console ```` blocks a line `$ command` (continued by lines `> …`) is followed by what it prints, on either output. All commands
//! of a page run in order in one bash, in a new directory; `/tmp/try` stands for a directory that is not there yet. A block of any other
//! language with a name behind it (```` ```c counter.c ````) is a file in that directory.
//!
//! What may differ from run to run: `…` in a line is one or more characters, a line of its own is one or more lines; below
//! `<!-- numbers vary -->` every number is any number. Where something may differ, the width of gaps may as well.
#![forbid(unsafe_code)]

use kddm_bench::{
    playground::Options,
    programs::{built, run, said},
};
use kddm_tests::Cluster;
use std::{env, fs, path::Path, process::Command, time::Duration};

/// How long the commands of a page may take, all together.
const LIMIT: Duration = Duration::from_secs(90);

/// What ends the output of a command.
const MARK: &str = "\u{1}end of the command\u{1}";

#[test]
fn the_page_shell_is_true() {
    run_page("shell");
}

#[test]
fn the_page_programs_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/programs.md")).unwrap();
    let example = fs::read_to_string(root.join("kdfs-client/examples/shared_counter.rs")).unwrap();
    assert!(
        page.contains(&format!("```rust\n{example}```")),
        "the page shows another program than the example shared_counter"
    );
    run_page("programs");
}

/// A command of a page, and what it is to print.
#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    numbers_vary: bool,
}

/// What a page has the reader do.
#[derive(Debug, Default, PartialEq)]
struct Page {
    steps: Vec<Step>,
    files: Vec<(String, String)>,
}

/// Runs docs/NAME.md.
#[track_caller]
fn run_page(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{name}.md"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cluster = Cluster::prepared(Options::nodes(2));
    // Other users of the page come through here.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(cluster.directory(), everybody).unwrap();
    let page =
        Page::parse(&text.replace("/tmp/try", &cluster.directory().join("cluster").display().to_string()));
    assert!(!page.steps.is_empty(), "{name}: shows no commands");
    let outputs = page.run(cluster.directory());
    let wrong: Vec<String> =
        page.steps.iter().zip(&outputs).filter_map(|(step, output)| step.complaint(output)).collect();
    assert!(wrong.is_empty(), "docs/{name}.md:\n{}", wrong.join("\n"));
    assert_eq!(
        outputs.len(),
        page.steps.len(),
        "docs/{name}.md: the shell ended early: {:?}",
        outputs.last()
    );
}

impl Page {
    fn parse(text: &str) -> Page {
        let mut page = Page::default();
        let mut numbers_vary = false;
        let mut lines = text.lines().enumerate();
        while let Some((_, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else {
                numbers_vary = line == "<!-- numbers vary -->";
                continue;
            };
            let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
            match info.split_whitespace().collect::<Vec<_>>()[..] {
                ["console"] => page.add_console(&block, numbers_vary),
                [_, name] => {
                    let lines = block.iter().map(|(_, line)| format!("{line}\n"));
                    page.files.push((name.to_owned(), lines.collect()));
                }
                _ => {}
            }
            numbers_vary = false;
        }
        page
    }

    fn add_console(&mut self, block: &[(usize, &str)], numbers_vary: bool) {
        for (at, text) in block {
            if let Some(command) = text.strip_prefix("$ ") {
                let (line, command) = (at + 1, command.to_owned());
                self.steps.push(Step { line, command, expected: Vec::new(), numbers_vary });
                continue;
            }
            let step = self.steps.last_mut().expect("a console block begins with a command");
            match text.strip_prefix("> ") {
                Some(more) if step.expected.is_empty() => step.command += &format!("\n{more}"),
                _ => step.expected.push((*text).to_owned()),
            }
        }
    }

    /// What each command printed; fewer if the shell ended early.
    fn run(&self, directory: &Path) -> Vec<String> {
        let work = directory.join("work");
        fs::create_dir(&work).unwrap();
        for (name, text) in &self.files {
            fs::write(work.join(name), text).unwrap();
        }
        let script = directory.join("script");
        fs::write(&script, self.script()).unwrap();
        let programs = built("kddm").unwrap().parent().unwrap().to_owned();
        let path = env::var("PATH").unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.args(["-c", r#"exec bash "$0" </dev/null 2>&1"#]).arg(&script).current_dir(&work);
        let examples = programs.join("examples");
        bash.env("PATH", format!("{}:{}:{path}", programs.display(), examples.display()));
        bash.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        bash.env_remove("KDDM_DIR");
        let output = run(&mut bash, LIMIT).unwrap_or_else(|error| panic!("{error:#}"));
        let text = String::from_utf8_lossy(&output.stdout);
        let mut outputs: Vec<String> = text.split(MARK).map(str::to_owned).collect();
        // Behind the last mark there is nothing.
        outputs.truncate(text.matches(MARK).count());
        outputs
    }

    fn script(&self) -> String {
        let mut script = "umask 022\n".to_owned();
        for step in &self.steps {
            // The next command sees this one's exit code.
            script += &format!("{}\nstatus=$?; printf '%s' '{MARK}'; (exit $status)\n", step.command);
        }
        script
    }
}

impl Step {
    /// What is wrong with the output.
    fn complaint(&self, output: &str) -> Option<String> {
        let output: Vec<&str> = output.lines().collect();
        let expected: Vec<&str> = self.expected.iter().map(String::as_str).collect();
        (!matches(&expected, &output, self.numbers_vary)).then(|| {
            format!(
                "line {}: $ {}\n---- should print\n{}\n---- prints\n{}\n----",
                self.line,
                self.command,
                expected.join("\n"),
                output.join("\n")
            )
        })
    }
}

fn matches(expected: &[&str], output: &[&str], numbers_vary: bool) -> bool {
    match (expected, output) {
        ([], []) => true,
        (["…", rest @ ..], [_, more @ ..]) => {
            matches(rest, more, numbers_vary) || matches(expected, more, numbers_vary)
        }
        ([line, rest @ ..], [found, more @ ..]) => {
            line_matches(line, found, numbers_vary) && matches(rest, more, numbers_vary)
        }
        _ => false,
    }
}

fn line_matches(expected: &str, found: &str, numbers_vary: bool) -> bool {
    if numbers_vary {
        return without_gaps(&without_numbers(expected)) == without_gaps(&without_numbers(found));
    }
    if !expected.contains('…') {
        return expected.trim_end() == found.trim_end();
    }
    let (expected, found) = (without_gaps(expected), without_gaps(found));
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let parts: Vec<&str> = parts.collect();
    found.strip_prefix(first).is_some_and(|rest| varies(&parts, rest))
}

/// Whether `text` is something, then the first part, then something, …, and ends with the last part.
fn varies(parts: &[&str], text: &str) -> bool {
    let Some((part, rest)) = parts.split_first() else { return text.is_empty() };
    let begins = text.char_indices().skip(1).map(|(at, _)| at).chain([text.len()]).filter(|at| *at > 0);
    let mut tails = begins.filter_map(|at| text[at..].strip_prefix(part));
    tails.any(|tail| varies(rest, tail))
}

/// Every number is #.
fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        let goes_on = plain.ends_with('#') && (character.is_ascii_digit() || character == '.');
        match character {
            _ if goes_on => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain
}

fn without_gaps(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_differs_from_the_page_is_seen() {
    let same = |expected: &[&str], output: &[&str]| matches(expected, output, false);
    assert!(same(&["a", "b"], &["a", "b"]) && same(&[], &[]) && same(&["a  "], &["a"]));
    assert!(!same(&["a"], &["a", "b"]) && !same(&["a", "b"], &["a"]) && !same(&["a"], &["b"]));
    assert!(!same(&["a b"], &["a  b"]), "gaps count where nothing differs");
    assert!(same(&["pid … ends"], &["pid 17 ends"]) && !same(&["pid … ends"], &["pid ends"]));
    assert!(!same(&["pid … ends"], &["pid 17 ends now"]) && !same(&["id 0x…"], &["id 0x"]));
    assert!(same(&["…"], &["a", "b"]) && !same(&["…"], &[]) && same(&["…", "z"], &["a", "b", "z"]));
    assert!(!same(&["…", "z"], &["a", "b"]));
    let numbers = |expected: &str, found: &str| line_matches(expected, found, true);
    assert!(numbers("get  1.5 of 300", "get 17 of 30.25") && !numbers("get 1.5", "put 1.5"));
    assert!(!numbers("get 1.5", "get 1.5 2") && !numbers("get 1.5", "get"));
}

#[test]
fn a_page_is_read_as_it_is_written() {
    let text = "# A page\n```console\n$ one \\\n> 1\nsaid\n$ two\n```\n\n```c x.c\nint x;\n```\n```\n$ no\n```\n<!-- numbers vary -->\n```console\n$ three\n3\n```\n";
    let page = Page::parse(text);
    let step = |line, command: &str, expected: &[&str], numbers_vary| Step {
        line,
        command: command.into(),
        expected: expected.iter().map(|line| (*line).to_owned()).collect(),
        numbers_vary,
    };
    let steps = vec![
        step(3, "one \\\n1", &["said"], false),
        step(6, "two", &[], false),
        step(17, "three", &["3"], true),
    ];
    assert_eq!(page, Page { steps, files: vec![("x.c".into(), "int x;\n".into())] });
}

#[test]
fn every_command_is_in_the_manual_and_the_shells_are_run() {
    let output = run(Command::new(built("kddm").unwrap()).arg("--help"), LIMIT).unwrap();
    let help = said(&output);
    let commands = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let names: Vec<&str> =
        commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let pages = fs::read_dir(&docs)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    let manual: String = pages.collect();
    for name in names.iter().filter(|name| !name.is_empty() && **name != "help") {
        assert!(manual.contains(&format!("kddm {name}")), "docs/ says nothing of kddm {name}");
    }
    let page = Page::parse(&fs::read_to_string(docs.join("shell.md")).unwrap());
    let run: String = page.steps.iter().map(|step| format!("{}\n", step.command)).collect();
    let shells =
        "set create,set list,set stat,set destroy,get,put,grab,watch,bench,cat,cp,ls,mkdir,mv,rm,completion";
    for name in shells.split(',') {
        assert!(run.contains(&format!("kddm {name}")), "docs/shell.md does not run kddm {name}");
    }
}
