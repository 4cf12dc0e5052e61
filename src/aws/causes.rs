//! The causes of the SDK's errors as one line of text.

use std::error::Error;

/// An error and its causes, the outermost first.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| -> Option<&'a (dyn Error + 'static)> { (*error).source() })
}

/// Texts that name only a layer of the SDK and say nothing about the failure.
const LAYERS: [&str; 8] =
    ["dispatch failure", "response error", "service error", "other", "io error", "user error", "timeout", "timed out"];

/// The texts of an error and its causes, the outermost first. A text that the neighbouring text contains is left out.
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
