//! What a registration wants to hear of: reading, writing, and whether once or until told otherwise.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};

/// A set of the directions that a descriptor is watched for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Default)]
pub struct Interest(u8);

impl Interest {
    /// Nothing: the kernel does not know the descriptor.
    pub const NONE: Self = Self(0);
    /// A read would not block: data, end of stream, a connection to accept, or an error.
    pub const READABLE: Self = Self(1);
    /// A write would not block: room in the buffer, a finished connect, or an error.
    pub const WRITABLE: Self = Self(2);
    /// Beside a direction: the registration rests after its first event until it is modified.
    pub const ONCE: Self = Self(4);

    /// Whether everything in `other` is in this set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether reading is in the set.
    #[inline]
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.contains(Self::READABLE)
    }

    /// Whether writing is in the set.
    #[inline]
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.contains(Self::WRITABLE)
    }

    /// Whether no direction is in the set.
    #[inline]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 & (Self::READABLE.0 | Self::WRITABLE.0) == 0
    }

    /// This set without what is in `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Interest {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Interest {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Interest {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::READABLE, "READABLE"),
            (Self::WRITABLE, "WRITABLE"),
            (Self::ONCE, "ONCE"),
        ];
        let mut separator = "";
        for (flag, name) in names {
            if self.contains(flag) {
                write!(formatter, "{separator}{name}")?;
                separator = " | ";
            }
        }
        if separator.is_empty() {
            formatter.write_str("NONE")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_combine_and_print() {
        let both = Interest::READABLE | Interest::WRITABLE;
        assert!(both.contains(Interest::READABLE) && both.is_writable());
        assert!(!Interest::READABLE.is_writable());
        assert_eq!(both.without(Interest::READABLE), Interest::WRITABLE);
        assert!((both & Interest::ONCE).is_none());
        assert!(Interest::ONCE.is_none());
        assert_eq!(
            format!("{:?}", both | Interest::ONCE),
            "READABLE | WRITABLE | ONCE"
        );
        assert_eq!(format!("{:?}", Interest::NONE), "NONE");
    }
}
