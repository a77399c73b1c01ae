"""DNS messages: what a forwarder reads of them, and the few that it makes itself (RFC 1035, 6891).

A forwarded message stays as it is but for its id. So a query is read only as far as needed: its one
question, and the size that its EDNS record offers. dnspython reads names and makes messages; importing it
takes a while, which is why this module is imported with the first query.

Bytes come from guests and from the network: whatever they are, `read_query` returns a query or raises
DnsError, and the other functions take any answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.wire

from wirebay.options.types import Address

__all__ = [
    "FORMAT_ERROR", "NAME_ERROR", "NOT_IMPLEMENTED", "REFUSED", "SERVER_FAILURE", "DnsError", "Query",
    "belongs", "failure", "fit", "is_truncated", "local_answer", "pointer_answer", "rcode_of", "read_query",
    "with_id",
]  # fmt: skip

FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = 1, 2, 3, 4, 5
IN = 1
A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
TRANSFERS = range(251, 253)  # IXFR, AXFR: answers of many messages
TTL = 10  # seconds; leases come and go
PLAIN_LIMIT = 512  # bytes over UDP where nobody offers more, RFC 1035 section 4.2.1
MAX_SIZE = 65535
SAFE_SIZE = 1232  # what we offer to take ourselves: no path fragments it

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_MAX_RECORDS = 8  # after the question: OPT, TSIG, SIG(0); for a query more is nonsense


class DnsError(Exception):
    """These bytes are no query to answer; `answer` is what to tell the sender, None for nothing."""

    def __init__(self, reason: str, answer: bytes | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One query. `data` is the message, `end` where its question ends; `name` is text in lower case.

    `internet` is whether its class is IN; `edns` is the largest answer over UDP that the sender offers to
    take, None without EDNS.
    """

    data: bytes
    end: int
    name: str
    rdtype: int
    internet: bool
    edns: int | None

    @property
    def id(self) -> int:
        """The sender's number for it."""
        return int.from_bytes(self.data[:2], "big")

    def limit(self, room: int) -> int:
        """The largest answer over UDP in bytes, where packets have room for `room`."""
        return max(PLAIN_LIMIT, min(self.edns or 0, room))


def read_query(data: bytes) -> Query:
    """Read one query. Raises DnsError, and nothing else, for what is none or cannot be answered."""
    if len(data) < _HEADER.size:
        raise DnsError("short")
    _, flags, questions, answers, authorities, others = _HEADER.unpack_from(data)
    if flags & dns.flags.QR:
        raise DnsError("not_a_query")
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        raise DnsError("opcode", _bare_answer(data, NOT_IMPLEMENTED))
    records = answers + authorities + others
    if questions != 1 or answers or records > _MAX_RECORDS:
        raise DnsError("format", _bare_answer(data, FORMAT_ERROR))
    try:
        query = _read(data, records)
    except dns.exception.DNSException:
        raise DnsError("format", _bare_answer(data, FORMAT_ERROR)) from None
    if query.rdtype in TRANSFERS:
        raise DnsError("transfer", failure(query, NOT_IMPLEMENTED))
    return query


def _read(data: bytes, records: int) -> Query:
    parser = dns.wire.Parser(data, _HEADER.size)
    name = parser.get_name()
    rdtype, rdclass = parser.get_struct("!HH")
    end, edns = parser.current, None
    for _ in range(records):
        parser.get_name()
        kind, size, _, length = parser.get_struct(_RECORD.format)
        parser.get_bytes(length)
        if kind == OPT:
            edns = size
    text = name.canonicalize().to_text(omit_final_dot=True)
    return Query(data=data, end=end, name=text, rdtype=rdtype, internet=rdclass == IN, edns=edns)


def with_id(data: bytes, ident: int) -> bytes:
    """The message with another id."""
    return ident.to_bytes(2, "big") + data[2:]


def belongs(answer: bytes, query: Query, ident: int) -> bool:
    """Is `answer` one to `query`, sent with the id `ident`? It must repeat the question (RFC 5452)."""
    if len(answer) < _HEADER.size or answer[:2] != ident.to_bytes(2, "big"):
        return False
    _, flags, questions, *_ = _HEADER.unpack_from(answer)
    if not flags & dns.flags.QR:
        return False
    if questions == 0:  # some servers that refuse do not repeat it, and say nothing else
        return len(answer) == _HEADER.size and rcode_of(answer) in (
            FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED,
        )  # fmt: skip
    asked, repeated = query.data[_HEADER.size : query.end], answer[_HEADER.size : query.end]
    # The last four bytes are type and class; letters of the name count in either case.
    return asked[:-4].lower() == repeated[:-4].lower() and asked[-4:] == repeated[-4:]


def rcode_of(answer: bytes) -> int:
    """The response code in the header."""
    return answer[3] & 15


def is_truncated(answer: bytes) -> bool:
    """Does the answer say that it is not whole (TC)?"""
    return bool(answer[2] & 2)


def fit(answer: bytes, query: Query, limit: int) -> bytes:
    """`answer` if it has at most `limit` bytes; else its head, with TC: the sender asks again over TCP."""
    if len(answer) <= limit:
        return answer
    head = _response(query, rcode_of(answer))
    head.flags |= int.from_bytes(answer[2:4], "big") & ~0xF | dns.flags.TC
    return head.to_wire(max_size=MAX_SIZE)


def failure(query: Query, rcode: int) -> bytes:
    """An answer that consists of `rcode` (one of the constants here)."""
    return _response(query, rcode).to_wire(max_size=MAX_SIZE)


def local_answer(query: Query, addresses: Iterable[Address]) -> bytes:
    """The answer to a question for a name of ours: those of its addresses that were asked for."""
    wanted = {A: (4,), AAAA: (6,), ANY: (4, 6)}.get(query.rdtype, ())
    texts = {4: list[str](), 6: list[str]()}
    for address in addresses:
        texts[address.version].append(str(address))
    answer = _local_response(query)
    for version in wanted:
        if texts[version]:
            kind = dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA
            name = answer.question[0].name
            answer.answer.append(dns.rrset.from_text_list(name, TTL, "IN", kind, texts[version]))
    return answer.to_wire(max_size=MAX_SIZE)


def pointer_answer(query: Query, name: str) -> bytes:
    """The answer to a question for the name of an address of ours."""
    answer = _local_response(query)
    if query.rdtype in (PTR, ANY):
        asked = answer.question[0].name
        answer.answer.append(dns.rrset.from_text(asked, TTL, "IN", dns.rdatatype.PTR, f"{name}."))
    return answer.to_wire(max_size=MAX_SIZE)


def _local_response(query: Query) -> dns.message.Message:
    answer = _response(query, dns.rcode.NOERROR)
    answer.flags |= dns.flags.AA
    return answer


def _response(query: Query, rcode: int) -> dns.message.Message:
    """A response without records; EDNS is answered by EDNS (RFC 6891 section 6.1.1)."""
    asked = dns.message.from_wire(query.data, question_only=True)
    answer = dns.message.Message(asked.id)
    answer.flags = dns.flags.QR | dns.flags.RA | asked.flags & (dns.flags.RD | dns.flags.CD)
    answer.question = asked.question
    if query.edns is not None:
        answer.use_edns(0, payload=SAFE_SIZE)
    answer.set_rcode(dns.rcode.Rcode(rcode))
    return answer


def _bare_answer(data: bytes, rcode: int) -> bytes:
    """A header that refuses, for a message whose question cannot be repeated."""
    flags = int.from_bytes(data[2:4], "big") & 0x7900 | dns.flags.QR | rcode
    return _HEADER.pack(int.from_bytes(data[:2], "big"), flags, 0, 0, 0, 0)
