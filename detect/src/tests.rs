//! What must hold of any rules over any events: the index changes no answer; order, batch sizes, workers, saving and
//! restoring change no finding.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListBuilder, RecordBatch, StringViewArray, StringViewBuilder};
use arrow::array::{Float64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema};
use keytrail_model::{EventBatch, Finding, Micros, Place, schema};
use keytrail_sql::{Name, schema_of};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{Detector, Plan, Progress, Rule, Saved, SourceFields};

const SOURCE: &str = "test.log";

/// One event: its time in seconds, and the values of its columns and raw fields by name; a text has one or none.
#[derive(Clone, Debug)]
struct Event {
    time: i64,
    id: usize,
    fields: Vec<(&'static str, Vec<String>)>,
}

impl Event {
    fn values(&self, name: &str) -> &[String] {
        let field = self.fields.iter().find(|(known, _)| *known == name);
        field.map(|(_, values)| values.as_slice()).unwrap_or_default()
    }
}

const WORDS: [&str; 10] = ["a", "A", "b", "ab", "Delete", "deleteAll", "192.0.2.7", "203.0.113.9", "", "äÖ"];
const RAW: [&str; 3] = ["x", "y", "z.w"];
const COLUMNS: [&str; 5] = ["action", "ip", "credential", "outcome", "actor"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let word = || select(&WORDS[..]).prop_map(str::to_owned);
    let raw = || prop::collection::vec(word(), 0..3);
    let column = || prop::option::weighted(0.8, word()).prop_map(|word| word.into_iter().collect::<Vec<_>>());
    let fields = (prop::array::uniform3(raw()), prop::array::uniform5(column())).prop_map(|(raw, columns)| {
        RAW.into_iter().zip(raw).chain(COLUMNS.into_iter().zip(columns)).collect::<Vec<_>>()
    });
    prop::collection::vec((0i64..4000, fields), 1..60).prop_map(|events| {
        events.into_iter().enumerate().map(|(id, (time, fields))| Event { time, id, fields }).collect()
    })
}

/// A Sigma selection over raw fields.
fn selection() -> impl Strategy<Value = String> {
    let field = select(&RAW[..]);
    let modifier = select(&["", "|contains", "|startswith", "|endswith", "|cased", "|contains|all", "|re"][..]);
    let values = prop::collection::vec(select(&WORDS[..]), 1..4);
    let item = prop_oneof![
        8 => (field.clone(), modifier, values).prop_map(|(field, modifier, values)| {
            let values: Vec<String> = values.into_iter().map(|value| format!("'{value}'")).collect();
            format!("{field}{modifier}: [{}]", values.join(", "))
        }),
        1 => field.clone().prop_map(|field| format!("{field}: null")),
        1 => (field.clone(), any::<bool>()).prop_map(|(field, there)| format!("{field}|exists: {there}")),
        1 => field.prop_map(|field| format!("{field}|cidr: 192.0.2.0/24")),
    ];
    // One item a field, or the block would have a key twice.
    prop::collection::vec(item, 1..3).prop_map(|mut items| {
        items.sort_by_key(|item| item.split([':', '|']).next().map(str::to_owned));
        items.dedup_by_key(|item| item.split([':', '|']).next().map(str::to_owned));
        format!("{{{}}}", items.join(", "))
    })
}

const CONDITIONS: [&str; 7] =
    ["s1", "s1 and not s2", "s1 or s2 and not s3", "1 of s*", "all of them", "not s1", "s1 and (s2 or s3)"];

fn predicate() -> impl Strategy<Value = String> {
    let sigma = (prop::array::uniform3(selection()), select(&CONDITIONS[..])).prop_map(|([s1, s2, s3], condition)| {
        format!("sigma: {{s1: {s1}, s2: {s2}, s3: {s3}, condition: {condition}}}\n")
    });
    let atom = (select(&COLUMNS[..]), prop::collection::vec(select(&WORDS[..]), 1..4)).prop_map(|(column, words)| {
        let words: Vec<String> = words.into_iter().map(|word| format!("'{word}'")).collect();
        match words.as_slice() {
            [one] => format!("{column} = {one}"),
            several => format!("{column} IN ({})", several.join(", ")),
        }
    });
    let sql = atom.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} AND {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} OR {right})")),
            inner.clone().prop_map(|inner| format!("NOT {inner}")),
            inner.prop_map(|inner| format!("coalesce({inner}, x = 'a')")),
        ]
    });
    prop_oneof![sigma, sql.prop_map(|sql| format!("where: \"{sql}\"\n"))]
}

const WINDOWS: [&str; 8] = [
    "",
    "",
    "window: {within: 5m, count: {gte: 2}}\n",
    "window: {within: 2m, kind: session, count: {gte: 3}}\n",
    "window: {within: 10m, kind: tumbling, distinct: {of: [ip], gte: 2}}\n",
    "window: {within: 5m, count: {eq: 2}}\n",
    "window: {first_seen: {of: ip, learn: 5m}}\n",
    "window: {within: 5m, distinct: {of: [ip, actor], gte: 2}}\n",
];

fn stateful_steps() -> impl Strategy<Value = String> {
    let measure = select(&["sequence: [one, two]", "all_of: [one, two]", "absence: {after: one, of: two}"][..]);
    (measure, select(&WORDS[..]), select(&WORDS[..])).prop_map(|(measure, one, two)| {
        format!(
            "window: {{within: 5m, {measure}}}\nsteps:\n  one: {{where: \"action = '{one}'\"}}\n  two: {{where: \"outcome = '{two}'\"}}\n"
        )
    })
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let plain = (predicate(), select(&WINDOWS[..])).prop_map(|(predicate, window)| format!("{predicate}{window}"));
    let body = prop_oneof![4 => plain, 1 => stateful_steps()];
    let keys = select(&["[credential]", "[ip, credential]", "[actor]"][..]);
    prop::collection::vec((body, keys), 1..12).prop_map(|bodies| {
        let rule = |(number, (body, keys)): (usize, (String, &str))| {
            format!(
                "id: r{number}\ntitle: t\nseverity: high\nsource: {SOURCE}\ndescription: d\nsummary: '{{actor}} did {{action}}'\n\
                 group_by: {keys}\nsuppress_for: 15m\n{body}"
            )
        };
        bodies.into_iter().enumerate().map(rule).collect()
    })
}

fn plan(texts: &[String]) -> Arc<Plan> {
    let read = |(number, text): (usize, &String)| Rule::read(&format!("r{number}.yaml"), text).expect(text);
    let rules: Vec<Rule> = texts.iter().enumerate().map(read).collect();
    Arc::new(Plan::new(rules, &[source()]).expect("rules that plan"))
}

fn source() -> SourceFields<'static> {
    SourceFields { name: SOURCE, knows: &|_| Ok(()), dialect: None }
}

fn batch(plan: &Plan, events: &[Event]) -> EventBatch {
    let raw: Vec<Name> = plan.paths()[SOURCE].iter().cloned().map(Name::Raw).collect();
    let mut fields: Vec<_> =
        schema::schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    fields.extend(schema_of(&raw).fields().iter().map(|field| field.as_ref().clone()));
    let columns = fields.iter().map(|field| column(field.name(), field.data_type(), events)).collect();
    let places = events.iter().map(|event| Place { line: Some(event.id as u64 + 1), ..Place::default() }).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch");
    EventBatch { source: SOURCE.into(), origins: "test".into(), batch, places }
}

fn column(name: &str, kind: &DataType, events: &[Event]) -> ArrayRef {
    let base = name.trim_end_matches("[*]").trim_end_matches('?');
    match kind {
        DataType::Timestamp(..) => {
            let times = events.iter().map(|event| event.time * Micros::SECOND).collect::<Vec<_>>();
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
        }
        DataType::Boolean if name.ends_with('?') => {
            Arc::new(events.iter().map(|event| Some(!event.values(base).is_empty())).collect::<BooleanArray>())
        }
        DataType::Boolean => Arc::new(BooleanArray::new_null(events.len())),
        DataType::Float64 => Arc::new(Float64Array::new_null(events.len())),
        DataType::List(field) => {
            let mut lists = ListBuilder::new(StringViewBuilder::new()).with_field(field.clone());
            for event in events {
                event.values(base).iter().for_each(|value| lists.values().append_value(value));
                lists.append(!event.values(base).is_empty());
            }
            Arc::new(lists.finish())
        }
        _ if name == "event_id" => {
            Arc::new(StringViewArray::from_iter_values(events.iter().map(|event| format!("e{}", event.id))))
        }
        _ => Arc::new(
            events.iter().map(|event| event.values(base).first().map(String::as_str)).collect::<StringViewArray>(),
        ),
    }
}

/// The findings of one worker over one batch: what every other way must give too.
fn plainly(plan: &Arc<Plan>, events: &[Event]) -> Vec<Finding> {
    let mut detector = Detector::over(Arc::clone(plan));
    let batch = batch(plan, events);
    let matches = detector.matches_plainly(&batch);
    detector.take(&matches, &batch);
    detector.settle(Micros(i64::MAX));
    detector.findings()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_index_changes_no_answer(rules in rules(), events in events()) {
        let plan = plan(&rules);
        let batch = batch(&plan, &events);
        let mut detector = Detector::over(Arc::clone(&plan));
        let plainly = detector.matches_plainly(&batch);
        prop_assert!(plainly.failed.is_empty(), "{plainly:?}");
        prop_assert_eq!(&detector.matches(&batch), &plainly);
        // A second time: now the look-ups know every value.
        prop_assert_eq!(&detector.matches(&batch), &plainly);
    }

    #[test]
    fn order_batches_workers_and_restarts_change_no_finding(
        rules in rules(),
        events in events(),
        shuffled in prop::collection::vec(any::<Index>(), 60),
        sizes in prop::collection::vec(1usize..9, 1..20),
        workers in 1usize..5,
        saves in prop::collection::vec(any::<bool>(), 60),
    ) {
        let plan = plan(&rules);
        let wanted = plainly(&plan, &events);
        let mut order = events.clone();
        for (at, other) in shuffled.iter().enumerate().take(order.len()) {
            let other = other.index(order.len());
            order.swap(at, other);
        }
        let mut detectors: Vec<Detector> = (0..workers).map(|_| Detector::over(Arc::clone(&plan))).collect();
        let mut rest = order.as_slice();
        for (turn, size) in sizes.iter().cycle().enumerate() {
            let (some, more) = rest.split_at((*size).min(rest.len()));
            if some.is_empty() {
                break;
            }
            let detector = &mut detectors[turn % workers];
            detector.evaluate(&batch(&plan, some));
            if saves[turn] {
                restart(detector, &plan);
            }
            rest = more;
        }
        let mut merged = Progress::default();
        for detector in &mut detectors {
            merged.merge(&plan, std::mem::take(detector.progress_mut()));
        }
        let parts = merged.save(&plan).split(3);
        let mut joined = Progress::default();
        for part in parts {
            joined.merge(&plan, Progress::restore(&plan, part).expect("this version"));
        }
        joined.settle(&plan, Micros(i64::MAX));
        prop_assert_eq!(joined.findings(&plan), wanted);
    }

    /// In order of time and settled on the way: the same findings, and nothing counted as late.
    #[test]
    fn settling_on_the_way_changes_no_finding(rules in rules(), events in events(), lateness in 0i64..600) {
        let plan = plan(&rules);
        let wanted = plainly(&plan, &events);
        let mut order = events.clone();
        order.sort_by_key(|event| event.time);
        let mut detector = Detector::over(Arc::clone(&plan));
        for event in &order {
            detector.evaluate(&batch(&plan, std::slice::from_ref(event)));
            detector.settle(Micros((event.time - lateness) * Micros::SECOND));
        }
        detector.settle(Micros(i64::MAX));
        prop_assert_eq!(detector.findings(), wanted);
        prop_assert_eq!(detector.progress().left_out(), (0, 0));
    }

    /// In any order and as late as they like: what stands at the end is what stands when all are there from the start.
    #[test]
    fn what_comes_late_is_put_right(
        rules in rules(),
        events in events(),
        delays in prop::collection::vec(0i64..2000, 60),
        every in 1usize..6,
        // Over an hour, most of which can touch what is open, or over days.
        scale in select(&[1, 8, 60][..]),
    ) {
        let rules: Vec<String> =
            rules.into_iter().map(|rule| BY_WHAT_WAS.iter().fold(rule, |rule, one| rule.replace(one, ""))).collect();
        let plan = plan(&rules);
        let events: Vec<Event> =
            events.into_iter().map(|event| Event { time: event.time * scale, ..event }).collect();
        let arrivals = events.iter().cloned().zip(delays).map(|(event, delay)| (delay * scale, event)).collect();
        prop_assert_eq!(stands(&plan, arrivals, every), wanted(&plan, &events));
    }

    /// The same where one match follows the other, so that each hangs on the one before.
    #[test]
    fn what_comes_late_into_a_crowd_is_put_right(
        arrivals in crowd(),
        every in 1usize..40,
        rest in select(&CROWDED[..]),
    ) {
        let plan = plan(&[rule(0, rest)]);
        let events: Vec<Event> = arrivals.iter().map(|(_, event)| event.clone()).collect();
        prop_assert_eq!(stands(&plan, arrivals, every), wanted(&plan, &events));
    }
}

/// Most come in time.
fn crowd() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let delay = prop_oneof![12 => Just(0i64), 1 => 0i64..600, 1 => 0i64..9000];
    let event = (delay, 0i64..10_800, select(&["a", "b"][..]), select(&["k", "l"][..]), select(&["1", "2", "3"][..]));
    prop::collection::vec(event, 20..200).prop_map(|events| {
        let event = |(id, (delay, time, action, credential, ip)): (usize, (i64, i64, &str, &str, &str))| {
            let fields = [("action", action), ("credential", credential), ("ip", ip)];
            let fields = fields.map(|(name, value)| (name, vec![value.to_owned()])).to_vec();
            (delay, Event { time, id, fields })
        };
        events.into_iter().enumerate().map(event).collect()
    })
}

const CROWDED: [&str; 8] = [
    "where: action = 'a'\nsuppress_for: 15m\n",
    "where: action = 'a'\nsuppress_for: 15m\nwindow: {within: 5m, count: {gte: 3}}\n",
    "where: action = 'a'\nsuppress_for: 1m\nwindow: {within: 2m, count: {gte: 2}}\n",
    "where: action = 'a'\nsuppress_for: 15m\nwindow: {within: 2m, kind: session, count: {gte: 4}}\n",
    "where: action = 'a'\nsuppress_for: 20m\nwindow: {within: 10m, kind: tumbling, distinct: {of: [ip], gte: 3}}\n",
    "where: action = 'a'\nsuppress_for: 20m\nwindow: {within: 10m, kind: tumbling, count: {lte: 2}}\n",
    "suppress_for: 10m\nwindow: {within: 1m, sequence: [one, two]}\nsteps:\n  one: {where: \"action = 'a'\"}\n  two: {where: \"action = 'b'\"}\n",
    "suppress_for: 10m\nwindow: {within: 2m, absence: {after: one, of: two}}\nsteps:\n  one: {where: \"action = 'a'\"}\n  two: {where: \"action = 'b'\"}\n",
];

/// What is said of a finding.
type Says = BTreeMap<String, (String, u64, Micros, Micros)>;

fn says<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Says {
    let says = |one: &Finding| {
        (one.id.clone(), (format!("{} {:?}", one.rule, one.group), one.count, one.first_seen, one.last_seen))
    };
    findings.into_iter().map(says).collect()
}

fn wanted(plan: &Arc<Plan>, events: &[Event]) -> Says {
    says(&plainly(plan, events))
}

/// What stands when events come with these delays, and what is late is put right after every so many.
fn stands(plan: &Arc<Plan>, mut arrivals: Vec<(i64, Event)>, every: usize) -> Says {
    arrivals.sort_by_key(|(delay, event)| (event.time + delay, event.id));
    let mut late = Late { known: BTreeMap::new(), came: Vec::new(), detector: Detector::over(Arc::clone(plan)) };
    let mut watermark = i64::MIN;
    for (turn, (_, event)) in arrivals.into_iter().enumerate() {
        late.detector.evaluate(&batch(plan, std::slice::from_ref(&event)));
        watermark = watermark.max(event.time - 60);
        late.came.push(event);
        late.settle(watermark * Micros::SECOND);
        if turn % every == 0 {
            late.put_right(plan);
        }
    }
    late.put_right(plan);
    late.settle(i64::MAX);
    says(late.known.values())
}

/// Windows that depend on everything that was before: late events change more than is put right.
const BY_WHAT_WAS: [&str; 2] =
    ["window: {first_seen: {of: ip, learn: 5m}}\n", "window: {within: 5m, count: {eq: 2}}\n"];

/// A service in small.
struct Late {
    known: BTreeMap<String, Finding>,
    came: Vec<Event>,
    detector: Detector,
}

impl Late {
    fn settle(&mut self, watermark: i64) {
        self.detector.settle(Micros(watermark));
        self.known.extend(self.detector.news(true).into_iter().map(|finding| (finding.id.clone(), finding)));
    }

    fn put_right(&mut self, plan: &Arc<Plan>) {
        while self.detector.late_since().is_some() {
            let known: Vec<Finding> = self.known.values().cloned().collect();
            let mut anew = self.detector.anew(&known, Micros(i64::MIN));
            assert!(anew.too_late.is_empty());
            let (compared, aside) = loop {
                let mut aside = self.detector.aside(&anew);
                let needed = |event: &&Event| {
                    let time = event.time * Micros::SECOND;
                    anew.from.0 <= time && (anew.live || time < anew.until.0)
                };
                let needed: Vec<Event> = self.came.iter().filter(needed).cloned().collect();
                aside.evaluate(&batch(plan, &needed));
                aside.settle(anew.until);
                match anew.compare(plan, &aside.news(true), &known) {
                    Some(compared) => break (compared, aside),
                    None => anew = anew.to_present(self.detector.progress().settled().expect("events")),
                }
            };
            self.known.retain(|id, _| !compared.gone.contains(id));
            self.known.extend(compared.news.into_iter().map(|finding| (finding.id.clone(), finding)));
            if anew.live {
                self.detector.adopt(aside, &anew);
            }
            self.detector.forget_late(&anew);
        }
    }
}

/// Written down and taken up again, by way of text.
fn restart(detector: &mut Detector, plan: &Plan) {
    let text = serde_json::to_string(&detector.progress().save(plan)).expect("it writes");
    let saved: Saved = serde_json::from_str(&text).expect("it reads");
    *detector.progress_mut() = Progress::restore(plan, saved).expect("this version");
    assert_eq!(serde_json::to_string(&detector.progress().save(plan)).expect("it writes"), text);
}

#[test]
fn a_newer_state_is_refused_by_name() {
    let saved: Saved = serde_json::from_str(
        r#"{"version":99,"settled":null,"windows":{},"groups":[],"lanes":[],"open":[],"late":0,"dropped":0,"failures":[],"excepted":{}}"#,
    )
    .expect("it reads");
    let plan = plan(&[]);
    let error = Progress::restore(&plan, saved).expect_err("newer").to_string();
    assert!(error.contains("version 99") && error.contains("newer binary"), "{error}");
}

fn rule(number: usize, rest: &str) -> String {
    format!(
        "id: r{number}\ntitle: t\nseverity: high\nsource: {SOURCE}\ndescription: d\nsummary: s\ngroup_by: [credential]\n{rest}"
    )
}

fn call(id: usize, time: i64) -> Event {
    Event { time, id, fields: vec![("action", vec!["a".to_owned()]), ("credential", vec!["k".to_owned()])] }
}

#[test]
fn a_reload_keeps_what_stays_and_a_bad_one_keeps_everything() {
    let counting = rule(0, "where: action = 'a'\nwindow: {within: 5m, count: {gte: 3}}\n");
    let old = plan(&[counting.clone(), rule(1, "where: action = 'a'\n")]);
    let mut detector = Detector::over(Arc::clone(&old));
    detector.evaluate(&batch(&old, &[call(0, 10), call(1, 20)]));
    let broken = Rule::read("r0.yaml", &rule(0, "where: nonsense('a')\n")).expect("it reads");
    let errors = Plan::new(vec![broken], &[source()]).err().expect("an unknown function");
    assert!(errors[0].to_string().starts_with("r0.yaml:8: "), "{}", errors[0]);
    // The second rule becomes another, the first stays: its window still holds the two calls.
    let new = plan(&[counting, rule(1, "where: action = 'zzz'\n")]);
    detector.reload(Arc::clone(&new)).expect("this version");
    detector.evaluate(&batch(&new, &[call(2, 30)]));
    detector.settle(Micros(i64::MAX));
    let found: Vec<_> = detector.findings().into_iter().map(|finding| (finding.rule, finding.count)).collect();
    assert!(found.contains(&("r0".to_owned(), 3)), "{found:?}");
}

#[test]
fn a_window_that_became_another_begins_anew() {
    let old = plan(&[rule(0, "where: action = 'a'\nwindow: {within: 5m, count: {gte: 3}}\n")]);
    let mut detector = Detector::over(Arc::clone(&old));
    detector.evaluate(&batch(&old, &[call(0, 10), call(1, 20)]));
    let new = plan(&[rule(0, "where: action = 'a'\nwindow: {within: 5m, distinct: {of: [ip], gte: 3}}\n")]);
    detector.reload(new).expect("this version");
    assert_eq!(detector.progress().save(detector.plan()).split(1).len(), 1);
    detector.settle(Micros(i64::MAX));
    assert!(detector.findings().is_empty());
}

/// The properties above would hold of rules that never match.
#[test]
fn random_rules_do_match_random_events() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut findings, mut windows) = (0, 0);
    for _ in 0..60 {
        let rules = rules().new_tree(&mut runner).expect("rules").current();
        let events = events().new_tree(&mut runner).expect("events").current();
        let plan = plan(&rules);
        for finding in plainly(&plan, &events) {
            findings += 1;
            let stateful = plan.rules().iter().any(|rule| rule.id == finding.rule && rule.window.is_some());
            windows += u32::from(stateful);
        }
    }
    assert!(findings > 300 && windows > 40, "{findings} findings, {windows} of them over windows");
}
