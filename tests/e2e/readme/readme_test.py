#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""README.md's commands, as printed, and what `./dev run` itself prints, against a fleet as it starts one.

Usage: readme_test.py BIN_DIRECTORY
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"^```sh walk\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
            for line in block.splitlines() if line]


def run(line: str, before: str, folder: str) -> str:
    # The build folder of the walk is a folder of the test's own.
    script = "set -eo pipefail\n" + before + "\n" + line
    script = script.replace("build/run/env", f"{folder}/env").replace("=build", f"={folder}")
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    print(f"$ {line}\n{done.stdout[:300]}{done.stderr}", flush=True)
    assert done.returncode == 0, f"status {done.returncode}: {line}"
    return done.stdout


def check(line: str, output: str) -> None:
    """That the answer is the one the text around the command promises."""
    if "count=true" in line:
        answer = json.loads(output)
        assert answer["count"] == 20 and len(answer["devices"]) == 3, output
        assert all(device["online"] for device in answer["devices"]), output
    elif line.endswith('/devices/sim-000001"'):
        answer = json.loads(output)
        assert answer["online"] and answer["live"]["tls"]["version"] == "TLSv1.3" and answer["streams"], output
    elif "/commands?wait" in line:
        answer = json.loads(output)
        assert answer["state"] == "succeeded" and answer["result"]["payload"]["pong"] is True, output
    elif "/twin/desired" in line:
        assert json.loads(output)["desired"]["document"] == {"interval_s": 5}, output
    elif line.endswith('/twin"'):
        answer = json.loads(output)
        assert answer["reported"]["document"]["interval_s"] == 5 and answer["acknowledged"]["version"] == 1, output
    elif line.endswith('/timeline"'):
        kinds = [entry["kind"] for entry in json.loads(output)["entries"]]
        assert "connected" in kinds and "command" in kinds, output
    elif line.endswith('/telemetry/latest"'):
        assert json.loads(output)["last_values"], output
    elif line.endswith('/lanes"'):
        assert json.loads(output)["lanes"][0]["state"] == "running", output
    elif "/metrics" in line:
        assert output == "fieldgate_sessions 20\n", output
    elif "/readyz" in line:
        assert json.loads(output) == {"ready": True, "reasons": []}, output
    elif "/batches/" in line:
        assert re.fullmatch(r"fieldgate/v1/batches/\d+ \d+ bytes\n", output), output
    elif "/presence" in line:
        assert json.loads(output)["online"] is True, output
    elif "device.py" in line:
        assert output == "20 frames acknowledged\n", output


def patiently(look) -> None:
    """A person looks again if the fleet is not all there yet."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return look()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


# --- what `./dev run` prints

LAST_WORD = "shell"


class Printed:
    """Lines as they come; those of the beginning by the word that they stand behind."""

    def __init__(self, stream):
        self.lines: list[str] = []
        self.thread = threading.Thread(target=self.read, args=(stream,), daemon=True)
        self.thread.start()

    def read(self, stream) -> None:
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    def by_word(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        word = ""
        for line in self.lines:
            word = line[:9].strip() or word
            found.setdefault(word, []).append(line[9:])
            if word == LAST_WORD:
                return found
        raise AssertionError(f"nothing behind {LAST_WORD!r} was printed:\n" + "\n".join(self.lines))


def check_devices(answer: dict) -> None:
    assert answer["count"] == 7 and len(answer["devices"]) == 3, answer  # of 20, every third is in berlin
    assert all(device["online"] and device["labels"]["site"] == "berlin" for device in answer["devices"]), answer


def check_pong(answer: dict) -> None:
    assert answer["state"] == "succeeded" and answer["result"]["payload"]["pong"] is True, answer


def check_wish(answer: dict) -> None:
    assert answer["desired"]["document"]["interval_s"] == 5, answer


def check_twin(answer: dict) -> None:
    check_wish(answer)
    assert answer["reported"]["document"]["interval_s"] == 5, answer


def check_why(answer: dict) -> None:
    connected = next(entry for entry in answer["entries"] if entry["kind"] == "connected")
    assert connected["fields"]["tls"] == "TLSv1.3" and len(connected["fields"]["certificate_sha256"]) == 64, answer


def check_says(text: str, output: str) -> None:
    assert text in output, output


CHECKS = {"devices": [check_devices], "command": [check_pong], "twin": [check_wish, check_twin], "why": [check_why]}


def listen(line: str, *events: str) -> None:
    """Until each of them has come over the stream."""
    print(f"$ {line}", flush=True)
    wanted = {f"event: {event}\n" for event in events}
    with subprocess.Popen(["bash", "-c", "exec " + line], stdout=subprocess.PIPE, text=True) as reader:
        late = threading.Timer(60, reader.kill)
        late.start()
        for text in reader.stdout:
            wanted.discard(text)
            if not wanted:
                break
        late.cancel()
        reader.kill()
    assert not wanted, f"the stream ended before {wanted}"


def click(link: str, folder: str) -> None:
    """The dashboard by the printed link: signed in, with the fleet in it, and a device that answers."""
    sys.path.insert(0, str(ROOT / "tests/e2e/dashboard"))
    try:
        from browser import Browser
    except unittest.SkipTest as why:
        print(f"not looked at: {why}")
        return
    print(f"Chromium at {link}", flush=True)
    browser = Browser(link.split("/#")[0], 60.0, pathlib.Path(folder))
    try:
        browser.driver.get(link)
        browser.see("Overview", css="h1")
        browser.see("demo (admin)")
        browser.wait(lambda: any(tile.text.startswith("Online\n20\n") for tile in browser.all(".tile")), "20 devices to be online")
        browser.press("Devices")
        browser.press("sim-000001")
        browser.see("live", css="section[aria-label='Last values']")
        browser.press("Commands")
        browser.fill("Command", "ping")
        browser.press("Send command")
        browser.see("succeeded", css="section[aria-label='Answer to ping']")
        assert not browser.complaints()
    finally:
        browser.quit()


def follow(printed: Printed, folder: str) -> None:
    by_word = printed.by_word()
    curls = [line for lines in by_word.values() for line in lines if line.startswith("curl ")]
    assert len(curls) == sum(map(len, CHECKS.values())) + 1, by_word  # and the live stream
    for word, checks in CHECKS.items():
        for line, look in zip(by_word[word], checks, strict=True):
            patiently(lambda line=line, look=look: look(json.loads(run(line, "", folder))))
    listen(by_word["live"][0], "hello", "telemetry")
    for address, says in zip(re.findall(r"http://\S+", by_word["metrics"][0]), ("fieldgate_sessions 20\n", '"ready":true'), strict=True):
        patiently(lambda address=address, says=says: check_says(says, run(f"curl -s {address}", "", folder)))
    check_says("fieldgate/v1/devices/sim-", run(by_word["broker"][0] + " -C 1 -W 30", "", folder))
    click(by_word["look"][0], folder)


def main() -> int:
    lines = commands()
    binaries = pathlib.Path(sys.argv[1]).resolve()
    assert len(lines) >= 10, "README.md has lost its walk"
    with tempfile.TemporaryDirectory() as folder:
        environment = pathlib.Path(folder) / "env"
        fleet = subprocess.Popen([ROOT / "tests/sim/demo.py", "--bin", binaries, "--environment", environment,
                                  "--devices", "20"], cwd=folder, stdout=subprocess.PIPE, text=True,
                                 start_new_session=True)
        printed = Printed(fleet.stdout)
        try:
            deadline = time.monotonic() + 60
            while not any(line.startswith(LAST_WORD) for line in printed.lines):
                assert fleet.poll() is None and time.monotonic() < deadline, "the fleet did not start"
                time.sleep(0.1)
            assert environment.exists()
            for line in lines:
                patiently(lambda line=line: check(line, run(line, "source build/run/env", folder)))
            follow(printed, folder)
        finally:
            # What Ctrl-C does.
            if fleet.poll() is None:
                os.killpg(fleet.pid, signal.SIGINT)
            fleet.wait(60)
            printed.thread.join()
        output, last = "\n".join(printed.lines), printed.lines[-1]
        assert re.match(r"summary: devices=20 .* lost=0 ", last), output
        assert fleet.returncode == 0, f"./dev run ended with {fleet.returncode}\n{output}"
        assert not environment.exists()
    print(last)
    return 0


if __name__ == "__main__":
    sys.exit(main())
