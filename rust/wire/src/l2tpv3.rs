//! L2TPv3 data messages with fixed sessions, as QEMU sends them (RFC 3931 section 4.1): no control channel and no
//! layer-2 sublayer, but for a counter of its own.
//!
//! In front of the frame come, each where the options ask for it: the 4 bytes that make a data message of version 3
//! over UDP; the session; a cookie of 4 or 8 bytes; a counter of 4 bytes; any number of bytes that mean nothing.

use crate::DropReason;

/// The first word over UDP: a data message (T bit clear) of version 3 (RFC 3931 section 4.1.2.1).
const DATA_MESSAGE: [u8; 4] = [0, 3, 0, 0];
/// The most bytes a header has: all parts, and the largest offset.
pub const MAX_HEADER: usize = 4 + 4 + 8 + 4 + MAX_OFFSET;
/// The most bytes between header and frame.
pub const MAX_OFFSET: usize = 256;

/// A cookie, checked on what arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie {
    /// Of 4 bytes.
    Short(u32),
    /// Of 8 bytes.
    Long(u64),
}

/// One direction of a session: what its headers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct L2tpv3 {
    /// Over UDP, with its first word; without: directly over IP (protocol 115).
    pub udp: bool,
    /// The session.
    pub session: u32,
    /// The cookie, if there is one.
    pub cookie: Option<Cookie>,
    /// Whether there is a counter.
    pub counter: bool,
    /// Bytes between the header and the frame, at most [`MAX_OFFSET`].
    pub offset: usize,
}

impl L2tpv3 {
    /// The length of the header in bytes, offset included.
    pub fn len(&self) -> usize {
        let cookie = self.cookie.map_or(0, |cookie| match cookie {
            Cookie::Short(_) => 4,
            Cookie::Long(_) => 8,
        });
        usize::from(self.udp) * 4 + 4 + cookie + usize::from(self.counter) * 4 + self.offset
    }

    /// Never: a header has at least its session.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Append a header with this value of the counter, where there is one. The offset is zeroed.
    pub fn emit(&self, count: u32, into: &mut Vec<u8>) {
        let end = into.len() + self.len();
        if self.udp {
            into.extend(DATA_MESSAGE);
        }
        into.extend(self.session.to_be_bytes());
        match self.cookie {
            Some(Cookie::Short(cookie)) => into.extend(cookie.to_be_bytes()),
            Some(Cookie::Long(cookie)) => into.extend(cookie.to_be_bytes()),
            None => {}
        }
        if self.counter {
            into.extend(count.to_be_bytes());
        }
        into.resize(end, 0);
    }

    /// The frame of a message of this session. The first word over UDP must be that of a data message, which QEMU
    /// does not check; the counter's value is not looked at.
    pub fn strip<'a>(&self, message: &'a [u8]) -> Result<&'a [u8], DropReason> {
        let frame = message.get(self.len()..).ok_or(DropReason::TunnelMalformed)?;
        let rest = if self.udp {
            message.strip_prefix(&DATA_MESSAGE).ok_or(DropReason::TunnelMalformed)?
        } else {
            message
        };
        let rest = rest.strip_prefix(&self.session.to_be_bytes()).ok_or(DropReason::TunnelForeign)?;
        let cookie = match self.cookie {
            Some(Cookie::Short(cookie)) => rest.starts_with(&cookie.to_be_bytes()),
            Some(Cookie::Long(cookie)) => rest.starts_with(&cookie.to_be_bytes()),
            None => true,
        };
        if cookie { Ok(frame) } else { Err(DropReason::TunnelForeign) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: L2tpv3 = L2tpv3 { udp: true, session: 0x1122_3344, cookie: None, counter: false, offset: 0 };

    fn header(session: &L2tpv3, count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        session.emit(count, &mut bytes);
        bytes
    }

    #[test]
    fn headers_are_those_that_qemu_was_seen_to_send() {
        let mark = [0, 3, 0, 0, 0x11, 0x22, 0x33, 0x44];
        assert_eq!(header(&PLAIN, 0), mark);
        let short = L2tpv3 { cookie: Some(Cookie::Short(0xdead_beef)), ..PLAIN };
        assert_eq!(header(&short, 0), [&mark[..], &[0xde, 0xad, 0xbe, 0xef]].concat());
        let counted = L2tpv3 { cookie: Some(Cookie::Long(1)), counter: true, offset: 3, ..PLAIN };
        let all = [&mark[..], &[0, 0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 7], &[0; 3]].concat();
        assert_eq!(header(&counted, 7), all);
        assert_eq!(header(&L2tpv3 { udp: false, ..PLAIN }, 0), mark[4..]);
    }

    #[test]
    fn another_session_or_cookie_is_not_ours() {
        let ours = L2tpv3 { cookie: Some(Cookie::Short(1)), ..PLAIN };
        let frame = [7; 20];
        for (theirs, reason) in [
            (L2tpv3 { session: 5, ..ours }, DropReason::TunnelForeign),
            (L2tpv3 { cookie: Some(Cookie::Short(2)), ..ours }, DropReason::TunnelForeign),
        ] {
            let message = [header(&theirs, 0), frame.to_vec()].concat();
            assert_eq!(ours.strip(&message), Err(reason));
        }
        let mut control = [header(&ours, 0), frame.to_vec()].concat();
        control[0] = 0xc8;
        assert_eq!(ours.strip(&control), Err(DropReason::TunnelMalformed));
    }

    fn session() -> impl Strategy<Value = L2tpv3> {
        let cookie = prop_oneof![
            Just(None),
            any::<u32>().prop_map(|c| Some(Cookie::Short(c))),
            any::<u64>().prop_map(|c| Some(Cookie::Long(c))),
        ];
        (any::<bool>(), any::<u32>(), cookie, any::<bool>(), 0..=MAX_OFFSET).prop_map(
            |(udp, session, cookie, counter, offset)| L2tpv3 { udp, session, cookie, counter, offset },
        )
    }

    proptest! {
        #[test]
        fn a_frame_survives_any_header(session in session(), count: u32, frame: Vec<u8>) {
            let message = [header(&session, count), frame.clone()].concat();
            prop_assert!(message.len() - frame.len() <= MAX_HEADER);
            prop_assert_eq!(session.strip(&message), Ok(&frame[..]));
        }

        #[test]
        fn any_bytes_are_a_frame_or_dropped_by_name(session in session(), bytes: Vec<u8>) {
            if let Ok(frame) = session.strip(&bytes) {
                prop_assert_eq!(frame.len() + session.len(), bytes.len());
            }
        }
    }
}
