//! The causes of the SDK's errors, as one line of text.

use std::error::Error;

/// The longest message, in characters.
const LONGEST: usize = 400;

/// An error and its causes, the outermost first.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| -> Option<&'a (dyn Error + 'static)> { (*error).source() })
}

/// What the SDK says of its own layers, and not of what happened.
const LAYERS: [&str; 8] =
    ["dispatch failure", "response error", "service error", "other", "io error", "user error", "timeout", "timed out"];

/// The texts of an error and its causes, the outermost first. What another one says too is left out.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in chain(error).map(ToString::to_string).filter(|text| !LAYERS.contains(&text.as_str())) {
        match texts.last_mut() {
            Some(last) if text.contains(last.as_str()) => *last = text,
            Some(last) if last.contains(&text) => {}
            _ => texts.push(text),
        }
    }
    texts.join(": ")
}

/// One line of bounded length. Encoded authorization messages, a kilobyte each that says nothing to a reader, are cut.
pub fn one_line(text: &str) -> String {
    const ENCODED: &str = "Encoded authorization failure message:";
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = match text.split_once(ENCODED) {
        Some((before, blob)) => {
            let start: String = blob.trim_start().chars().take(16).collect();
            format!("{before}{ENCODED} {start}... (CloudTrail has it whole; sts:DecodeAuthorizationMessage reads it)")
        }
        None => text,
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length_without_the_encoded_blob() {
        let blob = "x".repeat(1000);
        let text = format!("You are not authorized\nto  do this. Encoded authorization failure message: {blob}");
        assert_eq!(
            one_line(&text),
            "You are not authorized to do this. Encoded authorization failure message: xxxxxxxxxxxxxxxx... \
             (CloudTrail has it whole; sts:DecodeAuthorizationMessage reads it)"
        );
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), LONGEST + 3);
    }
}
