# SPDX-License-Identifier: Apache-2.0
"""Commands that never stop coming, to devices that carry them out and come back whatever happens; and what must be
true of each of them afterwards."""

import asyncio
import contextlib
import random

import websockets

from gateway_fixture import COMMAND_TOKEN, Gateway, wait_for
from device_client import Device, cancelled, pb

TAKES = ["command", "command_cancel"]
RUNNING = ["queued", "sent", "acknowledged"]
SAID = ["succeeded", "failed", "rejected", "cancelled"]


def check_command(case, entry: dict, epochs: list[int]) -> dict:
    """What holds of every command: its states could follow each other, its epochs were connections of its device."""
    states = [step["state"] for step in entry["steps"]]
    case.assertEqual(states[-1], entry["state"], entry)
    case.assertEqual(entry["final"], entry["state"] not in RUNNING, entry)
    order = [RUNNING.index(state) for state in states if state in RUNNING]
    case.assertEqual(order, sorted(order), entry)
    for before, after in zip(states, states[1:]):
        case.assertTrue(before in RUNNING or before == "timed_out" and after in SAID, entry)
    for step in entry["steps"]:
        if step["epoch"] is not None or step["state"] in ("sent", "acknowledged", "succeeded", "failed"):
            case.assertIn(int(step["epoch"]), epochs, entry)
    if entry["state"] == "expired":
        case.assertEqual(entry["sends"], 0, entry)
    if "acknowledged" in states or "succeeded" in states:
        case.assertIn("sent", states, entry)
    if entry["at_most_once"]:
        case.assertLessEqual(entry["sends"], 1, entry)
    return entry


class CommandStorm:
    """Every third command is at_most_once. Needs a gateway with a spool, so that what devices say outlives it."""

    SETTINGS = {"uplink": {"spool": {"enabled": True}}, "commands": {"resend_after": "1s", "timeout": "5s"}}

    def __init__(self, case, gateway: Gateway, devices: int = 4, seed: int = 4711):
        self.case, self.gateway, self.random = case, gateway, random.Random(seed)
        self.received: dict[str, list[str]] = {f"pump-{i}": [] for i in range(devices)}
        self.epochs: dict[str, list[int]] = {name: [] for name in self.received}
        self.accepted: dict[str, str] = {}  # command to device
        self.tasks: list[asyncio.Task] = []

    async def begin(self) -> None:
        for name in self.received:
            answer = await asyncio.to_thread(self.gateway.call, "PUT", f"/devices/{name}", {})
            self.case.assertEqual(answer.status, 201, answer)
        self.tasks = [asyncio.create_task(self.order()), *(asyncio.create_task(self.live(name)) for name in self.received)]

    async def order(self) -> None:
        names, number = list(self.received), 0
        while True:
            name, number = self.random.choice(names), number + 1
            with contextlib.suppress(OSError, ValueError):
                answer = await asyncio.to_thread(
                    self.gateway.call, "POST", f"/devices/{name}/commands",
                    {"name": "count", "payload": number, "at_most_once": number % 3 == 0}, token=COMMAND_TOKEN)
                if answer.status == 202:
                    self.accepted[answer.json["id"]] = name
            await asyncio.sleep(0.01)

    async def live(self, name: str) -> None:
        """A device as it should be: what it has not been told is safe, it keeps and says again."""
        stream, kept, last = random.getrandbits(62) | 1, {}, 0
        while True:
            with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError, websockets.WebSocketException):
                device = await Device.connect(self.gateway, name, stream_id=stream, capabilities=TAKES, last_seq=last,
                                              oldest_seq=min(kept, default=0), ack_stage=pb.ACK_STAGE_SPOOLED)
                self.epochs[name].append(device.welcome.epoch)
                for seq in sorted(kept):
                    if seq > device.welcome.received_through:
                        await device.ws.send(kept[seq])
                while True:
                    frame = pb.GatewayFrame.FromString(await device.ws.recv())
                    if frame.HasField("ack"):
                        kept = {seq: data for seq, data in kept.items() if seq > frame.ack.through}
                    if frame.HasField("command"):
                        told = frame.command
                        self.received[name].append(told.id)
                        for answer in ({"command_ack": pb.CommandAck(id=told.id)}, {"command_result": pb.CommandResult(
                                id=told.id, outcome=pb.CommandResult.OUTCOME_SUCCEEDED, payload=told.payload)}):
                            last += 1
                            kept[last] = pb.DeviceFrame(seq=last, **answer).SerializeToString()
                        for seq in (last - 1, last):
                            await device.ws.send(kept[seq])
            await asyncio.sleep(0.05)

    async def more(self, count: int) -> None:
        """Until so many more commands are in the ledger."""
        enough = len(self.accepted) + count
        while len(self.accepted) < enough:
            self.check_tasks()
            await asyncio.sleep(0.02)

    def check_tasks(self) -> None:
        for task in self.tasks:
            if task.done():
                task.result()  # raises what ended it

    async def settle(self) -> None:
        """Until all commands have come to their end; and then none was lost, doubled or mis-stated."""
        await cancelled(self.tasks[0])
        ended = {}
        for command, name in self.accepted.items():
            def reached(*states: str):
                answer = self.gateway.call("GET", f"/commands/{command}")
                return answer.status == 200 and answer.json["state"] in states and answer.json

            entry = await asyncio.to_thread(wait_for, lambda: reached(*SAID, "timed_out", "expired"), f"{command} to end")
            if command in self.received[name]:  # what it said of it may have come after the timeout
                entry = await asyncio.to_thread(wait_for, lambda: reached("succeeded"), f"{command} to have succeeded")
            ended[command] = check_command(self.case, entry, self.epochs[name])
        for task in self.tasks[1:]:
            self.case.assertFalse(task.done())
            await cancelled(task)
        for command, entry in ended.items():
            times = self.received[entry["device"]].count(command)
            # One that did not come to its device is not known to have been lost: only its time was over.
            self.case.assertEqual(entry["state"], "succeeded" if times else "timed_out", entry)
            if entry["at_most_once"]:
                self.case.assertLessEqual(times, 1, entry)
            if times:
                self.case.assertEqual(entry["result"]["payload"], entry["payload"], entry)
        succeeded = sum(entry["state"] == "succeeded" for entry in ended.values())
        self.case.assertGreater(succeeded, len(ended) / 2)
