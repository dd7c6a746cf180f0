//! What a checker says.
use serde::{Deserialize, Serialize};

/// The judgement over one history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// No violation found.
    Valid,
    /// A promise was broken; `operations` are indexes into the history.
    Invalid { why: String, operations: Vec<usize> },
    /// It cannot be told: too little happened, or checking took too long. Never a pass.
    Unknown { why: String },
}

impl Verdict {
    /// The worse of two: a violation outweighs ignorance, ignorance outweighs a pass.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Invalid { .. }, _) => self,
            (_, Self::Invalid { .. }) => other,
            (Self::Unknown { .. }, _) => self,
            (Self::Valid, _) => other,
        }
    }

    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid)
    }

    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid { .. })
    }
}
