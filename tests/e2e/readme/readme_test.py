#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""README.md's commands, as printed, against a fleet as `./dev run` starts it.

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
import time

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


def walk(line: str, folder: str) -> None:
    """A person looks again if the fleet is not all there yet."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return check(line, run(line, "source build/run/env", folder))
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def main() -> int:
    lines = commands()
    binaries = pathlib.Path(sys.argv[1]).resolve()
    assert len(lines) >= 10, "README.md has lost its walk"
    with tempfile.TemporaryDirectory() as folder:
        environment = pathlib.Path(folder) / "env"
        fleet = subprocess.Popen([ROOT / "tests/sim/demo.py", "--bin", binaries, "--environment", environment,
                                  "--devices", "20"], cwd=folder, stdout=subprocess.PIPE, text=True,
                                 start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while not environment.exists():
                assert fleet.poll() is None and time.monotonic() < deadline, "the fleet did not start"
                time.sleep(0.1)
            for line in lines:
                walk(line, folder)
        finally:
            # What Ctrl-C does.
            if fleet.poll() is None:
                os.killpg(fleet.pid, signal.SIGINT)
            output, _ = fleet.communicate(timeout=60)
        last = output.splitlines()[-1]
        assert re.match(r"summary: devices=20 .* lost=0 ", last), output
        assert fleet.returncode == 0, f"./dev run ended with {fleet.returncode}\n{output}"
        assert not environment.exists()
    print(last)
    return 0


if __name__ == "__main__":
    sys.exit(main())
