//! `Search` against a search that always begins anew.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use sabio_sync::separator::{Invalid, Progress, Search, Separators};

fn separators(list: &[&[u8]]) -> Separators {
    Separators::new(list.iter().map(|separator| separator.to_vec()).collect()).unwrap()
}

/// Searches `data` as it comes in, in pieces of these sizes.
fn search(data: &[u8], sizes: &[usize], separators: &Separators, limit: usize) -> Progress {
    let mut search = Search::new();
    let mut end = 0;
    for size in sizes {
        end = (end + size).min(data.len());
        match search.advance(&data[..end], separators, limit) {
            Progress::NotYet => {}
            progress => return progress,
        }
    }
    search.advance(data, separators, limit)
}

#[test]
fn a_separator_may_come_in_pieces() {
    let crlf = separators(&[b"\r\n\r\n"]);
    let data = b"GET / HTTP/1.0\r\n\r\nrest";
    assert_eq!(search(data, &[1; 30], &crlf, 100), Progress::Found(18));
    assert_eq!(search(data, &[15, 1, 1, 5], &crlf, 100), Progress::Found(18));
    assert_eq!(search(&data[..17], &[16, 1], &crlf, 100), Progress::NotYet);
}

#[test]
fn the_separator_that_ends_first_wins_and_then_the_shorter_one() {
    let list = separators(&[b"longer\n", b"\n", b"er"]);
    assert_eq!(search(b"a longer\n", &[9], &list, 100), Progress::Found(8));
    let list = separators(&[b"r\n", b"\n"]);
    assert_eq!(search(b"abcr\n", &[5], &list, 4), Progress::Found(5));
    // Measured to the shorter of the two.
    assert_eq!(search(b"abcr\n", &[5], &list, 3), Progress::TooLong(4));
}

#[test]
fn the_limit_does_not_count_the_separator() {
    let newline = Separators::newline();
    assert_eq!(search(b"abc\n", &[4], &newline, 3), Progress::Found(4));
    assert_eq!(search(b"abcd\n", &[5], &newline, 3), Progress::TooLong(4));
    assert_eq!(search(b"abc", &[3], &newline, 3), Progress::NotYet);
    assert_eq!(search(b"abcd", &[4], &newline, 3), Progress::Unfound(4));
}

#[test]
fn a_buffer_that_somebody_else_has_read_from_is_not_searched_out_of_bounds() {
    let newline = Separators::newline();
    let mut search = Search::new();
    assert_eq!(search.advance(b"abcdef", &newline, 100), Progress::NotYet);
    assert_eq!(search.advance(b"a\n", &newline, 100), Progress::NotYet);
    assert_eq!(search.advance(b"a\nbcdef\n", &newline, 100), Progress::Found(8));
}

#[test]
fn separators_have_to_be_there_and_not_empty() {
    assert_eq!(Separators::new(vec![]), Err(Invalid::None));
    assert_eq!(Separators::new(vec![b"a".to_vec(), vec![]]), Err(Invalid::Empty));
    assert_eq!(Separators::new(vec![b"\n".to_vec()]), Ok(Separators::newline()));
}

/// What asyncio's rules say of a buffer that is searched at once, by trying every end.
fn by_hand(data: &[u8], list: &[Vec<u8>], limit: usize) -> Progress {
    let mut sorted = list.to_vec();
    sorted.sort_by_key(Vec::len);
    for end in 0..=data.len() {
        for separator in &sorted {
            if data[..end].ends_with(separator) {
                let start = end - separator.len();
                return if start > limit {
                    Progress::TooLong(start)
                } else {
                    Progress::Found(end)
                };
            }
        }
    }
    let longest = sorted.last().unwrap().len();
    let consumed = (data.len() + 1).saturating_sub(longest);
    if data.len() >= sorted[0].len() && consumed > limit {
        Progress::Unfound(consumed)
    } else {
        Progress::NotYet
    }
}

fn letters(size: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'\n')], size)
}

proptest! {
    #[test]
    fn it_finds_what_a_search_by_hand_finds(
        data in letters(0..60),
        list in proptest::collection::vec(letters(1..5), 1..4),
        limit in 0usize..70,
    ) {
        let separators = Separators::new(list.clone()).unwrap();
        prop_assert_eq!(search(&data, &[data.len()], &separators, limit), by_hand(&data, &list, limit));
    }

    #[test]
    fn pieces_make_no_difference_to_what_is_found(
        data in letters(0..60),
        list in proptest::collection::vec(letters(1..5), 1..4),
        sizes in proptest::collection::vec(0usize..6, 0..40),
    ) {
        let separators = Separators::new(list.clone()).unwrap();
        prop_assert_eq!(search(&data, &sizes, &separators, 100), by_hand(&data, &list, 100));
    }
}
