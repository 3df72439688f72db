//! The prose of experiment files: paragraphs, lists, and code between backticks.

use std::iter;

/// Some words, or some code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) code: bool,
}

/// A paragraph, and the list under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paragraph {
    pub(super) spans: Vec<Span>,
    pub(super) items: Vec<Vec<Span>>,
}

/// Cuts a line at its backticks; what stands between two of them is code.
pub(super) fn spans(text: &str) -> Vec<Span> {
    let parts = text.split('`').zip(iter::successors(Some(false), |code| Some(!code)));
    parts
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, code)| Span { text: text.to_owned(), code })
        .collect()
}

/// Empty lines part paragraphs; a line that begins with `- ` begins an item, which the lines behind it go on.
pub(super) fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut paragraphs = Vec::new();
    for block in text.trim().split("\n\n") {
        let mut parts = vec![String::new()];
        for line in block.lines() {
            match (line.strip_prefix("- "), parts.last_mut()) {
                (None, Some(part)) => {
                    part.push(' ');
                    part.push_str(line.trim());
                }
                (item, _) => parts.push(item.unwrap_or_default().to_owned()),
            }
        }
        let mut parts = parts.iter().map(|part| spans(part.trim()));
        let spans = parts.next().unwrap_or_default();
        paragraphs.push(Paragraph { spans, items: parts.collect() });
    }
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_items_and_code_are_found() {
        let found = paragraphs("One\ntwo `x < y`.\n\nThree:\n- a\n  b\n- c\n");
        let word = |text: &str| Span { text: text.to_owned(), code: false };
        let code = Span { text: "x < y".to_owned(), code: true };
        assert_eq!(
            found,
            [
                Paragraph { spans: vec![word("One two "), code, word(".")], items: Vec::new() },
                Paragraph { spans: vec![word("Three:")], items: vec![vec![word("a b")], vec![word("c")]] },
            ]
        );
    }
}
