//! Finding a text in another, also in one that comes in pieces. Pure.

/// A search that goes on where it ended when more has come: what came before must not be looked at again
/// for every byte of who sends them one by one.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// What is looked for begins nowhere before.
    pub(super) from: usize,
    #[cfg(test)]
    looked_at: usize,
}

impl Search {
    /// First place of `needle` in `text`.
    pub(super) fn find(&mut self, text: &[u8], needle: &[u8]) -> Option<usize> {
        let unread = text.get(self.from..).unwrap_or_default();
        let found = find(unread, needle);
        #[cfg(test)]
        {
            self.looked_at += found.map_or(unread.len(), |at| at + needle.len());
        }
        // What may be the needle's beginning is looked at again.
        let passed = found.unwrap_or((unread.len() + 1).saturating_sub(needle.len()));
        self.from += passed;
        found.map(|_| self.from)
    }

    #[cfg(test)]
    pub(super) fn looked_at(&self) -> usize {
        self.looked_at
    }
}

/// First place of `needle`.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(hit) = text.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + hit;
        if text.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_whole_and_in_pieces() {
        for (text, needle, place) in [
            ("", "ab", None),
            ("a", "ab", None),
            ("ab", "ab", Some(0)),
            ("aab", "ab", Some(1)),
            ("xxaxab", "ab", Some(4)),
            ("ba", "ab", None),
        ] {
            let (text, needle) = (text.as_bytes(), needle.as_bytes());
            assert_eq!(find(text, needle), place);
            let mut search = Search::default();
            let mut found = None;
            for end in 0..=text.len() {
                found = found.or(search.find(&text[..end], needle));
            }
            assert_eq!(found, place);
        }
    }
}
