//! Batches of datagrams: order, addresses, borders, errors.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use sabio_reactor::socket::{
    Address, MOST_DATAGRAMS, ReceiveBatch, can_send_rows, local_address, receive_rows, send_batch,
};

fn udp() -> (UdpSocket, Address) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = Address::from(socket.local_addr().unwrap());
    (socket, address)
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// Sends datagrams one by one, in one call.
fn send(socket: BorrowedFd<'_>, datagrams: &[(&[u8], Option<&Address>)]) -> io::Result<usize> {
    send_batch(socket, datagrams, &mut false)
}

/// All that has been received, in order.
fn drain(batch: &mut ReceiveBatch, socket: impl AsFd) -> Vec<(Vec<u8>, Option<Address>)> {
    let mut all = Vec::new();
    while let Ok(count) = batch.receive(socket.as_fd(), MOST_DATAGRAMS) {
        for index in 0..count {
            let datagram = batch.datagram(index).unwrap();
            all.extend(
                datagram
                    .pieces()
                    .map(|piece| (piece.to_vec(), datagram.from.clone())),
            );
        }
        assert!(batch.datagram(count).is_none());
    }
    all
}

#[test]
fn a_batch_keeps_the_order_the_borders_and_the_senders() {
    let ((left, left_address), (right, right_address)) = (udp(), udp());
    let (third, third_address) = udp();
    let texts: Vec<Vec<u8>> = (0..MOST_DATAGRAMS as u8)
        .map(|number| vec![number; usize::from(number)])
        .collect();
    let datagrams: Vec<_> = texts
        .iter()
        .map(|text| (text.as_slice(), Some(&right_address)))
        .collect();
    assert_eq!(send(left.as_fd(), &datagrams).unwrap(), MOST_DATAGRAMS);
    assert_eq!(
        send(third.as_fd(), &[(b"third".as_slice(), Some(&right_address))]).unwrap(),
        1
    );

    let mut batch = ReceiveBatch::new(5, 64);
    let mut expected: Vec<_> = texts
        .into_iter()
        .map(|text| (text, Some(left_address.clone())))
        .collect();
    expected.push((b"third".to_vec(), Some(third_address)));
    assert_eq!(drain(&mut batch, &right), expected);
    assert_eq!(
        errno(batch.receive(right.as_fd(), MOST_DATAGRAMS)),
        Some(libc::EAGAIN)
    );
    assert!(batch.datagram(0).is_none());
}

#[test]
fn a_connected_socket_needs_no_addresses() {
    let ((left, _), (right, _)) = (udp(), udp());
    left.connect(right.local_addr().unwrap()).unwrap();
    let sent = send(
        left.as_fd(),
        &[
            (b"a".as_slice(), None),
            (b"".as_slice(), None),
            (b"c".as_slice(), None),
        ],
    );
    assert_eq!(sent.unwrap(), 3);
    let received = drain(&mut ReceiveBatch::new(8, 16), &right);
    let texts: Vec<_> = received.iter().map(|(text, _)| text.as_slice()).collect();
    assert_eq!(texts, [b"a".as_slice(), b"", b"c"]);
}

#[test]
fn no_more_than_a_batch_is_sent_at_once() {
    let ((left, _), (right, right_address)) = (udp(), udp());
    let datagrams = vec![(b"x".as_slice(), Some(&right_address)); MOST_DATAGRAMS + 5];
    assert_eq!(send(left.as_fd(), &datagrams).unwrap(), MOST_DATAGRAMS);
    assert_eq!(drain(&mut ReceiveBatch::new(8, 16), &right).len(), MOST_DATAGRAMS);
}

#[test]
fn an_error_is_of_the_first_datagram() {
    let ((left, _), (_right, right_address)) = (udp(), udp());
    let long = vec![0; 70_000];
    let good = (b"good".as_slice(), Some(&right_address));
    let bad = (long.as_slice(), Some(&right_address));
    assert_eq!(send(left.as_fd(), &[good, bad, good]).unwrap(), 1);
    assert_eq!(errno(send(left.as_fd(), &[bad, good])), Some(libc::EMSGSIZE));
    let stranger = Address::Other(12);
    assert_eq!(
        errno(send(left.as_fd(), &[(b"x".as_slice(), Some(&stranger))])),
        Some(libc::EAFNOSUPPORT)
    );
    assert_eq!(
        send(left.as_fd(), &[good, (b"x".as_slice(), Some(&stranger))]).unwrap(),
        1
    );
}

#[test]
fn what_is_longer_than_its_memory_is_cut() {
    let ((left, _), (right, right_address)) = (udp(), udp());
    send(left.as_fd(), &[(b"0123456789".as_slice(), Some(&right_address))]).unwrap();
    assert_eq!(drain(&mut ReceiveBatch::new(2, 4), &right)[0].0, b"0123");
}

#[test]
fn unix_datagrams_by_path_and_by_abstract_name() {
    let folder = std::env::temp_dir().join(format!("sabio-datagram-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("right");
    let _ = std::fs::remove_file(&path);
    let right = UnixDatagram::bind(&path).unwrap();
    let left = UnixDatagram::unbound().unwrap();
    let address = local_address(&right).unwrap();
    assert_eq!(
        send(left.as_fd(), &[(b"hello".as_slice(), Some(&address))]).unwrap(),
        1
    );
    assert_eq!(
        drain(&mut ReceiveBatch::new(2, 64), &right),
        [(b"hello".to_vec(), None)]
    );
    std::fs::remove_dir_all(&folder).unwrap();

    let long = Address::UnixPath(vec![b'x'; 200]);
    assert!(send(left.as_fd(), &[(b"x".as_slice(), Some(&long))]).is_err());
}

#[test]
fn rows_arrive_as_the_datagrams_that_they_are() {
    for receives_rows in [false, true] {
        let ((left, left_address), (right, right_address)) = (udp(), udp());
        let (third, third_address) = udp();
        if !can_send_rows(left.as_fd()) {
            continue;
        }
        if receives_rows {
            receive_rows(right.as_fd()).unwrap();
        }
        // Rows of several lengths, with short and empty datagrams between them, and two addresses in turn.
        let sizes = [
            10, 10, 10, 4, 10, 10, 0, 10, 10, 20, 20, 20, 1, 1, 1000, 1000, 999,
        ];
        let texts: Vec<Vec<u8>> = (0_u8..)
            .zip(sizes)
            .map(|(number, size)| vec![number; size])
            .collect();
        let mut datagrams: Vec<_> = texts
            .iter()
            .map(|text| (text.as_slice(), Some(&right_address)))
            .collect();
        datagrams.insert(2, (b"0123456789".as_slice(), Some(&third_address)));
        let mut rows = true;
        assert_eq!(
            send_batch(left.as_fd(), &datagrams, &mut rows).unwrap(),
            datagrams.len()
        );
        assert!(rows);
        let expected: Vec<_> = texts
            .into_iter()
            .map(|text| (text, Some(left_address.clone())))
            .collect();
        let mut batch = ReceiveBatch::new(8, 64 * 1024);
        assert_eq!(drain(&mut batch, &right), expected);
        assert_eq!(drain(&mut batch, &third).len(), 1);
    }
}

#[test]
fn a_row_is_received_in_one_piece() {
    let ((left, _), (right, right_address)) = (udp(), udp());
    if !can_send_rows(left.as_fd()) || receive_rows(right.as_fd()).is_err() {
        return;
    }
    let datagrams = vec![(b"0123456789".as_slice(), Some(&right_address)); MOST_DATAGRAMS];
    let mut rows = true;
    assert_eq!(
        send_batch(left.as_fd(), &datagrams, &mut rows).unwrap(),
        MOST_DATAGRAMS
    );
    let mut batch = ReceiveBatch::new(8, 64 * 1024);
    assert_eq!(batch.receive(right.as_fd(), 1).unwrap(), 1);
    let row = batch.datagram(0).unwrap();
    assert_eq!((row.row, row.data.len()), (Some(10), 10 * MOST_DATAGRAMS));
    assert_eq!(row.pieces().count(), MOST_DATAGRAMS);
    assert_eq!(errno(batch.receive(right.as_fd(), 8)), Some(libc::EAGAIN));
}

#[test]
fn a_unix_socket_sends_no_rows() {
    let (left, right) = UnixDatagram::pair().unwrap();
    assert!(!can_send_rows(left.as_fd()));
    assert!(receive_rows(right.as_fd()).is_err());
}
