//! Thresholds over sliding, tumbling and session windows, at their boundaries.

use super::*;

fn count(kind: Kind, bound: f64) -> Window {
    Window::new(10, kind, Measure::Count(atleast(bound)))
}

fn judged(kind: Kind, measure: Measure) -> Window {
    Window::new(10, kind, measure)
}

#[test]
fn sliding_reaches_exactly_within() {
    assert_eq!(matches(&count(Kind::Sliding, 2.0), times(&[0, 10])), ["ab@10"]);
    assert_eq!(matches(&count(Kind::Sliding, 2.0), times(&[0, 11])), Vec::<String>::new());
    assert_eq!(matches(&count(Kind::Sliding, 2.0), times(&[0, 11, 21])), ["bc@21"]);
}

#[test]
fn a_match_takes_in_what_follows_within_its_time_and_the_next_starts_after_it() {
    assert_eq!(matches(&count(Kind::Sliding, 2.0), times(&[0, 1, 5, 10, 11, 12])), ["abcd@1", "ef@12"]);
    assert_eq!(matches(&count(Kind::Sliding, 2.0), times(&[0, 1, 10, 11])), ["abc@1"]);
}

#[test]
fn a_match_starts_at_the_oldest_event_of_its_window() {
    let entries = vec![at(0, "a").text("x"), at(4, "b").text("x"), at(12, "c").text("y"), at(14, "d").text("z")];
    let window = judged(Kind::Sliding, Measure::Distinct(atleast(2.0)));
    assert_eq!(matches(&window, entries), ["bcd@12"]);
}

#[test]
fn equal_times_are_ordered_by_id_and_copies_both_count() {
    let entries = vec![at(5, "b"), at(5, "a"), at(5, "a")];
    assert_eq!(matches(&count(Kind::Sliding, 3.0), entries), ["aab@5"]);
}

#[test]
fn distinct_counts_values_and_not_events() {
    let entries = |last: &str| vec![at(0, "a").text("x"), at(1, "b").text("x"), at(2, "c").text(last)];
    let window = judged(Kind::Sliding, Measure::Distinct(atleast(2.0)));
    assert_eq!(matches(&window, entries("x")), Vec::<String>::new());
    assert_eq!(matches(&window, entries("y")), ["abc@2"]);
}

#[test]
fn an_event_without_the_value_takes_no_part() {
    let distinct = judged(Kind::Sliding, Measure::Distinct(atleast(1.0)));
    assert_eq!(matches(&distinct, vec![at(0, "a"), at(1, "b").text("x"), at(2, "c")]), ["b@1"]);
    let sum = judged(Kind::Sliding, Measure::Sum(atleast(3.0)));
    let entries = vec![at(0, "a"), at(1, "b").text("n/a"), at(2, "c").text(" 2.5 "), at(3, "d").number(0.5)];
    assert_eq!(matches(&sum, entries), ["cd@3"]);
}

#[test]
fn a_sum_is_exact_after_much_was_taken_away() {
    let window = judged(Kind::Sliding, Measure::Sum(atleast(0.3)));
    let mut entries: Vec<Entry> = (0..50).map(|n| at(n * 20, "x").number(0.1)).collect();
    entries.extend([at(2000, "a").number(0.1), at(2001, "b").number(0.2)]);
    assert_eq!(matches(&window, entries), ["ab@2001"]);
}

#[test]
fn what_can_become_untrue_is_judged_when_its_window_is_over() {
    let few = judged(Kind::Sliding, Measure::Count(Condition::new([(Comparison::Lt, 3.0)])));
    assert_eq!(matches(&few, times(&[0, 10, 11, 12, 13])), ["ab@10"]);
    let exactly = judged(Kind::Sliding, Measure::Count(Condition::new([(Comparison::Eq, 2.0)])));
    assert_eq!(matches(&exactly, times(&[0, 1, 2, 20, 30])), ["de@30"]);
    let mut early = lane(&exactly, times(&[20, 30]));
    assert_eq!(early.settle(&exactly, Micros(30)), []);
    assert_eq!(shown(&early.settle(&exactly, Micros(31))), ["ab@30"]);
}

#[test]
fn average_and_percentile_look_at_the_whole_window() {
    let numbers = |numbers: &[f64]| -> Vec<Entry> {
        times(&[0, 1, 2, 3]).into_iter().zip(numbers).map(|(entry, number)| entry.number(*number)).collect()
    };
    let avg = judged(Kind::Sliding, Measure::Avg(Condition::new([(Comparison::Gt, 2.0)])));
    assert_eq!(matches(&avg, numbers(&[1.0, 2.0, 3.0, 2.0])), Vec::<String>::new());
    assert_eq!(matches(&avg, numbers(&[9.0, 2.0, 3.0, 2.0])), ["abcd@10"]);
    let percentile = |rank, bound| {
        let condition = Condition::new([(Comparison::Eq, bound)]);
        matches(&judged(Kind::Tumbling, Measure::Percentile { rank, condition }), numbers(&[4.0, 1.0, 3.0, 2.0])).len()
    };
    assert_eq!([percentile(25.0, 1.0), percentile(25.1, 2.0), percentile(75.0, 3.0), percentile(100.0, 4.0)], [1; 4]);
    assert_eq!(percentile(0.1, 1.0), 1);
}

#[test]
fn buckets_are_aligned_and_end_before_the_next() {
    assert_eq!(matches(&count(Kind::Tumbling, 2.0), times(&[9, 10, 19, 20])), ["bc@19"]);
    assert_eq!(matches(&count(Kind::Tumbling, 2.0), times(&[-10, -1, 0])), ["ab@-1"]);
    let few = judged(Kind::Tumbling, Measure::Count(Condition::new([(Comparison::Lt, 2.0)])));
    assert_eq!(matches(&few, times(&[0, 10, 11])), ["a@10"]);
    let mut early = lane(&few, times(&[3]));
    assert_eq!(early.settle(&few, Micros(9)), []);
    assert_eq!(shown(&early.settle(&few, Micros(10))), ["a@10"]);
}

#[test]
fn a_session_ends_with_a_gap_that_is_too_long() {
    assert_eq!(matches(&count(Kind::Session, 3.0), times(&[0, 10, 20, 30, 41, 42])), ["abcd@20"]);
    let few = judged(Kind::Session, Measure::Count(Condition::new([(Comparison::Lte, 2.0)])));
    assert_eq!(matches(&few, times(&[0, 10, 20, 30, 41, 42])), ["ef@52"]);
    let mut early = lane(&few, times(&[0, 5]));
    assert_eq!(early.settle(&few, Micros(15)), []);
    assert_eq!(shown(&early.settle(&few, Micros(16))), ["ab@15"]);
}

#[test]
fn a_match_is_told_as_growing_until_it_is_over() {
    for kind in [Kind::Sliding, Kind::Tumbling, Kind::Session] {
        let window = count(kind, 2.0);
        let mut lane = lane(&window, times(&[0, 1]));
        assert_eq!(lane.settle(&window, Micros(2)), [], "{kind:?}");
        assert_eq!(shown(&lane.growing(&window)), ["ab@1"], "{kind:?}");
        assert!(lane.push(&window, at(5, "c")));
        assert_eq!(shown(&lane.settle(&window, Micros(40))), ["abc@1"], "{kind:?}");
        assert_eq!(lane.growing(&window), [], "{kind:?}");
    }
}
