//! Sequences, steps in any order, and steps that do not come.

use super::*;

fn sequence(count: usize) -> Window {
    steps(10, count, Measure::Sequence)
}

fn all_of(count: usize) -> Window {
    steps(10, count, Measure::AllOf(Combination::all(count)))
}

fn absence() -> Window {
    steps(10, 2, Measure::Absence { after: 0, of: 1 })
}

const NONE: Vec<String> = Vec::new();

#[test]
fn a_sequence_is_in_order_and_in_time() {
    assert_eq!(matches(&sequence(2), vec![at(0, "a"), at(10, "b").step(1)]), ["ab@10"]);
    assert_eq!(matches(&sequence(2), vec![at(0, "a"), at(11, "b").step(1)]), NONE);
    assert_eq!(matches(&sequence(2), vec![at(0, "a").step(1), at(1, "b")]), NONE);
    let three = vec![at(0, "a"), at(4, "b").step(1), at(4, "c").step(1), at(9, "d").step(2)];
    assert_eq!(matches(&sequence(3), three), ["abd@9"]);
}

#[test]
fn each_first_step_has_its_turn_when_the_one_before_fails() {
    let entries = vec![at(0, "a"), at(5, "b"), at(12, "c").step(1)];
    assert_eq!(matches(&sequence(2), entries), ["bc@12"]);
    let entries = vec![at(0, "a"), at(1, "b").step(1), at(5, "c"), at(8, "d").step(1), at(13, "e").step(2)];
    assert_eq!(matches(&sequence(3), entries), ["cde@13"]);
}

#[test]
fn a_match_of_a_sequence_uses_up_everything_before_its_last() {
    let entries = vec![at(0, "a"), at(1, "b"), at(2, "c").step(1), at(3, "d").step(1), at(4, "e"), at(5, "f").step(1)];
    assert_eq!(matches(&sequence(2), entries), ["ac@2", "ef@5"]);
}

#[test]
fn at_one_time_the_id_decides_and_one_event_may_be_both_steps() {
    assert_eq!(matches(&sequence(2), vec![at(5, "a"), at(5, "b").step(1)]), ["ab@5"]);
    assert_eq!(matches(&sequence(2), vec![at(5, "b"), at(5, "a").step(1)]), NONE);
    let mut copy = at(5, "a").step(1);
    copy.place.origin = "another.json".into();
    assert_eq!(matches(&sequence(2), vec![copy, at(5, "a")]), ["aa@5"]);
}

#[test]
fn steps_in_any_order_within_the_time() {
    assert_eq!(matches(&all_of(2), vec![at(0, "a").step(1), at(10, "b")]), ["ab@10"]);
    assert_eq!(matches(&all_of(2), vec![at(0, "a").step(1), at(11, "b")]), NONE);
    assert_eq!(matches(&all_of(2), vec![at(0, "a"), at(1, "b")]), NONE);
    let entries = vec![at(0, "a"), at(5, "b"), at(8, "c").step(1), at(9, "d"), at(11, "e").step(1)];
    assert_eq!(matches(&all_of(2), entries), ["abcd@8"]);
}

#[test]
fn a_combination_with_not_is_judged_when_the_window_is_over() {
    use Combination::{And, Not, Or, Step};
    let either = And(vec![Step(0), Or(vec![Step(1), Not(Box::new(Step(2)))])]);
    let window = steps(10, 3, Measure::AllOf(either));
    assert_eq!(matches(&window, vec![at(0, "a"), at(5, "b").step(2), at(10, "c").step(1)]), ["abc@10"]);
    assert_eq!(matches(&window, vec![at(0, "a"), at(5, "b").step(2), at(11, "c").step(1)]), NONE);
    assert_eq!(matches(&window, vec![at(0, "a")]), ["a@10"]);
}

#[test]
fn absence_waits_exactly_within() {
    assert_eq!(matches(&absence(), vec![at(0, "a")]), ["a@10"]);
    assert_eq!(matches(&absence(), vec![at(0, "a"), at(10, "b").step(1)]), NONE);
    assert_eq!(matches(&absence(), vec![at(0, "a"), at(11, "b").step(1)]), ["a@10"]);
    assert_eq!(matches(&absence(), vec![at(0, "a").step(1), at(1, "b")]), ["b@11"]);
    assert_eq!(matches(&absence(), vec![at(0, "a"), at(1, "b"), at(11, "c").step(1)]), ["a@10"]);
    let mut lane = lane(&absence(), vec![at(0, "a")]);
    assert_eq!(lane.settle(&absence(), Micros(10)), []);
    assert_eq!(shown(&lane.settle(&absence(), Micros(11))), ["a@10"]);
}

#[test]
fn at_one_time_what_follows_has_the_greater_id() {
    assert_eq!(matches(&absence(), vec![at(5, "a"), at(5, "b").step(1)]), NONE);
    assert_eq!(matches(&absence(), vec![at(5, "b"), at(5, "a").step(1)]), ["b@15"]);
    assert_eq!(matches(&absence(), vec![at(5, "a"), at(5, "a").step(1)]), ["a@15"]);
}

#[test]
fn a_sign_of_life_that_ends() {
    let window = steps(10, 1, Measure::Absence { after: 0, of: 0 });
    assert_eq!(matches(&window, times(&[0, 10, 20, 31])), ["c@30", "d@41"]);
}

/// A step that is no step of the window can come only from a rule that was changed meanwhile.
#[test]
fn a_step_too_many_is_passed_over() {
    assert_eq!(matches(&sequence(2), vec![at(0, "a"), at(1, "x").step(7), at(2, "b").step(1)]), ["ab@2"]);
}
