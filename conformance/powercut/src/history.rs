//! What was asked of each key, what was acknowledged, and what may be there after a cut.

use serde::Serialize;

/// What a request leaves of a key when it succeeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) enum State {
    /// No object.
    Absent,
    /// An object whose bytes follow from this number and length.
    Object(u64, usize),
}

/// One request on one key; requests on a key follow one another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// What it leaves.
    pub(crate) leaves: State,
    /// Length of the log when it was sent.
    pub(crate) sent: u64,
    /// Length of the log when its success was known; none: it failed, or never was.
    pub(crate) acknowledged: Option<u64>,
}

/// What was found of a key after a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// As acknowledged, or as a request under way may have left it.
    Right,
    /// An acknowledged state is gone; an older one or nothing stands there.
    Lost,
    /// Bytes nobody wrote.
    Wrong,
}

/// Judges what was `found` after a cut at `cut`: what it may be, of which one that is right will do;
/// nothing: bytes that no request wrote.
pub(crate) fn judge(history: &[Request], cut: u64, found: &[State]) -> Verdict {
    let mut verdict = Verdict::Wrong;
    for state in found {
        match judge_one(history, cut, *state) {
            Verdict::Right => return Verdict::Right,
            worse => verdict = worse,
        }
    }
    verdict
}

fn judge_one(history: &[Request], cut: u64, found: State) -> Verdict {
    let floor = history
        .iter()
        .rposition(|r| r.acknowledged.is_some_and(|at| at <= cut));
    let after = floor.map_or(0, |f| f + 1);
    let floor_state = floor.map_or(State::Absent, |f| history[f].leaves);
    // A failed request may have happened all the same, as long as nothing acknowledged came after.
    let possible = history[after..]
        .iter()
        .take_while(|r| r.sent <= cut)
        .map(|r| r.leaves);
    if found == floor_state || possible.into_iter().any(|s| s == found) {
        Verdict::Right
    } else if found == State::Absent || history.iter().any(|r| r.leaves == found) {
        Verdict::Lost
    } else {
        Verdict::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let (a, b) = (State::Object(1, 1), State::Object(2, 1));
        let history = [
            Request {
                leaves: a,
                sent: 0,
                acknowledged: Some(10),
            },
            Request {
                leaves: b,
                sent: 20,
                acknowledged: Some(30),
            },
            Request {
                leaves: State::Absent,
                sent: 40,
                acknowledged: None,
            },
        ];
        for (cut, found, verdict) in [
            (5, State::Absent, Verdict::Right),
            (5, a, Verdict::Right),
            (15, State::Absent, Verdict::Lost),
            (15, a, Verdict::Right),
            (15, b, Verdict::Lost),
            (25, b, Verdict::Right),
            (35, a, Verdict::Lost),
            (35, b, Verdict::Right),
            (45, State::Absent, Verdict::Right),
            (45, b, Verdict::Right),
            (45, State::Object(3, 1), Verdict::Wrong),
        ] {
            assert_eq!(judge(&history, cut, &[found]), verdict, "{cut} {found:?}");
        }
        assert_eq!(
            judge(&history, 35, &[a, b]),
            Verdict::Right,
            "they look alike"
        );
        assert_eq!(judge(&history, 45, &[]), Verdict::Wrong);
    }
}
