//! A vector whose entries are named by generation-checked tokens.
//!
//! The invariant: a token given out by [`Slab::insert`] reaches that very entry until it is removed
//! and nothing afterwards. A place whose generations are used up is never used again.

use crate::token::Token;

/// Entries with stable names, each operation O(1).
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    /// The first free place, or `NONE`.
    free: u32,
    len: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Entry(T),
    Free { next: u32 },
}

/// No place; also the one index that [`Token::WAKER`] reserves.
const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    /// An empty slab, without memory of its own.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Puts `value` in and names it; gives it back when four thousand million entries are in.
    ///
    /// # Errors
    /// The value itself, when no name is left.
    pub fn insert(&mut self, value: T) -> Result<Token, T> {
        if let Some(place) = self.places.get_mut(self.free as usize) {
            let index = self.free;
            if let Content::Free { next } = place.content {
                self.free = next;
                place.content = Content::Entry(value);
                self.len += 1;
                return Ok(Token::new(index, place.generation));
            }
            return Err(value);
        }
        match u32::try_from(self.places.len()) {
            Ok(index) if index < NONE => {
                self.places.push(Place {
                    generation: 0,
                    content: Content::Entry(value),
                });
                self.len += 1;
                Ok(Token::new(index, 0))
            }
            _ => Err(value),
        }
    }

    /// The entry, unless it was removed.
    #[inline]
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        match self.places.get(token.index() as usize) {
            Some(Place {
                generation,
                content: Content::Entry(value),
            }) if *generation == token.generation() => Some(value),
            _ => None,
        }
    }

    /// The entry, unless it was removed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.places.get_mut(token.index() as usize) {
            Some(Place {
                generation,
                content: Content::Entry(value),
            }) if *generation == token.generation() => Some(value),
            _ => None,
        }
    }

    /// Takes the entry out; from here on its token names nothing.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        self.get(token)?;
        let place = self.places.get_mut(token.index() as usize)?;
        let reusable = place.generation < u32::MAX - 1;
        let next = if reusable { self.free } else { NONE };
        place.generation += 1;
        let content = std::mem::replace(&mut place.content, Content::Free { next });
        if reusable {
            self.free = token.index();
        }
        self.len -= 1;
        match content {
            Content::Entry(value) => Some(value),
            Content::Free { .. } => None,
        }
    }

    /// How many entries there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no entry.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every entry with its token, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.places
            .iter()
            .zip(0u32..)
            .filter_map(|(place, index)| match &place.content {
                Content::Entry(value) => Some((Token::new(index, place.generation), value)),
                Content::Free { .. } => None,
            })
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stale_token_never_reaches_a_newer_entry() {
        let mut slab = Slab::new();
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(second.index(), first.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
    }

    #[test]
    fn a_place_with_used_up_generations_retires() {
        let mut slab = Slab::new();
        let first = slab.insert(1).unwrap();
        slab.places[0].generation = u32::MAX - 1;
        let last = Token::new(first.index(), u32::MAX - 1);
        assert_eq!(slab.remove(last), Some(1));
        let next = slab.insert(2).unwrap();
        assert_ne!(next.index(), first.index());
        assert_eq!(slab.get(next), Some(&2));
        assert_eq!(slab.len(), 1);
    }

    proptest! {
        /// Random inserts and removals against a plain list of pairs.
        #[test]
        fn a_slab_is_a_map_from_tokens(steps in prop::collection::vec((any::<bool>(), any::<usize>()), 1..200)) {
            let mut slab = Slab::new();
            let mut model: Vec<(Token, usize)> = Vec::new();
            let mut gone: Vec<Token> = Vec::new();
            for (step, (insert, pick)) in steps.into_iter().enumerate() {
                if insert || model.is_empty() {
                    let token = slab.insert(step).unwrap();
                    prop_assert!(!gone.contains(&token));
                    prop_assert!(model.iter().all(|(other, _)| *other != token));
                    model.push((token, step));
                } else {
                    let (token, value) = model.swap_remove(pick % model.len());
                    prop_assert_eq!(slab.remove(token), Some(value));
                    gone.push(token);
                }
                prop_assert_eq!(slab.len(), model.len());
                prop_assert!(gone.iter().all(|token| slab.get(*token).is_none()));
                for (token, value) in &model {
                    prop_assert_eq!(slab.get(*token), Some(value));
                }
                let mut listed: Vec<_> = slab.iter().map(|(token, value)| (token, *value)).collect();
                listed.sort_unstable();
                let mut expected = model.clone();
                expected.sort_unstable();
                prop_assert_eq!(listed, expected);
            }
        }
    }
}
