//! `kddm completion`.

use anyhow::Result;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{aot, generate};
use std::io::{Write, stdout};

/// Print a script that completes kddm's commands, options and names of sets in a shell.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  source <(kddm completion bash)                   in this bash
  kddm completion bash >/etc/bash_completion.d/kddm
  kddm completion zsh >\"${fpath[1]}/_kddm\"         for each zsh to come

Names of sets are asked for with kddm set list, of the cluster that --dir, --config or $KDDM_DIR says.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
}

/// Prints it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut command = crate::Arguments::command();
    let mut script = Vec::new();
    let script = match arguments.shell {
        Shell::Bash => {
            generate(aot::Bash, &mut command, "kddm", &mut script);
            String::from_utf8(script)? + BASH
        }
        Shell::Zsh => {
            generate(aot::Zsh, &mut command, "kddm", &mut script);
            with_sets_in_zsh(&String::from_utf8(script)?)
        }
    };
    Ok(stdout().lock().write_all(script.as_bytes())?)
}

/// Where the name of a set stands, sets are offered; everything else is the generated function's.
const BASH: &str = r#"
_kddm_with_sets() {
    local word=${COMP_WORDS[COMP_CWORD]} place=0 at which=()
    case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
        "set stat" | "set destroy") place=3 ;;
        "get "* | "put "* | "grab "* | "watch "*) place=2 ;;
    esac
    if [[ $COMP_CWORD -ne $place || $word == -* ]]; then
        _kddm "$@"
        return
    fi
    for ((at = place; at < ${#COMP_WORDS[@]} - 1; at++)); do
        case ${COMP_WORDS[at]} in
            --dir | --config | --node | --socket) which+=("${COMP_WORDS[at]}" "${COMP_WORDS[at + 1]}") ;;
        esac
    done
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$(kddm set list --names "${which[@]}" 2>/dev/null)" -- "$word"))
}
complete -F _kddm_with_sets -o bashdefault -o default kddm
"#;

/// The generated script says of a set's name only that it is some word.
fn with_sets_in_zsh(script: &str) -> String {
    let lines = script.lines().map(|line| {
        let is_set =
            ["':set -- The set'", "'*::set -- The sets'"].iter().any(|begin| line.starts_with(begin));
        if is_set { line.replace(":_default'", ":_kddm_sets'") } else { line.to_owned() }
    });
    let mut lines: Vec<String> = lines.collect();
    // Before the generated functions: the last lines call them.
    lines.insert(1, ZSH.to_owned());
    lines.join("\n") + "\n"
}

const ZSH: &str = r#"
_kddm_sets() {
    local at
    local -a which sets
    for ((at = 2; at < ${#words}; at++)); do
        case ${words[at]} in
            --dir | --config | --node | --socket) which+=("${words[at]}" "${words[at + 1]}") ;;
        esac
    done
    sets=("${(@f)$(_call_program sets kddm set list --names ${(q)which} 2>/dev/null)}")
    compadd -a sets
}"#;
