#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator's machinery asks of the gateway: drains, probes, replaced files, a service manager, balancers."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
import unittest

import replicas_test
from gateway_fixture import FIELDGATE, PATIENCE, GatewayTestCase, Gateway, Subscriber, folder, wait_for
from device_client import Device, pb
from live_stream import Stream


def fieldgate(gateway: Gateway, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([FIELDGATE, *arguments, "--config", gateway.config], capture_output=True, text=True,
                          timeout=2 * PATIENCE, check=False)


def served_serial(gateway: Gateway) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as plain:
        with gateway.pki.client_context().wrap_socket(plain, server_hostname="localhost") as tls:
            return tls.getpeercert(binary_form=True)


class DrainTest(GatewayTestCase):
    async def test_drain_waits_until_the_devices_are_gone_and_leaves_the_process_to_who_stops_it(self):
        gateway = self.gateway()
        devices = [await Device.connect(gateway, f"pump-{n}", ack_stage=pb.ACK_STAGE_ACCEPTED) for n in range(5)]
        for device in devices:
            await device.send(10)
            await device.acked()
        done = asyncio.create_task(asyncio.to_thread(fieldgate, gateway, "drain"))
        for device in devices:
            code, frames = await device.end()
            self.assertEqual((code, frames[-1].goodbye.reason), (1001, pb.GOODBYE_REASON_DRAIN))
        result = await done
        self.assertEqual((result.returncode, result.stdout), (0, "drained\n"), result.stderr)
        status, answer = await asyncio.to_thread(gateway.readyz)
        self.assertEqual((status, [reason["name"] for reason in answer["reasons"]]), (503, ["drained"]))
        self.assertEqual((await asyncio.to_thread(fieldgate, gateway, "health")).returncode, 0)
        self.assertEqual((await asyncio.to_thread(fieldgate, gateway, "health", "--ready")).returncode, 1)
        self.assertTrue(gateway.process.alive())
        self.assertEqual(await asyncio.to_thread(gateway.stop), 0)

    async def test_during_the_delay_it_is_not_ready_but_lets_devices_in_and_serves_them(self):
        gateway = self.gateway({"node": {"drain_delay": "1h"}})
        early = await Device.connect(gateway, "early")
        gateway.process.signal(signal.SIGTERM)
        await asyncio.to_thread(wait_for, lambda: gateway.readyz()[0] == 503, "/readyz to turn")
        late = await Device.connect(gateway, "late", ack_stage=pb.ACK_STAGE_ACCEPTED)
        for device in (early, late):
            await device.ask_time()
        await late.send(1)
        await late.acked()
        gateway.process.signal(signal.SIGTERM)  # a second one: no more waiting
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 0)

    def test_a_signal_ends_a_drain_that_a_command_began_only_once_it_is_over(self):
        gateway = self.gateway({"node": {"drain_delay": "1s"}})
        asked = subprocess.Popen([FIELDGATE, "drain", "--config", gateway.config], stdout=subprocess.PIPE, text=True)
        gateway.wait_event("draining")
        gateway.process.signal(signal.SIGTERM)
        out, _ = asked.communicate(timeout=PATIENCE)
        self.assertEqual((asked.returncode, out), (0, "drained\n"))
        self.assertEqual(gateway.process.wait(), 0)
        self.assertEqual(gateway.events("drain_cut_short"), [])

    def test_whoever_asks_too_briefly_hears_it_and_whoever_finds_nobody_too(self):
        gateway = self.gateway({"node": {"drain_delay": "1h"}})
        brief = fieldgate(gateway, "drain", "--timeout", "100ms")
        self.assertEqual(brief.returncode, 1)
        self.assertIn("not drained in time", brief.stderr)
        gateway.process.signal(signal.SIGTERM)
        gateway.process.signal(signal.SIGTERM)
        wait_for(lambda: not gateway.process.alive() or gateway.process.signal(signal.SIGTERM), "its end")
        nobody = fieldgate(gateway, "drain")
        self.assertEqual(nobody.returncode, 69)
        self.assertIn("no gateway answers", nobody.stderr)
        self.assertEqual(fieldgate(gateway, "health").returncode, 69)
        self.assertEqual(fieldgate(gateway, "drain", "--timeout", "soon").returncode, 64)


    async def test_goodbyes_go_out_at_the_rate_that_the_others_can_take(self):
        gateway = self.gateway({"node": {"drain_rate": 1, "drain_period": "1h"}})
        devices = [await Device.connect(gateway, f"pump-{n}") for n in range(40)]
        gateway.process.signal(signal.SIGTERM)
        ends = {asyncio.create_task(device.end()) for device in devices}
        gone = 0
        while gone < 3:  # 40 s for all of them; over half of the period the third would come after a minute and a half
            done, ends = await asyncio.wait(ends, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            self.assertTrue(done, "nobody is sent away")
            for task in done:
                code, frames = task.result()
                self.assertEqual((code, frames[-1].goodbye.reason), (1001, pb.GOODBYE_REASON_DRAIN))
            gone += len(done)
        self.assertGreater((await asyncio.to_thread(gateway.metrics))["fieldgate_sessions"], 0, "the others are there yet")
        gateway.process.signal(signal.SIGTERM)
        await asyncio.gather(*ends, return_exceptions=True)
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 0)


def told(stream: Stream, device: str) -> list[tuple[bool, int]]:
    return [(event["online"], int(event["epoch"])) for event in stream.of("presence") if event["device"] == device]


class ReplicaDrainTest(replicas_test.ReplicasTestCase):
    def on_mqtt(self, subscriber: Subscriber, device: str, of: str) -> list[tuple[bool, int]]:
        topic = f"{self.prefix}/devices/{device}/{of}"
        events = [json.loads(payload) for at, payload in subscriber.messages() if at == topic]
        return [(event["online"], int(event["epoch"])) for event in events]

    async def test_a_drained_device_that_comes_back_to_another_replica_was_never_offline(self):
        a, b = self.replica("gw-a", drain_period="1h", drain_rate=1000), self.replica("gw-b")
        subscriber = Subscriber(self.broker, f"{self.prefix}/devices/#")
        readers = [Stream(gateway, "presence") for gateway in (a, b)]
        await self.until(lambda: "as_of" in b.call("GET", "/devices").json, "the other replica to look around")
        first = await Device.connect(a, "pump")
        await self.until(lambda: self.is_at(b, "pump", "gw-a", first.welcome.epoch), "the other replica to know")
        a.process.signal(signal.SIGTERM)
        code, frames = await first.end()
        self.assertEqual((code, frames[-1].goodbye.reason), (1001, pb.GOODBYE_REASON_DRAIN))
        second = await Device.connect(b, "pump")
        # Nobody else is awaited, so the drain is over long before the time that it has.
        self.assertEqual(await asyncio.to_thread(a.process.wait), 0)
        both = [(True, first.welcome.epoch), (True, second.welcome.epoch)]
        for of in ("presence/events", "presence"):
            await self.until(lambda of=of: set(self.on_mqtt(subscriber, "pump", of)) == set(both), f"{of} to be told")
        await self.until(lambda: told(readers[1], "pump") == both, "the live stream to tell")
        self.assertEqual({online for online, _ in told(readers[0], "pump")}, {True})
        self.assertEqual([event[:3] for event in self.events("pump")],
                         [(True, "gw-a", first.welcome.epoch), (True, "gw-b", second.welcome.epoch)])
        self.assertTrue(self.is_at(b, "pump", "gw-b", second.welcome.epoch))
        await second.close()
        await self.until(lambda: self.stored("pump")[3] == "bye", "its own end to be told")

    async def test_one_that_is_awaited_in_vain_is_said_to_be_offline_before_the_process_ends(self):
        a, b = self.replica("gw-a", drain_period="1h", drain_rate=1000), self.replica("gw-b")
        device = await Device.connect(a, "pump")
        epoch = device.welcome.epoch
        await self.until(lambda: self.is_at(b, "pump", "gw-a", epoch), "the other replica to know")
        a.process.signal(signal.SIGTERM)
        await device.end()
        seen_ms = time.time() * 1000
        self.assertEqual(await asyncio.to_thread(a.process.wait), 0)
        await self.until(lambda: not self.device(b, "pump")["online"], "its end to be told")
        self.assertEqual(self.events("pump"), [(True, "gw-a", epoch, ""), (False, "gw-a", epoch, "drain")])
        ended_ms = self.postgres.psql("SELECT unix_ms FROM fieldgate.presence_log WHERE device_id = 'pump' AND online = 0",
                                      self.database)
        self.assertLessEqual(int(ended_ms), seen_ms, "when it ended, not when that was said")

    async def test_what_a_process_that_is_killed_meanwhile_could_not_say_its_peers_do(self):
        a, b = self.replica("gw-a", drain_period="1h", drain_rate=1000), self.replica("gw-b")
        device = await Device.connect(a, "pump")
        epoch = device.welcome.epoch
        await self.until(lambda: self.is_at(b, "pump", "gw-a", epoch), "the other replica to know")
        a.process.signal(signal.SIGTERM)
        await device.end()
        a.process.kill()
        await self.until(lambda: self.stored("pump")[0] is False, "the peer to end it")
        # If this machine stood still for longer than a device is awaited, the process has said it after all.
        self.assertIn(self.events("pump")[1:], ([(False, "gw-a", epoch, "node_lost")], [(False, "gw-a", epoch, "drain")]))

    async def test_who_is_awaited_is_shown_so_and_a_second_signal_waits_for_nobody(self):
        a, b = self.replica("gw-a", drain_period="1h", drain_rate=1000), self.replica("gw-b")
        device = await Device.connect(a, "pump")
        epoch = device.welcome.epoch
        await self.until(lambda: self.is_at(b, "pump", "gw-a", epoch), "the other replica to know")
        a.process.signal(signal.SIGTERM)
        await device.end()
        # As long as it is awaited; if this machine is too slow to see that, what follows holds all the same.
        with contextlib.suppress(OSError):
            for page in [self.device(gateway, "pump") for gateway in (a, b)]:
                if not page["reconnecting"]:
                    continue
                self.assertEqual((page["online"], page["node"], page["live"], page["epoch"]), (True, "gw-a", None, str(epoch)))
        a.process.signal(signal.SIGTERM)
        self.assertEqual(await asyncio.to_thread(a.process.wait), 0)
        await self.until(lambda: self.stored("pump") == (False, "gw-a", epoch, "drain"), "its end to be told")


class AgeTest(GatewayTestCase):
    async def test_an_old_connection_is_sent_away_and_may_come_back_at_once(self):
        gateway = self.gateway({"session": {"age_max": "2s"}})
        device = await Device.connect(gateway, "pump-1")
        code, frames = await device.end()
        self.assertEqual((code, frames[-1].goodbye.reason), (1001, pb.GOODBYE_REASON_DRAIN))
        self.assertLessEqual(frames[-1].goodbye.reconnect_after_ms, 5000)
        self.assertEqual(await asyncio.to_thread(gateway.ended, "age_max"), 1)
        again = await Device.connect(gateway, "pump-1")
        returned = 'fieldgate_presence_holds_ended_total{outcome="returned"}'
        self.assertEqual((await asyncio.to_thread(gateway.metrics))[returned], 1)
        await again.close()
        events = await asyncio.to_thread(wait_for, lambda: len(e := gateway.api("/api/v1/devices/pump-1/presence")["events"]) >= 3 and e, "its end")
        self.assertEqual([(e["online"], int(e["epoch"])) for e in reversed(events)],
                         [(True, device.welcome.epoch), (True, again.welcome.epoch), (False, again.welcome.epoch)])


class FilesTest(GatewayTestCase):
    def mounted(self, gateway: Gateway):
        """The gateway's certificate as Kubernetes mounts a Secret; how to exchange it."""
        mount = folder("secret")

        def swap(version: str, certificate, key) -> None:
            (mount / f"..{version}").mkdir()
            shutil.copy(certificate, mount / f"..{version}" / "tls.crt")
            shutil.copy(key, mount / f"..{version}" / "tls.key")
            (mount / "..data_tmp").symlink_to(f"..{version}")
            os.rename(mount / "..data_tmp", mount / "..data")

        swap("1", self.pki.server, self.pki.server_key)
        for name in ("tls.crt", "tls.key"):
            (mount / name).symlink_to(f"..data/{name}")
        gateway.write_config({"node": {"reload_on_change": True}, "devices": {"tls": {
            "certificate_file": str(mount / "tls.crt"), "key_file": str(mount / "tls.key")}}})
        return swap

    async def test_an_exchanged_secret_is_served_while_sessions_live_on(self):
        gateway = self.gateway(start=False)
        swap = self.mounted(gateway)
        await asyncio.to_thread(gateway.start)
        device = await Device.connect(gateway, "pump-1")
        before = await asyncio.to_thread(served_serial, gateway)
        certificate, key = self.pki.issue("renewed", "DNS:localhost,IP:127.0.0.1", "serverAuth")
        swap("2", certificate, key)
        await asyncio.to_thread(wait_for, lambda: gateway.events("reloaded"), "the reload")
        after = await asyncio.to_thread(served_serial, gateway)
        self.assertNotEqual(before, after)
        self.assertEqual(after, ssl.PEM_cert_to_DER_cert(certificate.read_text()))
        await device.ask_time()
        await device.close()

    async def test_a_half_written_pair_is_refused_and_taken_once_it_is_whole(self):
        gateway = self.gateway(start=False)
        gateway.write_config({"node": {"reload_on_change": True}})
        await asyncio.to_thread(gateway.start)
        before = await asyncio.to_thread(served_serial, gateway)
        certificate, key = self.pki.issue("later", "DNS:localhost,IP:127.0.0.1", "serverAuth")
        shutil.copy(certificate, gateway.dir / "server.pem")  # its key is still the old one
        await asyncio.to_thread(gateway.wait_event, "reload_partly_refused")
        self.assertEqual(await asyncio.to_thread(served_serial, gateway), before)
        shutil.copy(key, gateway.dir / "server-key.pem")
        await asyncio.to_thread(wait_for, lambda: served_serial(gateway) != before, "the new certificate")

    def test_a_changed_configuration_is_read_and_a_broken_one_changes_nothing(self):
        gateway = self.gateway({"node": {"reload_on_change": True}})
        gateway.config.write_text("log: {level: loud")
        self.assertIn("nothing was changed", gateway.wait_event("reload_refused")["hint"])
        gateway.write_config({"log": {"level": "info"}})
        gateway.wait_event("reloaded")


class ServiceManagerTest(GatewayTestCase):
    def setUp(self):
        self.path = str(folder("notify") / "socket")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(self.path)
        self.manager.settimeout(PATIENCE)
        self.addCleanup(self.manager.close)

    def heard(self, line: str) -> str:
        while line not in (text := self.manager.recv(4096).decode()):
            pass
        return text

    def test_it_says_ready_alive_reloading_and_stopping(self):
        gateway = self.gateway(start=False, prefix=("env", f"NOTIFY_SOCKET={self.path}", "WATCHDOG_USEC=20000000"))
        gateway.start()
        self.heard("READY=1")
        self.heard("WATCHDOG=1")
        gateway.process.signal(signal.SIGHUP)
        self.assertRegex(self.heard("RELOADING=1"), r"MONOTONIC_USEC=\d+")
        self.heard("READY=1")
        gateway.process.signal(signal.SIGTERM)
        asked = re.search(r"EXTEND_TIMEOUT_USEC=(\d+)", self.heard("STOPPING=1"))
        # The drain's period, and 10 s to spare, as docs/operations.md says.
        self.assertGreaterEqual(int(asked[1]), (4 + 10) * 1_000_000)
        self.assertEqual(gateway.process.wait(), 0)


class ProxyProtocolTest(GatewayTestCase):
    HEADER = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4B4BHH", 12, 192, 0, 2, 7, 198, 51, 100, 1, 51234, 8443)

    async def connect(self, gateway: Gateway, before: bytes) -> Device:
        loop = asyncio.get_running_loop()
        plain = socket.socket()
        plain.setblocking(False)
        await loop.sock_connect(plain, ("127.0.0.1", gateway.port))
        await loop.sock_sendall(plain, before)
        return await Device.connect(gateway, "pump-1", socket_options={"sock": plain, "server_hostname": "localhost"})

    async def test_a_trusted_balancer_says_for_whom_it_speaks(self):
        gateway = self.gateway({"devices": {"proxy_trusted": ["127.0.0.0/8"]}})
        device = await self.connect(gateway, self.HEADER)
        live = (await asyncio.to_thread(gateway.api, "/api/v1/devices/pump-1"))
        self.assertIn("192.0.2.7:51234", str(live))
        await device.close()
        with self.assertRaises(Exception):  # noqa: B017 -- whatever the library calls a reset
            await Device.connect(gateway, "pump-2")
        self.assertEqual(await asyncio.to_thread(gateway.ended, "proxy_protocol"), 1)

    async def test_nobody_else_may(self):
        gateway = self.gateway({"devices": {"proxy_trusted": ["192.0.2.0/24"]}})
        with self.assertRaises(Exception):  # noqa: B017
            await self.connect(gateway, self.HEADER)
        self.assertEqual(await asyncio.to_thread(gateway.ended, "tls_failed"), 1)
        await (await Device.connect(gateway, "pump-2")).close()


class MemoryTest(GatewayTestCase):
    async def test_above_the_high_mark_nobody_is_let_in_and_who_is_there_stays(self):
        gateway = self.gateway()
        device = await Device.connect(gateway, "pump-1")
        gateway.write_config({"limits": {"memory_bytes_max": "1MiB"}})
        await asyncio.to_thread(gateway.reload)
        await asyncio.to_thread(gateway.wait_event, "admission_paused")
        status, answer = await asyncio.to_thread(gateway.readyz)
        self.assertEqual((status, [reason["name"] for reason in answer["reasons"]]), (200, ["memory_high"]))
        paused = 'fieldgate_admission_paused{reason="memory"}'
        metrics = gateway.metrics()
        self.assertEqual(metrics[paused], 1)  # before anybody has come
        self.assertEqual(metrics["fieldgate_memory_limit_bytes"], 1 << 20)
        self.assertGreater(metrics["fieldgate_memory_watched_bytes"], 1 << 20)
        with self.assertRaises(Exception):  # noqa: B017
            await Device.connect(gateway, "pump-2")
        self.assertGreaterEqual(await asyncio.to_thread(gateway.ended, "memory"), 1)
        await device.ask_time()
        gateway.write_config({"limits": {"memory_bytes_max": "64GiB"}})
        await asyncio.to_thread(gateway.reload)
        await asyncio.to_thread(gateway.wait_event, "admission_resumed")
        await asyncio.to_thread(wait_for, lambda: gateway.metrics()[paused] == 0, "the pause to be over")
        await (await Device.connect(gateway, "pump-2")).close()
        await device.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
