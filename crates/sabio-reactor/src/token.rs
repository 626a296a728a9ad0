//! The name under which the poller knows a descriptor.
//!
//! A token is an index and the generation of what stands at that index. Events carry tokens, never
//! descriptors: an event that was fetched before its descriptor was closed names a generation that
//! is gone, and cannot reach whoever got the descriptor's number next.

/// An index into a [`Slab`](crate::Slab) and the generation of the entry it was given for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    /// The waker's own token; no slab gives it to an entry.
    pub const WAKER: Self = Self {
        index: u32::MAX,
        generation: u32::MAX,
    };

    /// The entry `index` of generation `generation`.
    #[inline]
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The place in the slab.
    #[inline]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which of the entries that stood at this place is meant.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The form in which the kernel keeps it.
    #[inline]
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// Back from [`to_u64`](Self::to_u64).
    #[inline]
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self {
            index: value as u32,
            generation: (value >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_survives_the_kernel(index: u32, generation: u32) {
            let token = Token::new(index, generation);
            prop_assert_eq!(Token::from_u64(token.to_u64()), token);
        }
    }

    #[test]
    fn the_wakers_token_survives_the_kernel() {
        assert_eq!(Token::from_u64(Token::WAKER.to_u64()), Token::WAKER);
    }
}
