//! Clean histories raise no alarm.
use checkers::verdict::Verdict;

use crate::store::{Dice, ROUGH, history};
use crate::{SUBJECTS, judge};

const HISTORIES: u64 = 10_000;

#[test]
fn ten_thousand_clean_histories_raise_no_alarm() {
    let mut unknown = 0;
    for seed in 0..HISTORIES {
        let subject = SUBJECTS[usize::try_from(seed).unwrap() % SUBJECTS.len()];
        let mut dice = Dice(seed);
        let (steps, clients) = (20 + dice.roll(180), 1 + dice.roll(7));
        let history = history(subject, steps, clients, ROUGH, &mut dice);
        match judge(subject, &history) {
            Verdict::Valid => {}
            // Too short to have been read.
            Verdict::Unknown { .. } => unknown += 1,
            Verdict::Invalid { why, operations } => {
                panic!("{subject:?}, seed {seed}: {why} {operations:?}")
            }
        }
    }
    assert!(unknown * 100 < HISTORIES, "{unknown} were not decided");
}
