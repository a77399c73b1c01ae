use super::*;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![number; len];
    bytes[..12].copy_from_slice(&[2, 0, 0, 0, 0, 99, 2, 0, 0, 0, 0, number]);
    bytes
}

fn at(milliseconds: u64) -> Time {
    Time(milliseconds * 1000)
}

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn port(socket: impl Into<OwnedFd>, to: Destination) -> DgramPort {
    let mut port = DgramPort::new(Framing::Plain);
    port.attach(socket.into(), None, to).unwrap();
    port
}

fn send(port: &mut DgramPort, bytes: &[u8]) -> Drops {
    let mut drops = Drops::default();
    port.push(at(0), &Frame::plain(bytes)).unwrap_or_else(|reason| drops.count(reason));
    port.flush(at(0), &mut drops).unwrap();
    drops
}

/// What the port reads: frames, and reasons for what is none.
fn read(port: &mut DgramPort) -> Vec<Result<Vec<u8>, DropReason>> {
    let mut got = Vec::new();
    let mut batch = DatagramBatch::default();
    port.read(at(0), &mut batch, &mut |frame| got.push(frame.map(<[u8]>::to_vec))).unwrap();
    got
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buf = vec![0; 1 << 16];
    let (len, _) = socket.recv_from(&mut buf).unwrap();
    buf.truncate(len);
    buf
}

#[test]
fn frames_pass_between_connected_sockets_and_runts_are_padded() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let mut port = port(ours, Destination::Peer);
    assert_eq!(send(&mut port, &frame(1, 20)).total(), 0);
    let mut buf = [0; 100];
    assert_eq!(theirs.recv(&mut buf).unwrap(), 60);
    assert_eq!(buf[..20], frame(1, 20));
    theirs.send(&frame(2, MAX_LEN)).unwrap();
    assert_eq!(read(&mut port), [Ok(frame(2, MAX_LEN))]);
}

#[test]
fn a_receiver_that_does_not_read_costs_a_bounded_queue_and_is_tried_again_later_and_later() {
    let directory = std::env::temp_dir().join(format!("wirebay-dgram-{}", std::process::id()));
    let _ = std::fs::remove_file(&directory);
    let theirs = UnixDatagram::bind(&directory).unwrap();
    let path = directory.to_str().unwrap().to_owned();
    let mut port = port(UnixDatagram::unbound().unwrap(), Destination::Unix(path));
    let mut full = 0;
    for _ in 0..200 {
        full += send(&mut port, &frame(1, 60_000)).get(DropReason::QueueFull);
    }
    assert!(full > 100);
    assert_eq!(port.room(), 0);
    assert_eq!(port.watch(), None, "the kernel would never tell");
    let first = port.deadline().unwrap();
    port.flush(first, &mut Drops::default()).unwrap();
    assert!(port.deadline().unwrap() > first + (first - at(0)));
    theirs.set_nonblocking(true).unwrap();
    let (mut taken, mut buf) = (0, vec![0; 70_000]);
    let later = at(1000);
    assert!(theirs.recv(&mut buf).is_ok());
    taken += 1;
    port.flush(later, &mut Drops::default()).unwrap();
    assert_eq!(port.deadline(), Some(later + FIRST_RETRY), "one that reads is tried again soon");
    while let Some(now) = port.deadline() {
        while theirs.recv(&mut buf).is_ok() {
            taken += 1;
        }
        port.flush(now, &mut Drops::default()).unwrap();
    }
    assert!(taken >= QUEUE / 60_000 && port.room() == QUEUE);
    std::fs::remove_file(&directory).unwrap();
}

#[test]
fn a_peer_that_is_not_there_costs_its_frames_and_nothing_else() {
    let mut unix = port(UnixDatagram::unbound().unwrap(), Destination::Unix("/nonexistent/x".into()));
    assert_eq!(send(&mut unix, &frame(1, 60)).get(DropReason::HostRefused), 1);
    let (ours, theirs) = (udp(), udp());
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    drop(theirs);
    let mut port = port(ours, Destination::Peer);
    let mut drops = 0;
    for _ in 0..10 {
        drops += send(&mut port, &frame(1, 60)).get(DropReason::HostRefused);
        assert_eq!(read(&mut port), []);
    }
    assert!(drops <= 10);
    assert!(port.queue.is_empty());
}

#[test]
fn a_frame_longer_than_a_datagram_is_never_queued() {
    let port = port(udp(), Destination::Inet(vec!["127.0.0.1:9".parse().unwrap()]));
    assert_eq!(port.max_frame(), MAX_UDP);
}

#[test]
fn who_spoke_last_is_answered_and_a_greeting_is_no_frame() {
    let (ours, first, second) = (udp(), udp(), udp());
    let here = ours.local_addr().unwrap();
    let mut port = port(ours, Destination::Sender);
    assert_eq!(send(&mut port, &frame(9, 60)).get(DropReason::PeerUnknown), 1);
    first.send_to(GREETING, here).unwrap();
    assert_eq!(read(&mut port), []);
    send(&mut port, &frame(1, 60));
    assert_eq!(received(&first), frame(1, 60));
    second.send_to(&frame(2, 60), here).unwrap();
    assert_eq!(read(&mut port), [Ok(frame(2, 60))]);
    first.send_to(b"no frame", here).unwrap();
    read(&mut port);
    send(&mut port, &frame(3, 60));
    assert_eq!(received(&second), frame(3, 60));
}

#[test]
fn a_tunnel_learns_where_stations_are_and_takes_frames_of_its_peers_alone() {
    let peers = ["127.0.0.2:0", "127.0.0.3:0"].map(|addr| UdpSocket::bind(addr).unwrap());
    for peer in &peers {
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    let ours = udp();
    let here = ours.local_addr().unwrap();
    let to = Destination::Inet(peers.iter().map(|peer| peer.local_addr().unwrap()).collect());
    let mut port = port(ours, to);
    send(&mut port, &frame(1, 60));
    assert_eq!([received(&peers[0]), received(&peers[1])], [frame(1, 60), frame(1, 60)]);
    peers[1].send_to(&frame(99, 60), here).unwrap();
    udp().send_to(&frame(5, 60), here).unwrap();
    assert_eq!(read(&mut port), [Ok(frame(99, 60)), Err(DropReason::PeerUnknown)]);
    // Station 99 is the destination of all frames here.
    send(&mut port, &frame(2, 60));
    assert_eq!(received(&peers[1]), frame(2, 60));
    peers[0].set_nonblocking(true).unwrap();
    assert!(peers[0].recv(&mut [0; 10]).is_err());
}

#[test]
fn our_own_frames_are_known_when_the_group_sends_them_back() {
    let (group, sender, other) = (udp(), udp(), udp());
    sender.connect(group.local_addr().unwrap()).unwrap();
    other.connect(group.local_addr().unwrap()).unwrap();
    let mut port = DgramPort::new(Framing::Plain);
    port.attach(group.into(), Some(sender.into()), Destination::Peer).unwrap();
    send(&mut port, &frame(1, 60));
    other.send(&frame(2, 60)).unwrap();
    assert_eq!(read(&mut port), [Err(DropReason::OwnFrame), Ok(frame(2, 60))]);
}

#[test]
fn the_end_of_a_connection_is_one_sentence() {
    use rustix::net::{SocketFlags, socketpair};
    let pair =
        || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
    let (ours, theirs) = pair();
    let mut reading = port(ours, Destination::Peer);
    rustix::net::send(&theirs, &frame(1, 60), rustix::net::SendFlags::empty()).unwrap();
    drop(theirs);
    let (mut got, mut batch) = (Vec::new(), DatagramBatch::default());
    let ended = reading.read(at(0), &mut batch, &mut |frame| got.push(frame.map(<[u8]>::to_vec)));
    assert_eq!((got, ended), (vec![Ok(frame(1, 60))], Err("the peer closed the connection".into())));
    let (ours, theirs) = pair();
    let mut writing = port(ours, Destination::Peer);
    drop(theirs);
    writing.push(at(0), &Frame::plain(&frame(1, 60))).unwrap();
    let ended = writing.flush(at(0), &mut Drops::default());
    assert_eq!(ended, Err("the peer closed the connection".into()));
}
