"""The demo platform as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import httpx
import pytest

from batchkit.targets.demo import DemoPlatform, serve_forever

PROGRAM = """
from batchkit.targets.demo import serve_forever

serve_forever(ready=lambda platform: print(platform.url, platform.api_key, flush=True), api_key="given")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_it_is_ready_and_ends_on_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url, key = process.stdout.readline().split()
        assert key == "given"
        assert httpx.get(f"{url}/agents/v2/agents", headers={"X-Api-Key": key}, trust_env=False).status_code == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_the_signals_mean_again_what_they_meant() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = threading.Event()
    serve_forever(ready=lambda platform: stop.set(), stop=stop)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_it_ends_by_its_event() -> None:
    stop = threading.Event()
    running: list[DemoPlatform] = []
    ready = threading.Event()

    def tell(platform: DemoPlatform) -> None:
        running.append(platform)
        ready.set()

    thread = threading.Thread(target=serve_forever, kwargs={"ready": tell, "stop": stop})
    thread.start()
    assert ready.wait(20)
    assert httpx.get(f"{running[0].url}/nowhere", trust_env=False).status_code == 401
    stop.set()
    thread.join()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running[0].url}/nowhere", trust_env=False)
