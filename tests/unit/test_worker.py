"""The command protocol as Python speaks it, against a worker that is not one."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.unit.fake_worker import FakeWorker, refusal
from wirebay import worker as worker_module
from wirebay.errors import HostError, OptionError, WorkerError

pytestmark = pytest.mark.anyio

DEATH = "the packet worker (pid 4242) exited with status 3; the network is down"


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "STOP_TIMEOUT", 0.05)


async def test_a_call_sends_its_members_and_returns_what_the_reply_says() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    fake.answers["join"] = lambda request: {"ok": {"joined": request["port"]}}
    assert await worker.call("join", hub="lan", port="u0") == {"joined": "u0"}
    assert fake.requests == [{"cmd": "join", "hub": "lan", "port": "u0"}]
    await worker.close()


async def test_descriptors_arrive_and_stay_with_the_caller_too() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    read, write = os.pipe()
    await worker.call("tap_add", port="t0", fds=[write])
    os.write(fake.fds[0][0], b"theirs")
    os.write(write, b"+ours")
    assert os.read(read, 100) == b"theirs+ours"
    await worker.close()
    os.close(read)
    os.close(write)


async def test_a_reply_over_64_kib_is_taken() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    ports = {f"vm{number}": "x" * 100 for number in range(1000)}
    fake.answers["stats"] = lambda _: {"ok": {"ports": ports}}
    assert await worker.call("stats") == {"ports": ports}
    await worker.close()


@pytest.mark.parametrize(("fault", "error"), [("option", OptionError), ("host", HostError)])
async def test_a_refusal_becomes_the_error_of_whose_fault_it_is(fault: str, error: type[Exception]) -> None:
    fake = FakeWorker()
    worker = await fake.start()
    fake.answers["join"] = refusal(fault, "port 'u0' is on hub 'lan' already")
    with pytest.raises(error, match=r"^port 'u0' is on hub 'lan' already$"):
        await worker.call("join", hub="lan", port="u0")
    assert await worker.call("stats") == {}
    await worker.close()


async def test_overlapping_calls_each_get_their_own_reply() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    fake.answers["join"] = lambda request: {"ok": {"n": request["n"]}}
    replies = await asyncio.gather(*(worker.call("join", n=n) for n in range(2000)))
    assert [reply["n"] for reply in replies] == list(range(2000))
    await worker.close()


async def test_a_cancelled_call_does_not_disturb_the_next() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    fake.silent.add("leave")
    call = asyncio.create_task(worker.call("leave", port="u0"))
    await fake.asked("leave")
    call.cancel()
    fake.send({"id": 1, "ok": {"late": True}})
    assert await worker.call("stats") == {}
    await worker.close()


async def test_a_full_socket_delays_requests_and_loses_none() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    padding = "x" * 60000
    await asyncio.gather(*(worker.call("join", n=n, padding=padding) for n in range(50)))
    assert [request["n"] for request in fake.requests] == list(range(50))
    await worker.close()


async def test_a_request_over_64_kib_is_refused_here() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    with pytest.raises(WorkerError, match="'user_resolvers' is too long"):
        await worker.call("user_resolvers", servers=["x" * 65536])
    assert await worker.call("stats") == {}
    await worker.close()


async def test_events_reach_every_handler_even_when_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeWorker()
    worker = await fake.start()
    seen: list[str] = []
    worker.on_event(lambda event: event["nothing of the kind"])
    worker.on_event(lambda event: seen.append(event["port"]))
    fake.send({"event": "stream_closed", "port": "vm0", "reason": "gone"})
    await worker.call("stats")
    assert seen == ["vm0"]
    assert "was not handled" in caplog.text
    await worker.close()


async def test_death_fails_pending_and_later_calls_with_one_sentence() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    fake.silent.add("stats")
    call = asyncio.create_task(worker.call("stats"))
    await fake.asked("stats")
    fake.exit()
    with pytest.raises(WorkerError) as pending:
        await call
    with pytest.raises(WorkerError) as later:
        await worker.call("stats")
    assert str(pending.value) == str(later.value) == await worker.died == DEATH
    await worker.close()


async def test_death_while_a_request_waits_for_room_in_the_socket_fails_it() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    asyncio.get_running_loop().remove_reader(fake._theirs.fileno())
    calls = [asyncio.create_task(worker.call("join", padding="x" * 60000)) for _ in range(50)]
    for _ in range(10):
        await asyncio.sleep(0)
    fake.exit()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(result) for result in results} == {DEATH}
    await worker.close()


GARBAGE = [b"\xff\x00", b"[]", b"{}", b'{"id": 1}', b'{"id": "x", "ok": {}}', b"x" * 65536]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_a_message_that_is_none_ends_the_worker(garbage: bytes) -> None:
    fake = FakeWorker()
    worker = await fake.start()
    fake.send(garbage)
    sentence = "the packet worker (pid 4242) sent a message that is not understood; the network is down"
    assert await worker.died == sentence
    assert fake.killed
    await worker.close()


async def test_another_version_is_refused() -> None:
    fake = FakeWorker()
    with pytest.raises(WorkerError, match="speaks version 1 of the protocol, not 2"):
        await fake.start(version=1)


async def test_death_before_it_is_ready_is_told() -> None:
    fake = FakeWorker()
    fake.exit()
    with pytest.raises(WorkerError) as death:
        await fake.start_silently()
    assert str(death.value) == DEATH


async def test_a_worker_that_stays_silent_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "READY_TIMEOUT", 0.01)
    fake = FakeWorker()
    with pytest.raises(WorkerError, match=r"\(pid 4242\) did not start in 0.01 s"):
        await fake.start_silently()


async def test_close_stops_the_worker_and_is_no_death() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    await asyncio.gather(worker.close(), worker.close())
    await worker.close()
    assert fake.requests == [{"cmd": "stop"}]
    assert not worker.died.done()
    assert not fake.killed
    with pytest.raises(WorkerError):
        await worker.call("stats")


async def test_close_kills_a_worker_that_does_not_stop() -> None:
    fake = FakeWorker()
    worker = await fake.start()
    fake.silent.add("stop")
    asyncio.get_running_loop().remove_reader(fake._theirs.fileno())
    await worker.close()
    assert fake.killed
