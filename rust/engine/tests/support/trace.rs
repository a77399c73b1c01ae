//! Traces of the ACK and window policy: one line a decision, so that a change of the policy can be tried on what
//! connections have really met.
//!
//! ```text
//! when UNACKNOWLEDGED ROOM WAITING WINDOW_LEFT MSS INTERACTIVE => now|soon|no     a batch has ended
//! wanted                                                                          ... and needs an answer anyway
//! advertise PHASE ACK EDGE ROOM WAITING SCALE => FIELD EDGE                       a segment told the window
//! ```
//!
//! Sequence numbers count from the guest's first byte. PHASE is the call that sent the segment: `batch` is the end of
//! a batch. Empty lines and lines that start with `#` say nothing.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use wirebay_engine::user::tcp::policy::{Ack, Intake};

/// A window as it was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertised {
    pub phase: String,
    pub ack: u32,
    pub edge: u32,
    pub room: u32,
    pub waiting: u32,
    pub scale: u8,
    pub field: u16,
    pub new_edge: u32,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    When(Intake, Ack),
    Wanted,
    Advertise(Advertised),
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Line::When(i, ack) => {
                let decision = match ack {
                    Ack::Now => "now",
                    Ack::Soon => "soon",
                    Ack::No => "no",
                };
                let (left, interactive) = (i.window_left, u8::from(i.interactive));
                let known =
                    format!("{} {} {} {left} {} {interactive}", i.unacknowledged, i.room, i.waiting, i.mss);
                write!(f, "when {known} => {decision}")
            }
            Line::Wanted => f.write_str("wanted"),
            Line::Advertise(a) => {
                let known = format!("{} {} {} {} {}", a.ack, a.edge, a.room, a.waiting, a.scale);
                write!(f, "advertise {} {known} => {} {}", a.phase, a.field, a.new_edge)
            }
        }
    }
}

/// The line is none.
#[derive(Debug)]
pub struct BadLine;

fn numbers(words: &[&str]) -> Result<Vec<u32>, BadLine> {
    words.iter().map(|word| word.parse().map_err(|_| BadLine)).collect()
}

impl FromStr for Line {
    type Err = BadLine;

    fn from_str(text: &str) -> Result<Self, BadLine> {
        let words: Vec<_> = text.split_whitespace().collect();
        match words[..] {
            ["wanted"] => Ok(Line::Wanted),
            ["when", ref known @ .., "=>", decision] => parse_when(known, decision),
            ["advertise", phase, ref known @ .., "=>", field, edge] => {
                parse_advertise(phase, known, &[field, edge])
            }
            _ => Err(BadLine),
        }
    }
}

fn parse_when(known: &[&str], decision: &str) -> Result<Line, BadLine> {
    let [unacknowledged, room, waiting, window_left, mss, interactive] = numbers(known)?[..] else {
        return Err(BadLine);
    };
    let ack = match decision {
        "now" => Ack::Now,
        "soon" => Ack::Soon,
        "no" => Ack::No,
        _ => return Err(BadLine),
    };
    let interactive = interactive == 1;
    Ok(Line::When(Intake { unacknowledged, room, waiting, window_left, mss, interactive }, ack))
}

fn parse_advertise(phase: &str, known: &[&str], told: &[&str]) -> Result<Line, BadLine> {
    let [ack, edge, room, waiting, scale] = numbers(known)?[..] else { return Err(BadLine) };
    let [field, new_edge] = numbers(told)?[..] else { return Err(BadLine) };
    let (scale, field) = (scale as u8, field as u16);
    Ok(Line::Advertise(Advertised { phase: phase.into(), ack, edge, room, waiting, scale, field, new_edge }))
}

/// Reads a trace.
pub fn parse(text: &str) -> Vec<Line> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.parse().unwrap_or_else(|BadLine| panic!("no line of a trace: {line}"))).collect()
}

/// Writes one.
pub fn write(title: &str, lines: &[Line]) -> String {
    let body: Vec<_> = lines.iter().map(Line::to_string).collect();
    format!("# {title}\n{}\n", body.join("\n"))
}
