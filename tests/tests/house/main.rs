//! The house rules that a program can check: who may know whom ([`architecture`]), and what every
//! file owes its reader ([`tidy`]).
//!
//! Each rule is a pure function from text to complaints, and is shown a bad sample before it is let
//! loose on the tree: a rule that cannot fail says nothing. A mistake that is made twice becomes a
//! rule here. None of this links a crate of the workspace, so it runs in a moment.
mod architecture;
mod rooms;
mod source;
mod tidy;

/// Fails with all complaints at once, since they are mended together.
#[track_caller]
fn assert_none(rule: &str, complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "{rule}: {} to mend\n  {}",
        complaints.len(),
        complaints.join("\n  ")
    );
}
