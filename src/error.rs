//! Errors as people read them.

use std::error::Error;

/// An error and all its causes, in one line.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    causes.join(": ").replace(char::is_control, " ")
}
