//! The dashboard asks for nothing that is not there.
#![forbid(unsafe_code)]

use kddm_tests::metrics::{DOCUMENT, documented, histogram_of};
use serde_json::Value;
use std::collections::BTreeSet;

const DASHBOARD: &str = include_str!("../../docs/grafana/kddm.json");

#[test]
fn every_expression_names_metrics_and_labels_that_exist() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut expressions: Vec<String> =
        targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect();
    assert!(expressions.len() > 30, "only {} expressions", expressions.len());
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    expressions.extend(variables.iter().filter_map(|one| one["definition"].as_str().map(str::to_owned)));
    // The alarms of the document, too.
    let alarms = DOCUMENT.split("## Worth an alarm").nth(1).expect("alarms");
    let alarms =
        alarms.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned));
    expressions.extend(alarms);
    let known = documented();
    let mut used = BTreeSet::new();
    for expression in &expressions {
        let names: Vec<&str> =
            words(expression).filter(|word| word.starts_with("kddm_") || word.starts_with("kdfs_")).collect();
        assert!(!names.is_empty(), "{expression}: no metric of ours");
        for name in names {
            let name = histogram_of(name).unwrap_or(name);
            assert!(known.contains_key(name), "{expression}: {name} is not in docs/metrics.md");
            used.insert(name.to_owned());
        }
        for label in labels(expression) {
            let has = |name: &str| {
                known.get(histogram_of(name).unwrap_or(name)).is_some_and(|labels| labels.contains(label))
            };
            let given = ["instance", "le"].contains(&label) || words(expression).any(has);
            assert!(given, "{expression}: none of its metrics has the label {label}");
        }
    }
    let unused: Vec<_> = known.keys().filter(|name| !used.contains(*name)).collect();
    println!("on no panel and in no alarm: {unused:?}");
}

#[test]
fn panels_have_places_and_names_of_their_own() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    let titles: BTreeSet<_> = panels.iter().map(|panel| panel["title"].as_str()).collect();
    let places: BTreeSet<_> = panels
        .iter()
        .map(|panel| [&panel["gridPos"]["x"], &panel["gridPos"]["y"]].map(Value::as_u64))
        .collect();
    assert_eq!([ids.len(), titles.len(), places.len()], [panels.len(); 3]);
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Labels in selectors and after `by`.
fn labels(expression: &str) -> Vec<&str> {
    let selectors = expression.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let matched = selectors.flat_map(|selector| selector.split(',')).filter_map(|one| words(one).next());
    let grouped = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next()).flat_map(words);
    matched.chain(grouped).collect()
}
