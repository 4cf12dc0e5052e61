//! The causes of the SDK's errors as one line of text.

use std::error::Error;

/// The longest message, in characters.
const LONGEST: usize = 400;
/// The most ARNs that are kept from the part that is cut off.
const MOST_ARNS: usize = 3;

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

/// Shortens a text to one line of bounded length. An encoded authorization message is a kilobyte that people cannot
/// read: it is cut, and the line says where to find the whole message and how to decode it. The ARNs in the part that
/// is cut off are kept: one of them names the policy that denies.
pub fn one_line(text: &str) -> String {
    const ENCODED: &str = "Encoded authorization failure message:";
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = match text.split_once(ENCODED) {
        Some((before, blob)) => {
            let start: String = blob.trim_start().chars().take(16).collect();
            format!(
                "{before}{ENCODED} {start}... (CloudTrail has it whole; 'aws sts decode-authorization-message --encoded-message' reads it)"
            )
        }
        None => text,
    };
    let Some((end, _)) = text.char_indices().nth(LONGEST) else { return text };
    // The cut is at the last space, if there is one, so that no ARN is split.
    let end = text[..end].rfind(' ').unwrap_or(end);
    let arns = text[end..].split(' ').filter(|word| word.starts_with("arn:")).take(MOST_ARNS);
    std::iter::once(format!("{}...", &text[..end])).chain(arns.map(str::to_owned)).collect::<Vec<_>>().join(" ")
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
             (CloudTrail has it whole; 'aws sts decode-authorization-message --encoded-message' reads it)"
        );
        let arn = format!("arn:aws:organizations::1:policy/o-a/service_control_policy/{}", "p".repeat(80));
        for before in [300, 380, 399, 500] {
            let line = one_line(&format!("{} with an explicit deny in a policy: {arn}", "w ".repeat(before / 2)));
            assert!(line.split(' ').any(|word| word == arn), "the policy is named whole: {line}");
        }
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), LONGEST + 3);
    }
}
