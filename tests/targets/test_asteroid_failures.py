"""Every way a request can fail is classed rightly: a row in doubt is never taken for one that was not sent."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered, Unclear, Wait
from batchkit.core.request import TriggerRequest
from batchkit.targets.asteroid import AsteroidTarget

Make = Callable[..., AsteroidTarget]
Request = Callable[..., TriggerRequest]

#: scripts whose request may have been read: none of them may ever come up as NotSent or Triggered
UNCLEAR = (
    "reset_before_reading",
    "close_before_reading",
    "reset_after_reading",
    "close_after_reading",
    "half_the_status_line",
    "half_the_headers_then_reset",
    "half_the_body",
    "half_the_body_then_reset",
    "half_a_chunk",
    "half_a_refusal",
    "broken_gzip",
    "garbage",
    "garbage_at_once",
    "two_content_lengths",
)
#: scripts that never finish: found out by the total timeout
ENDLESS = ("silent", "stall_after_reading", "stall_after_headers", "drip", "switching_protocols")


async def trigger_all(target: AsteroidTarget, requests: list[TriggerRequest], at_once: int) -> list[Outcome]:
    """The outcomes of all requests, `at_once` of them under way at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(request: TriggerRequest) -> Outcome:
        async with gate:
            return await target.trigger(request)

    return await asyncio.gather(*(one(request) for request in requests))


def run(coroutine: Awaitable[object]) -> object:
    """As asyncio.run, with a limit: what hangs fails."""

    async def limited() -> object:
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(limited())


@pytest.mark.parametrize("at_once", [1, 8, 40])
@pytest.mark.parametrize("script", UNCLEAR)
def test_a_request_that_may_have_been_read_is_unclear_and_sent_once(
    faults: ModuleType, target_for: Make, request_for: Request, script: str, at_once: int
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(getattr(faults, script)) as server:
            target = target_for(server.url)
            outcomes = await trigger_all(target, [request_for(item) for item in range(40)], at_once)
            await target.aclose()
            assert Counter(type(outcome) for outcome in outcomes) == {Unclear: 40}, set(outcomes)
            arrived = Counter(request.json["metadata"]["batchkit_item"] for request in server.requests)
            assert set(arrived.values()) <= {1}

    run(scenario())


@pytest.mark.parametrize("at_once", [1, 20])
@pytest.mark.parametrize("script", ENDLESS)
def test_an_answer_that_never_ends_is_unclear_after_the_total_timeout(
    faults: ModuleType, target_for: Make, request_for: Request, script: str, at_once: int
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(getattr(faults, script)) as server:
            target = target_for(server.url, total_timeout=0.15, connect_timeout=0.1)
            begun = asyncio.get_running_loop().time()
            outcomes = await trigger_all(target, [request_for(item) for item in range(at_once)], at_once)
            took = asyncio.get_running_loop().time() - begun
            await target.aclose()
            assert {type(outcome) for outcome in outcomes} == {Unclear}, set(outcomes)
            assert took < 20

    run(scenario())


@pytest.mark.parametrize("script", ["answer_then_drop_the_next", "answer_then_reset_the_next"])
def test_a_reused_connection_that_drops_is_unclear_and_the_request_seen_once(
    faults: ModuleType, target_for: Make, request_for: Request, script: str
) -> None:
    """HTTP libraries like to send a request again by themselves when a kept connection turns out to be closed."""

    async def scenario() -> None:
        async with faults.FaultServer(getattr(faults, script)) as server:
            target = target_for(server.url)
            outcomes = [await target.trigger(request_for(item)) for item in range(40)]
            await target.aclose()
            assert [type(outcome) for outcome in outcomes] == [Triggered, Unclear] * 20
            assert server.connections == 20
            arrived = Counter(request.json["metadata"]["batchkit_item"] for request in server.requests)
            assert arrived == {str(item): 1 for item in range(40)}

    run(scenario())


def test_a_connection_the_server_closed_in_the_meantime_is_replaced(
    faults: ModuleType, target_for: Make, request_for: Request
) -> None:
    async def close_after_answer(peer: object) -> None:
        await peer.request()  # type: ignore[attr-defined]
        await peer.answer(202, faults.ACCEPTED)  # type: ignore[attr-defined]

    async def scenario() -> None:
        async with faults.FaultServer(close_after_answer) as server:
            target = target_for(server.url)
            for item in range(20):
                assert isinstance(await target.trigger(request_for(item)), Triggered)
                await asyncio.sleep(0.01)  # the FIN has arrived
            await target.aclose()
            assert server.connections == 20

    run(scenario())


@pytest.mark.parametrize("at_once", [1, 8, 40])
def test_a_refused_connection_is_not_sent(
    target_for: Make, request_for: Request, closed_port: int, at_once: int
) -> None:
    async def scenario() -> None:
        target = target_for(f"http://127.0.0.1:{closed_port}")
        outcomes = await trigger_all(target, [request_for(item) for item in range(40)], at_once)
        await target.aclose()
        assert {type(outcome) for outcome in outcomes} == {NotSent}, set(outcomes)

    run(scenario())


def test_a_connection_that_is_never_accepted_is_not_sent(
    target_for: Make, request_for: Request, full_port: int
) -> None:
    async def scenario() -> None:
        target = target_for(f"http://127.0.0.1:{full_port}", connect_timeout=0.2)
        outcomes = await trigger_all(target, [request_for(item) for item in range(10)], 10)
        await target.aclose()
        assert {type(outcome) for outcome in outcomes} == {NotSent}, set(outcomes)
        assert all("there was no connection within 0.2 s (timed out)" in outcome.message for outcome in outcomes)

    run(scenario())


def test_waiting_in_vain_for_a_free_connection_is_not_sent(
    faults: ModuleType, target_for: Make, request_for: Request
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.silent) as server:
            target = target_for(server.url, max_connections=2, connect_timeout=0.1, total_timeout=0.5)
            outcomes = await trigger_all(target, [request_for(item) for item in range(10)], 10)
            await target.aclose()
            assert Counter(type(outcome) for outcome in outcomes) == {Unclear: 2, NotSent: 8}
            assert server.connections == 2

    run(scenario())


def test_an_unknown_host_is_not_sent(target_for: Make, request_for: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")

    async def scenario() -> None:
        target = target_for("https://no-such-host.invalid")
        outcome = await target.trigger(request_for())
        await target.aclose()
        assert isinstance(outcome, NotSent)
        assert outcome.message.startswith("no-such-host.invalid could not be reached: no such host is known. Check how")

    run(scenario())


@pytest.mark.parametrize("script", ["garbage_at_once", "reset_before_reading", "close_before_reading"])
def test_a_failed_tls_handshake_is_not_sent(
    faults: ModuleType, target_for: Make, request_for: Request, script: str
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(getattr(faults, script)) as server:
            target = target_for(server.url.replace("http:", "https:"))
            outcomes = await trigger_all(target, [request_for(item) for item in range(20)], 5)
            await target.aclose()
            assert {type(outcome) for outcome in outcomes} == {NotSent}, set(outcomes)

    run(scenario())


def certificate_of_nobody(folder: Path) -> Path:
    """A certificate for localhost that vouches for itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_nobody_vouches_for_is_not_sent(
    faults: ModuleType, target_for: Make, request_for: Request, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_of_nobody(tmp_path))

    async def scenario() -> None:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
        target = target_for(f"https://localhost:{server.sockets[0].getsockname()[1]}")
        outcome = await target.trigger(request_for())
        await target.aclose()
        server.close()
        assert isinstance(outcome, NotSent)
        assert "its certificate is not trusted (self-signed certificate). Check the address." in outcome.message
        assert "SSL_CERT_FILE" in outcome.message

    run(scenario())


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_opens_no_tunnel_is_not_sent_and_never_gets_the_key(
    faults: ModuleType,
    target_for: Make,
    request_for: Request,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(status)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{proxy.port}")
            monkeypatch.setenv("NO_PROXY", "")
            target = target_for("https://platform.example")
            outcome = await target.trigger(request_for())
            await target.aclose()
            assert isinstance(outcome, NotSent), outcome
            (request,) = proxy.requests
            assert (request.method, request.target) == ("CONNECT", "platform.example:443")
            assert "proxy-authorization" in request.headers
            assert key not in str(request)

    run(scenario())


def test_a_proxy_that_cannot_be_reached_is_not_sent(
    target_for: Make, request_for: Request, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("NO_PROXY", "")

    async def scenario() -> None:
        target = target_for("https://platform.example")
        outcome = await target.trigger(request_for())
        await target.aclose()
        assert isinstance(outcome, NotSent)
        assert f"could not be reached through the proxy 127.0.0.1:{closed_port}: it refused the" in outcome.message
        assert "NO_PROXY=platform.example" in outcome.message

    run(scenario())


def test_a_large_body_that_nobody_reads_ends_with_the_timeout(
    faults: ModuleType, target_for: Make, request_for: Request
) -> None:
    async def deaf(peer: object) -> None:
        await asyncio.sleep(30)

    async def scenario() -> None:
        async with faults.FaultServer(deaf) as server:
            target = target_for(server.url, total_timeout=0.3, connect_timeout=0.2)
            outcome = await target.trigger(request_for(inputs={"text": "x" * 20_000_000}))
            await target.aclose()
            assert isinstance(outcome, Unclear)

    run(scenario())


def test_an_early_refusal_of_a_large_body_does_not_hang(
    faults: ModuleType, target_for: Make, request_for: Request
) -> None:
    async def refuse_unread(peer: object) -> None:
        await peer.answer(413, b'{"message": "too large"}', Connection="close")  # type: ignore[attr-defined]
        await asyncio.sleep(30)

    async def scenario() -> None:
        async with faults.FaultServer(refuse_unread) as server:
            target = target_for(server.url, total_timeout=2.0, connect_timeout=1.0)
            begun = asyncio.get_running_loop().time()
            outcome = await target.trigger(request_for(inputs={"text": "x" * 20_000_000}))
            await target.aclose()
            assert isinstance(outcome, Refused | Unclear)
            assert asyncio.get_running_loop().time() - begun < 20

    run(scenario())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, Held) for status in (401, 402, 403, 307, 308)],
        *[(status, Refused) for status in (400, 404, 405, 409, 413, 415, 422, 451)],
        (429, Wait),
        *[(status, Unclear) for status in (300, 301, 302, 303, 304, 408, 500, 501, 502, 503, 504, 599)],
    ],
)
def test_every_status_has_its_class(
    faults: ModuleType, target_for: Make, request_for: Request, status: int, kind: type
) -> None:
    async def scenario() -> None:
        answer = faults.answering(status, {"code": status, "message": "so it is"}, Location="http://localhost:1/other")
        async with faults.FaultServer(answer) as server:
            target = target_for(server.url)
            outcomes = await trigger_all(target, [request_for(item) for item in range(20)], 10)
            await target.aclose()
            assert {type(outcome) for outcome in outcomes} == {kind}, set(outcomes)
            assert len(server.requests) == 20

    run(scenario())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"executionId": null}',
        b'{"executionId": ""}',
        b'{"executionId": 7}',
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        b'{"executionId": "e-1"',
    ],
)
def test_success_without_a_readable_execution_id_is_unclear(
    faults: ModuleType, target_for: Make, request_for: Request, body: bytes
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, body)) as server:
            target = target_for(server.url)
            outcome = await target.trigger(request_for())
            await target.aclose()
            assert isinstance(outcome, Unclear)

    run(scenario())


def test_cancelling_a_trigger_cancels_it(faults: ModuleType, target_for: Make, request_for: Request) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.silent) as server:
            target = target_for(server.url)
            task = asyncio.create_task(target.trigger(request_for()))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await target.aclose()

    run(scenario())


def test_closing_the_target_gives_every_request_under_way_an_outcome(
    faults: ModuleType, target_for: Make, request_for: Request
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.silent) as server:
            target = target_for(server.url, max_connections=1)
            tasks = [asyncio.create_task(target.trigger(request_for(item))) for item in range(4)]
            await asyncio.sleep(0.05)
            await target.aclose()
            outcomes = await asyncio.gather(*tasks)
            assert {type(outcome) for outcome in outcomes} == {Unclear}
            assert isinstance(await target.trigger(request_for()), NotSent)

    run(scenario())


@pytest.mark.parametrize("at_once", [1, 16, 64])
@pytest.mark.parametrize("seed", range(4))
def test_under_every_mixture_of_faults_what_ran_is_triggered_or_unclear_and_ran_once(
    faults: ModuleType, target_for: Make, request_for: Request, seed: int, at_once: int
) -> None:
    items = 300
    accepted: list[str] = []

    async def scenario() -> list[Outcome]:
        async with faults.FaultServer(faults.chaos(seed, accepted)) as server:
            target = target_for(server.url)
            outcomes = await trigger_all(target, [request_for(item) for item in range(items)], at_once)
            await target.aclose()
            return outcomes

    outcomes = run(scenario())
    assert isinstance(outcomes, list)
    assert Counter(accepted) == dict.fromkeys(accepted, 1)
    may_have_run = {str(item) for item, outcome in enumerate(outcomes) if isinstance(outcome, Triggered | Unclear)}
    surely_ran = {str(item) for item, outcome in enumerate(outcomes) if isinstance(outcome, Triggered)}
    assert surely_ran <= set(accepted) <= may_have_run
    assert {Triggered, Unclear, Refused, Wait} == {type(outcome) for outcome in outcomes}
