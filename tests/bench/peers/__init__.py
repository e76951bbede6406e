# SPDX-License-Identifier: Apache-2.0
"""Other makers' servers, set to the gateway's job: how each is started, and what it needs."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
NODE_MODULES = ("mqtt@5", "protobufjs@7", "ws@8")


class Missing(Exception):
    """Why a peer cannot be had here."""


def python_messages() -> pathlib.Path:
    """The folder of the messages' Python modules, made anew."""
    out = ROOT / "build/bench/python"
    out.mkdir(parents=True, exist_ok=True)
    protos = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto/fieldgate/v1").glob("*.proto"))
    subprocess.run(["protoc", "-I", ROOT / "proto", f"--python_out={out}", *protos], check=True)
    return out


def node_modules() -> pathlib.Path:
    """The folder that Node finds the packages in, fetched by npm once."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Missing("there is no node or no npm here")
    out = ROOT / "build/bench/node"
    out.mkdir(parents=True, exist_ok=True)
    if not all((out / "node_modules" / name.split("@")[0]).is_dir() for name in NODE_MODULES):
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *NODE_MODULES], cwd=out,
                              capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise Missing("npm cannot fetch " + " ".join(NODE_MODULES) + ": " + " ".join(done.stderr.split())[-300:])
    return out


def tornado_command() -> list:
    found = subprocess.run(["/usr/bin/python3", "-c", "import tornado, paho.mqtt.client, google.protobuf"],
                           capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise Missing("python3-tornado, python3-paho-mqtt and python3-protobuf are needed")
    return ["/usr/bin/python3", HERE / "tornado_peer.py", "--pb", python_messages()]


def node_command() -> list:
    return ["node", "--expose-gc", HERE / "node_peer.js", "--modules", node_modules(), "--proto", ROOT / "proto"]


COMMANDS = {"tornado": tornado_command, "node": node_command}


def start(run, name: str, prefix: str, processes: int = os.cpu_count()) -> None:
    """One process per core, or so many; listening when this returns. `run`: a bench's stage, with broker and credentials."""
    process = run.start(name, *COMMANDS[name](), "--port", run.peer, "--broker", run.broker, "--processes", processes,
                        "--pki", run.folder / "pki", "--tokens", run.folder / "device-tokens", "--prefix", prefix)

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", run.peer), 1):
            return True
        return False

    run.wait_for(name, process, listens, 30)


def available() -> dict[str, str]:
    """By name: why it cannot be had; empty: it can."""
    found = {}
    for name, command in COMMANDS.items():
        try:
            command()
            found[name] = ""
        except (Missing, subprocess.SubprocessError, OSError) as missing:
            found[name] = str(missing)
            print(f"{name}: left out: {missing}", file=sys.stderr)
    return found
