//! The `window:` and `steps:` blocks as people write them, rightly and wrongly.

use super::*;
use crate::{Body, Rule, State};

const HEAD: &str = "id: r\ntitle: t\nseverity: high\nsource: aws.cloudtrail\ndescription: d\n\
                    summary: '{actor} did {action}'\ngroup_by: [credential]\n";

const STEPS: &str = "steps:\n  minted: {where: \"action = 'a'\", by: [issued_credential]}\n  \
                     used: {source: okta.system, where: \"action = 'b'\"}\n";

fn read(rest: &str) -> Rule {
    Rule::read("r.yaml", &format!("{HEAD}{rest}")).unwrap_or_else(|errors| panic!("{rest}: {errors:?}"))
}

fn window(block: &str) -> Window {
    let window = read(&format!("where: action = 'a'\nwindow: {block}\n")).window;
    window.unwrap_or_else(|| panic!("{block}"))
}

fn message(rest: &str) -> String {
    let errors = Rule::read("r.yaml", &format!("{HEAD}{rest}")).expect_err("an error");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The message for a wrong `window:` block, which stands on line 9.
fn wrong(block: &str) -> String {
    let text = message(&format!("where: action = 'a'\nwindow: {block}\n"));
    text.strip_prefix("r.yaml:9: ").unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn reads_every_measure() {
    let read = window("{within: 10m, count: {gte: 10, lt: 20}}");
    let condition = Condition::new([(Comparison::Gte, 10.0), (Comparison::Lt, 20.0)]);
    assert_eq!((read.within, read.kind, read.measure), (600_000_000, Kind::Sliding, Measure::Count(condition)));
    let read = window("{within: 30s, kind: session, distinct: {of: [ip, requestParameters.userName], gte: 3}}");
    assert_eq!((read.kind, read.measure, read.of.len()), (Kind::Session, Measure::Distinct(atleast(3.0)), 2));
    let read = window("{within: 1d, kind: tumbling, sum: {of: responseElements.bytes, gte: 1.5}}");
    assert_eq!((read.kind, read.measure), (Kind::Tumbling, Measure::Sum(atleast(1.5))));
    let read = window("{within: 1h, percentile: {of: responseElements.bytes, rank: 95, gte: 2}}");
    assert_eq!(read.measure, Measure::Percentile { rank: 95.0, condition: atleast(2.0) });
    assert_eq!(window("{within: 1h, avg: {of: credential_age, gte: 2}}").measure, Measure::Avg(atleast(2.0)));
}

#[test]
fn first_seen_takes_its_following_time_from_suppress_for() {
    let read = read("where: action = 'a'\nwindow: {first_seen: {of: network, learn: 7d}}\nsuppress_for: 1h\n");
    let window = read.window.expect("a window");
    let day = 86_400_000_000;
    assert_eq!(window.measure, Measure::FirstSeen { learn: 7 * day, follow: day / 24 });
    let of: Vec<_> = window.of.iter().map(|column| (column.expression.text.as_str(), column.network)).collect();
    assert_eq!(of, [("ip", true)]);
    let of = reading::window("{first_seen: {of: resource, learn: 7d}}").of;
    assert_eq!(of.first().map(|column| column.expression.text.as_str()), Some("resources"));
}

#[test]
fn reads_steps_in_the_windows_order() {
    let rule = read(&format!("window: {{within: 1h, sequence: [used, minted]}}\n{STEPS}state: shadow\n"));
    assert!(matches!(rule.body, Body::Steps) && rule.state == State::Shadow);
    assert_eq!(rule.text, "minted: action = 'a'\nused: action = 'b'");
    let steps: Vec<_> = rule.steps.iter().map(|step| (step.name.as_str(), step.line, step.by.join(","))).collect();
    assert_eq!(steps, [("used", 11, "credential".to_owned()), ("minted", 10, "issued_credential".to_owned())]);
    assert_eq!(rule.steps[0].sources.as_deref(), Some(&["okta.system".to_owned()][..]));
    assert_eq!(rule.window.map(|window| (window.steps, window.measure)).expect("a window").1, Measure::Sequence);
    let rule = read(&format!("window: {{within: 1h, absence: {{after: minted, of: used}}}}\n{STEPS}"));
    assert_eq!(rule.window.expect("a window").measure, Measure::Absence { after: 0, of: 1 });
    let rule = read(&format!("window: {{within: 1h, all_of: [minted, used]}}\n{STEPS}"));
    assert_eq!(rule.window.expect("a window").measure, Measure::AllOf(Combination::all(2)));
    assert_eq!(read("where: action = 'a'\n").state, State::On);
}

#[test]
fn every_wrong_window_says_what_to_write() {
    assert!(wrong("{within: 1h}").starts_with("give the window exactly one of `count`, `distinct`"));
    assert!(wrong("{within: 1h, count: {gte: 1}, sum: {of: a.b, gt: 1}}").starts_with("give the window exactly one"));
    assert_eq!(wrong("{count: {gte: 2}}"), "the window has no length: add `within: 10m`");
    let text = wrong("{within: soon, count: {gte: 2}}");
    assert_eq!(text, "within `soon` is no duration: write 30s, 10m, 24h or 7d");
    assert!(wrong("{within: 1h, count: {}}").starts_with("the measure has no bound: add one of `gt`"));
    assert!(wrong("{within: 1h, count: {gte: .nan}}").contains("is no bound: write a number"));
    assert!(wrong("{within: 1h, count: {atleast: 2}}").contains("unknown key `atleast`"));
    assert!(wrong("{within: 1h, kind: slidng, count: {gte: 2}}").contains("did you mean `sliding`?"));
    let text = wrong("{within: 1h, percentile: {of: a.b, rank: 0, gte: 2}}");
    assert_eq!(text, "rank `0` is no percentile: write a number above 0, up to 100");
    let text = wrong("{within: 1h, sum: {of: [a.b, c.d], gte: 2}}");
    assert_eq!(text, "`of` names 2 columns: name one column or raw path");
    assert!(wrong("{within: 1h, distinct: {of: 'a = = b', gte: 2}}").starts_with("of `a = = b`: "));
    assert!(wrong("{within: 1h, first_seen: {of: ip, learn: 7d}}").contains("remove `within`"));
    assert!(wrong("{kind: sliding, first_seen: {of: ip, learn: 7d}}").contains("remove `kind`"));
}

#[test]
fn every_wrong_step_says_what_to_write() {
    let text = message(&format!("window: {{within: 1h, sequence: [mintd, used]}}\n{STEPS}"));
    assert!(text.contains("r.yaml:10: the window names no step `minted`, did you mean `mintd`?"), "{text}");
    assert!(text.contains("r.yaml:8: `steps` has no `mintd`, did you mean `minted`?"), "{text}");
    let text = message(&format!("window: {{within: 1h, sequence: [used]}}\n{STEPS}"));
    assert!(text.contains("sequence has 1 step: name two or more"), "{text}");
    let text = message(&format!("window: {{within: 1h, all_of: [used, used]}}\n{STEPS}"));
    assert!(text.contains("all_of names step `used` twice"), "{text}");
    let text = message(&format!("window: {{within: 1h, kind: session, sequence: [minted, used]}}\n{STEPS}"));
    assert!(text.contains("sequence has no kind of window: remove `kind`"), "{text}");
    let text = message(&format!("window: {{within: 1h, count: {{gte: 2}}}}\n{STEPS}"));
    assert!(text.contains("the window names no step `minted`: write `where` in place of `steps`"), "{text}");
    let text = message(STEPS);
    assert!(text.contains("r.yaml:9: `steps` without a window: add `window: {within"), "{text}");
    let both = format!("where: action = 'a'\nwindow: {{within: 1h, sequence: [minted, used]}}\n{STEPS}");
    assert!(message(&both).contains("give exactly one of `where`, `sql`, `sigma` and `steps`"), "{}", message(&both));
}

#[test]
fn keys_of_a_step_are_event_columns_and_as_many_as_the_rules() {
    let with = |by: &str| {
        let steps = STEPS.replace("issued_credential", by);
        message(&format!("window: {{within: 1h, sequence: [minted, used]}}\n{steps}"))
    };
    assert!(
        with("isued_credential")
            .starts_with("r.yaml:10: by `isued_credential` of step `minted` is neither an event column nor a path")
    );
    let text = with("issued_credential, ip");
    assert!(
        text.contains("step `minted` has 2 keys in `by` and the rule 1 in `group_by`: give one for each"),
        "{text}"
    );
}
