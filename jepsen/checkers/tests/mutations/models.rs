//! What the model store keeps, for each subject.
mod logs;
mod people;
mod sets;
mod videos;

use crate::Subject;
use crate::models::logs::Log;
use crate::models::people::{Graph, Unique};
use crate::models::sets::{Register, Set};
use crate::models::videos::{Blob, Pages};
use crate::store::{Dice, Model};

pub(crate) fn of(subject: Subject) -> Box<dyn Model> {
    match subject {
        Subject::Set => Box::new(Set::default()),
        Subject::Members => Box::new(Set {
            is_toggled: true,
            ..Set::default()
        }),
        Subject::Register => Box::new(Register::default()),
        Subject::Log | Subject::Session => Box::new(Log {
            has_sessions: subject == Subject::Session,
            ..Log::default()
        }),
        Subject::Graph => Box::new(Graph::default()),
        Subject::Unique => Box::new(Unique::default()),
        Subject::Pages => Box::new(Pages::default()),
        Subject::Blob => Box::new(Blob::default()),
    }
}

fn key(dice: &mut Dice) -> String {
    ["k", "l"][dice.roll(2)].to_owned()
}
