#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Devices that are slow, silent, or stop in the middle of something."""

import asyncio
import datetime
import signal
import ssl
import sys
import time
import unittest

from gateway_fixture import PATIENCE, SOURCE, GatewayTestCase, Process, wait_for
from device_client import GENERATED, Device, RawDevice, pb

TIME_REQUEST = pb.DeviceFrame(time_request=pb.TimeRequest(token=7)).SerializeToString()


class SessionTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway({
            "node": {"shards": 1}, "log": {"level": "info"},
            "session": {"heartbeat": "2s", "outbox_bytes_max": "16KiB", "deadlines": {"close": "1s"}},
            "limits": {"message_assembly": "1s", "frames_per_second": 1_000_000, "frames_burst": 1_000_000,
                       "bytes_per_second": "1GiB", "bytes_burst": "1GiB"}}, start=False)
        cls.gateway_.add_tokens("stopped")
        cls.gateway_.start()

    def ended_at(self, device: str, reason: str) -> float:
        """Seconds since 1970, by the log."""
        event = self.gateway_.wait_event("session_ended", device=device, reason=reason)
        return time.mktime(time.strptime(event["ts"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + float(event["ts"][19:23])

    # --- heartbeat

    def test_a_device_that_is_stopped_is_lost_within_one_and_a_half_intervals_and_comes_back_when_it_runs_again(self):
        log = self.gateway_.dir / "stopped.log"
        process = Process("device.py", [sys.executable, SOURCE / "docs/examples/device.py", self.gateway_.url, "stopped",
                                        "token-of-stopped", self.pki.ca], log, {"PYTHONPATH": str(GENERATED)})
        self.addCleanup(process.kill)

        def state() -> dict:
            return self.gateway_.api("/api/v1/devices/stopped")

        wait_for(lambda: "welcome" in process.log(), "the device's welcome")
        wait_for(lambda: int(state()["streams"][0]["forwarded_through"]) >= 2, "its data")
        process.signal(signal.SIGSTOP)
        lost = self.ended_at("stopped", "heartbeat_lost")
        seen = state()
        # By the gateway's own clock, for who knows when this machine lets anybody run. The wheel has ticks of a second;
        # the rest is for slow machines.
        silent = lost - datetime.datetime.fromisoformat(seen["last_seen"]).timestamp()
        self.assertGreater(silent, 3 - 0.1)
        self.assertLess(silent, 3 + 1 + 10)
        self.assertEqual((seen["online"], seen["reason"]), (False, "heartbeat_lost"))
        presence = wait_for(lambda: (p := self.broker.retained("fieldgate/v1/devices/stopped/presence")) and not p["online"] and p,
                            "its presence")
        self.assertEqual(presence["reason"], "heartbeat_lost")

        before = int(seen["streams"][0]["received_through"])
        process.signal(signal.SIGCONT)
        wait_for(lambda: (s := state())["online"] and int(s["streams"][0]["forwarded_through"]) > before, "its return")
        self.assertEqual(state()["streams"][0]["gaps"], 0)

    async def test_a_device_that_only_answers_pings_stays(self):
        device = await Device.connect(self.gateway_, "quiet", heartbeat_seconds=1)
        self.assertEqual(device.welcome.heartbeat_seconds, 1)
        before = self.gateway_.metrics()["fieldgate_pings_sent_total"]
        await asyncio.to_thread(wait_for, lambda: self.gateway_.metrics()["fieldgate_pings_sent_total"] >= before + 3,
                                "three pings")
        await device.ask_time()
        await device.close()

    async def test_the_heartbeat_that_a_device_asks_for_is_kept_within_the_limits(self):
        for asked, granted in ((0, 2), (5, 5), (100_000, 600)):
            device = await Device.connect(self.gateway_, "asks", heartbeat_seconds=asked)
            self.assertEqual(device.welcome.heartbeat_seconds, granted)
            await device.close()

    # --- messages

    def test_half_a_message_is_waited_for_only_so_long(self):
        with RawDevice.welcomed(self.gateway_, "half", hello={"heartbeat_seconds": 60}) as raw:
            raw.send_frame(2, b"begun", length=1_000)
            began = time.monotonic()
            self.assertEqual(raw.close_code(), 4009)
            took = time.monotonic() - began
            self.assertGreater(took, 0.5)
            self.assertLess(took, 1 + 1 + 10)

    def test_pings_between_the_fragments_do_not_prolong_it(self):
        with RawDevice.welcomed(self.gateway_, "half-2") as raw:
            raw.send_frame(2, b"begun", fin=False)

            def ping() -> None:
                raw.send_frame(9)
                raw.send_frame(0, b".", fin=False)

            self.assertEqual(raw.close_code(ping), 4009)

    def test_a_device_that_is_always_in_the_middle_of_the_next_message_is_not_cut_off(self):
        """Each message is complete in time; only the pieces that arrive never end where a message does."""
        with RawDevice.welcomed(self.gateway_, "straddling") as raw:
            message = raw.encode(2, TIME_REQUEST)
            raw.socket.sendall(message[:5])
            for _ in range(15):
                time.sleep(0.2)
                raw.socket.sendall(message[5:] + message[:5])
            raw.socket.sendall(message[5:])
            answers = 0
            while answers < 16:
                opcode, payload = raw.frame()
                self.assertIn(opcode, (2, 9), payload)
                if opcode == 2:
                    self.assertEqual(pb.GatewayFrame.FromString(payload).time.token, 7)
                    answers += 1

    # --- reading

    async def test_a_device_that_does_not_read_is_disconnected_and_others_are_answered(self):
        witness = await Device.connect(self.gateway_, "witness")
        resident = self.gateway_.resident_bytes()

        def never_read() -> None:
            with RawDevice.welcomed(self.gateway_, "slow", receive_buffer=4096) as raw:
                pings = raw.encode(9, b"x" * 125) * 500
                try:
                    until = time.monotonic() + PATIENCE
                    while time.monotonic() < until:
                        raw.socket.sendall(pings)
                except (ConnectionError, ssl.SSLError):
                    pass

        before = self.gateway_.ended("slow_reader")
        reading_not = asyncio.create_task(asyncio.to_thread(never_read))
        while not reading_not.done():  # it is answered, each time within PATIENCE; how quickly is for `./dev bench flood`
            await witness.ask_time()
            await asyncio.sleep(0.01)
        await reading_not
        self.assertEqual(self.gateway_.ended("slow_reader"), before + 1)
        self.assertLess(self.gateway_.resident_bytes() - resident, 16 << 20)
        await witness.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
