//! Explanations of events as indented text: each clause behind its truth, `>` before those that decided.

use keytrail_detect::{Asked, Clause, Found, GroupKey, Joined, KeptOut, Read, Verdict};
use keytrail_model::printable_lines;

use super::explain_event::{About, Said};

pub fn page(abouts: &[About]) -> String {
    let text: Vec<String> = abouts.iter().map(about).collect();
    printable_lines(&text.join("\n"))
}

fn about(about: &About) -> String {
    let About { at, source, time, action, rules, further, .. } = about;
    let mut out = format!("{at}: {source} {} at {time}\n", action.as_deref().unwrap_or("(no action)"));
    if rules.is_empty() {
        out.push_str("  no rule reads this log source\n");
    }
    rules.iter().for_each(|said| out.push_str(&rule(said)));
    if *further > 0 {
        out.push_str(&format!(
            "\n  {further} more rules read this log source and are further from matching (--misses)\n"
        ));
    }
    out
}

fn rule(said: &Said) -> String {
    let explained = &said.explained;
    let mut out = format!("\n  {} [{}] {}\n", explained.rule, explained.severity, explained.title);
    out.push_str(&format!("  {}\n", verdict(said)));
    for part in &explained.parts {
        out.push_str(&asked(part, said));
    }
    for (step, id) in &explained.takes_matches_of {
        out.push_str(&format!("    step {step} takes the matches of rule {id}\n"));
    }
    explained.kept_out.iter().for_each(|kept| out.push_str(&kept_out(kept)));
    out
}

fn verdict(said: &Said) -> String {
    let window = said.window.as_deref().unwrap_or_default();
    let misses = |failing| if failing == 1 { "1 clause".to_owned() } else { format!("{failing} clauses") };
    let state =
        if said.explained.state == "on" { String::new() } else { format!(" (rule is {})", said.explained.state) };
    let text = match said.explained.verdict {
        Verdict::Matches => "matches".to_owned(),
        Verdict::Counts => format!("enters the window, which decides the rest: {window}"),
        Verdict::KeptOut => "would match, and is kept out".to_owned(),
        Verdict::NoGroup => "would enter the window, but a key of its group is null".to_owned(),
        Verdict::Misses => format!("does not match, by {}", misses(said.explained.failing)),
    };
    text + &state
}

fn asked(part: &Asked, said: &Said) -> String {
    let mut out = part.step.as_ref().map(|step| format!("    step {step}\n")).unwrap_or_default();
    branch(&part.clause, 0, &mut out);
    if part.clause.holds == Some(true) && !part.group.is_empty() {
        let keys: Vec<String> = part.group.iter().map(|key| group_key(key, said.window.is_some())).collect();
        out.push_str(&format!("    group: {}\n", keys.join(", ")));
    }
    out
}

fn group_key(key: &GroupKey, windowed: bool) -> String {
    match (&key.value, windowed) {
        (Some(value), _) => format!("{} = {value}", key.name),
        (None, true) => format!("{} is null, which keeps the event out", key.name),
        (None, false) => format!("{} is null", key.name),
    }
}

fn kept_out(kept: &KeptOut) -> String {
    let does = if kept.keeps_out { "keeps it out" } else { "does not keep it out" };
    let why = kept.granted.as_ref().map(|it| format!(" ({}: {}, until {})", it.owner, it.reason, it.expires));
    let mut out = format!("    {} {does}{}\n", kept.by, why.unwrap_or_default());
    branch(&kept.clause, 0, &mut out);
    out
}

fn branch(clause: &Clause, depth: usize, out: &mut String) {
    let truth = match clause.holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "null",
    };
    let mark = if clause.decides { ">" } else { " " };
    let indent = "  ".repeat(depth);
    out.push_str(&format!("    {truth:<4} {mark} {indent}{}\n", label(clause)));
    for read in &clause.reads {
        out.push_str(&format!("             {indent}{}\n", reading(read)));
    }
    clause.parts.iter().for_each(|part| branch(part, depth + 1, out));
}

fn label(clause: &Clause) -> String {
    let joined = match clause.joined {
        Joined::Test => return clause.written.clone(),
        Joined::All if clause.parts.is_empty() => return clause.written.clone(),
        Joined::All => "all of".to_owned(),
        Joined::Any => "any of".to_owned(),
        Joined::Not => "not".to_owned(),
        Joined::AtLeast(count) => format!("at least {count} of"),
    };
    if clause.written.is_empty() { joined } else { format!("{}: {joined}", clause.written) }
}

fn reading(read: &Read) -> String {
    let found = match &read.found {
        Found::Absent => "absent".to_owned(),
        Found::Null => "null".to_owned(),
        Found::Record => "every value of the record".to_owned(),
        Found::Values(values) => values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", "),
    };
    let place = if read.name == read.at { String::new() } else { format!(" ({})", read.at) };
    format!("{}{place}: {found}", read.name)
}
