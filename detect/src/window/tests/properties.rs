//! Any order of pushes, any settle points, saves and merges: the matches are those of the oracle.

use proptest::prelude::*;

use super::oracle::{Case, expected};
use super::*;

/// What happens around one settling.
#[derive(Clone, Debug)]
struct Turn {
    watermark: i64,
    /// Which entries that are not due yet come in all the same.
    early: u64,
    /// Which entries go through a worker's lane.
    aside: u64,
    save: bool,
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![
        1 => Just(None),
        4 => (0..4_u8).prop_map(|n| Some(Value::Number(f64::from(n) * 0.25))),
        1 => (0..4_u8).prop_map(|n| Some(Value::Text(format!("{}", f64::from(n) * 0.25)))),
    ];
    (0..60_i64, "[abc]", "[xy]", 0..3_u16, value).prop_map(|(time, id, origin, step, value)| {
        let mut entry = at(time, &id).step(step);
        entry.place.origin = origin.into();
        Entry { value, ..entry }
    })
}

fn any_turn() -> impl Strategy<Value = Turn> {
    (0..75_i64, any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(watermark, early, aside, save)| Turn {
        watermark,
        early,
        aside,
        save,
    })
}

fn any_bounds() -> impl Strategy<Value = Vec<(Comparison, f64)>> {
    use Comparison::{Eq, Gt, Gte, Lt, Lte, Neq};
    let monotone = prop::sample::select(vec![Gt, Gte]);
    let other = prop::sample::select(vec![Gt, Gte, Lt, Lte, Eq, Neq]);
    let bound = || (0..12_u8).prop_map(|n| f64::from(n) * 0.5);
    prop_oneof![(monotone, bound()).prop_map(|one| vec![one]), prop::collection::vec((other, bound()), 1..3),]
}

fn any_combination() -> impl Strategy<Value = Combination> {
    let leaf = (0..3_u16).prop_map(Combination::Step);
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Combination::And),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Combination::Or),
            inner.prop_map(|part| Combination::Not(Box::new(part))),
        ]
    })
}

fn any_threshold() -> impl Strategy<Value = Case> {
    let kind = prop::sample::select(vec![Kind::Sliding, Kind::Tumbling, Kind::Session]);
    (1..15_i64, kind, 0..5_u8, any_bounds(), 1..101_u8).prop_map(|(within, kind, which, bounds, rank)| {
        let condition = Condition::new(bounds.iter().copied());
        let measure = match which {
            0 => Measure::Count(condition),
            1 => Measure::Distinct(condition),
            2 => Measure::Sum(condition),
            3 => Measure::Avg(condition),
            _ => Measure::Percentile { rank: f64::from(rank), condition },
        };
        Case { window: Window::new(within, kind, measure), bounds }
    })
}

fn any_case() -> impl Strategy<Value = Case> {
    let of_steps = |within, measure| Case { window: steps(within, 3, measure), bounds: Vec::new() };
    let kind = prop::sample::select(vec![Kind::Sliding, Kind::Tumbling, Kind::Session]);
    let all_of = (1..15_i64, kind, any_combination()).prop_map(move |(within, kind, combination)| {
        let case = of_steps(within, Measure::AllOf(combination));
        Case { window: Window { kind, ..case.window }, ..case }
    });
    let first_seen =
        (0..20_i64, 1..1500_i64).prop_map(move |(learn, follow)| of_steps(1, Measure::FirstSeen { learn, follow }));
    prop_oneof![
        4 => any_threshold(),
        2 => all_of,
        2 => (1..25_i64).prop_map(move |within| of_steps(within, Measure::Sequence)),
        1 => (1..15_i64, 0..2_u16).prop_map(move |(within, of)| of_steps(within, Measure::Absence { after: 0, of })),
        2 => first_seen,
    ]
}

/// The entries in their order of arrival, through all turns and to the end.
fn run(window: &Window, mut entries: Vec<Entry>, turns: &[Turn]) -> Vec<Match> {
    let mut lane = Lane::default();
    let (mut found, mut growing) = (Vec::new(), Vec::new());
    let last = Turn { watermark: i64::MAX, early: 0, aside: u64::MAX / 3, save: true };
    for turn in turns.iter().chain([&last]) {
        let mut worker = lane_like(&lane);
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut entries)
            .into_iter()
            .enumerate()
            .partition(|(index, entry)| entry.time.0 < turn.watermark || turn.early >> (index % 64) & 1 == 1);
        entries = later.into_iter().map(|(_, entry)| entry).collect();
        for (index, entry) in due {
            let into = if turn.aside >> (index % 64) & 1 == 1 { &mut worker } else { &mut lane };
            assert!(into.push(window, entry), "nothing is late");
        }
        assert_eq!(lane.merge(window, worker), 0);
        let delay = window.delay();
        let settled = growing_point(&lane);
        let new = lane.settle(window, Micros(turn.watermark));
        for found in &new {
            assert!(
                delay.is_none_or(|delay| found.at.0 >= settled.saturating_sub(delay)),
                "{found:?} before {settled}"
            );
        }
        found.extend(new);
        growing.extend(lane.growing(window));
        if turn.save {
            let saved = serde_json::to_string(&lane).expect("text");
            let restored = serde_json::from_str(&saved).expect("a lane");
            assert_eq!(lane, restored);
            lane = restored;
        }
    }
    let same = |one: &Match, other: &Match| one.entries.first() == other.entries.first() && one.at == other.at;
    assert!(growing.iter().all(|one| found.iter().any(|other| same(one, other))), "what grows is found");
    assert!(lane.dropped == 0 && (lane.is_idle() || matches!(window.measure, Measure::FirstSeen { .. })));
    found
}

fn growing_point(lane: &Lane) -> i64 {
    lane.settled().map_or(i64::MIN, |settled| settled.0)
}

fn lane_like(lane: &Lane) -> Lane {
    lane.settled().map_or_else(Lane::default, Lane::since)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn matches_are_a_function_of_the_set_of_entries(
        case in any_case(),
        entries in prop::collection::vec(any_entry(), 0..40).prop_shuffle(),
        mut turns in prop::collection::vec(any_turn(), 0..6),
    ) {
        turns.sort_by_key(|turn| turn.watermark);
        let expected = expected(&case, &numeric(&case.window, &entries));
        prop_assert_eq!(run(&case.window, entries, &turns), expected);
    }

    #[test]
    fn first_seen_counts_in_coarse_cells(
        learn in 0..500_i64,
        follow in 1..6000_i64,
        entries in prop::collection::vec((any_entry(), 0..8000_i64), 0..60),
        mut turns in prop::collection::vec((any_turn(), 0..15_000_i64), 0..6),
    ) {
        let entries: Vec<Entry> =
            entries.into_iter().map(|(entry, time)| Entry { time: Micros(time), ..entry }).collect();
        turns.sort_by_key(|(_, watermark)| *watermark);
        let turns: Vec<Turn> = turns.into_iter().map(|(turn, watermark)| Turn { watermark, ..turn }).collect();
        let window = Window::new(1, Kind::Sliding, Measure::FirstSeen { learn, follow });
        let case = Case { window, bounds: Vec::new() };
        prop_assert_eq!(run(&case.window, entries.clone(), &turns), expected(&case, &entries));
    }
}

/// As the measure takes them: texts that are numbers become such.
fn numeric(window: &Window, entries: &[Entry]) -> Vec<Entry> {
    let wants = matches!(window.measure, Measure::Sum(_) | Measure::Avg(_) | Measure::Percentile { .. });
    let number = |value: &Value| if wants { value.number().map(Value::Number) } else { Some(value.clone()) };
    entries.iter().map(|entry| Entry { value: entry.value.as_ref().and_then(number), ..entry.clone() }).collect()
}
