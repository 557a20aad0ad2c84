//! Messages in words. The numbers stand apart: requests and transactions are found again by them.

use kddm_coherence::{Asked, Body, RecallKind, RequestKind, Source};
use kddm_object::{Hold, Location, NodeSet};

/// The transaction, the request, and what else a message says.
pub(super) fn describe(body: &Body) -> (Option<u32>, Option<u32>, String) {
    let (mut of_seq, mut of_rid, mut detail) = (None, None, String::new());
    match body {
        Body::Request(request) => {
            of_rid = Some(request.rid);
            let kind = match request.kind {
                RequestKind::Get => "get",
                RequestKind::Grab => "grab",
                RequestKind::Remove => "remove",
                RequestKind::Sync => "sync",
            };
            let words = [
                (true, kind),
                (request.try_only, "try"),
                (request.have, "has a copy"),
                (request.hint.is_some(), "reads meanwhile"),
            ];
            detail = said(&words);
        }
        Body::Grant { rid, seq, source, acks, owner, exclusive } => {
            (of_seq, of_rid) = (Some(*seq), Some(*rid));
            let owner =
                owner.map_or(String::new(), |owner| format!(", {owner} keeps its slot until it was fetched"));
            detail = format!("{}, {}{}{owner}", mode(*exclusive), from(source), awaited(acks));
        }
        Body::Hand { seq, rid, source, exclusive } => {
            (of_seq, of_rid) = (Some(*seq), Some(*rid));
            detail = format!("{}, {}", mode(*exclusive), from(source));
        }
        Body::Nack { rid, why } => (of_rid, detail) = (Some(*rid), format!("{why:?}").to_lowercase()),
        Body::Finished { rid } | Body::Cancel { rid } | Body::Destroy { rid } => of_rid = Some(*rid),
        Body::Invalidate { seq, requester, keep, .. } => {
            let keep = if *keep { ", keep the bytes" } else { "" };
            (of_seq, detail) = (Some(*seq), format!("ack to node {requester}{keep}"));
        }
        Body::Ack { seq, of, retained, .. } => {
            let retained =
                if retained.is_some() { ", which keeps its slot until it was fetched" } else { "" };
            (of_seq, detail) = (Some(*seq), format!("of node {of}{retained}"));
        }
        Body::Recall { seq, kind, requester, rid, try_only, .. } => {
            (of_seq, of_rid) = (Some(*seq), Some(*rid));
            let kind = match kind {
                RecallKind::Share => "share with",
                RecallKind::Yield => "yield to",
            };
            detail = format!("{kind} node {requester}{}", if *try_only { ", try" } else { "" });
        }
        Body::Retry { rid, seq } | Body::Retrying { rid, seq } => (of_seq, of_rid) = (Some(*seq), Some(*rid)),
        Body::Kept { seq, to, .. } => (of_seq, detail) = (Some(*seq), format!("for node {to}")),
        Body::Refused { seq }
        | Body::Shared { seq, .. }
        | Body::Done { seq, .. }
        | Body::Fetched { seq }
        | Body::Drain { seq, .. }
        | Body::Drained { seq }
        | Body::Free { seq }
        | Body::Restore { seq }
        | Body::Discard { seq } => of_seq = Some(*seq),
        Body::Report { mode, named, .. } => {
            detail = format!("{mode:?}{}", if *named { ", owner" } else { "" }).to_lowercase();
        }
        Body::Knew { what, .. } => detail = format!("{what:?}").to_lowercase(),
        Body::Room { slots } => detail = format!("for {slots} more"),
        Body::Rebuilt { keep } => detail = format!("{keep:?}").to_lowercase(),
        Body::AskRoom
        | Body::Inject
        | Body::Evict
        | Body::Doubt { .. }
        | Body::Reported { .. }
        | Body::Opened => {}
    }
    (of_seq.map(|seq| seq.0), of_rid.map(|rid| rid.0), detail)
}

/// What an operation wants.
pub(super) fn asked(asked: Asked) -> &'static str {
    match asked {
        Asked::Hold { hold: Hold::Shared, try_only: false, .. } => "get",
        Asked::Hold { hold: Hold::Shared, try_only: true, .. } => "try get",
        Asked::Hold { hold: Hold::Exclusive, try_only: false, .. } => "grab",
        Asked::Hold { hold: Hold::Exclusive, try_only: true, .. } => "try grab",
        Asked::Prefetch { hold: Hold::Shared, .. } => "prefetch",
        Asked::Prefetch { hold: Hold::Exclusive, .. } => "prefetch for a grab",
        Asked::Remove => "remove",
        Asked::Sync => "sync",
        Asked::Flush => "flush",
        Asked::Destroy => "destroy",
    }
}

/// Where bytes are.
pub(super) fn home_of_bytes(location: &Location) -> String {
    format!("node {}'s slot {:?}", location.node, location.slot)
}

fn said(words: &[(bool, &str)]) -> String {
    let said: Vec<&str> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    said.join(", ")
}

fn mode(exclusive: bool) -> &'static str {
    if exclusive { "exclusive" } else { "shared" }
}

fn from(source: &Source) -> String {
    match source {
        Source::Copy => "your copy is good".into(),
        Source::Read(at) => format!("read {}", home_of_bytes(at)),
        Source::Speculated(at) => format!("what you read of node {} is good", at.node),
        Source::Bytes(bytes) => format!("{} bytes inside", bytes.as_slice().len()),
        Source::Make => "make it".into(),
    }
}

fn awaited(acks: &NodeSet) -> String {
    let nodes: Vec<String> = acks.iter().map(|node| node.to_string()).collect();
    if nodes.is_empty() { String::new() } else { format!(", acks of {}", nodes.join(" and ")) }
}
