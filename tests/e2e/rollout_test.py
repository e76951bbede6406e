#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator's machinery asks of the gateway: drains, probes, replaced files, a service manager, balancers."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import unittest

from gateway_fixture import FIELDGATE, PATIENCE, GatewayTestCase, Gateway, folder, wait_for
from device_client import Device, pb


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


class AgeTest(GatewayTestCase):
    async def test_an_old_connection_is_sent_away_and_may_come_back_at_once(self):
        gateway = self.gateway({"session": {"age_max": "2s"}})
        device = await Device.connect(gateway, "pump-1")
        code, frames = await device.end()
        self.assertEqual((code, frames[-1].goodbye.reason), (1001, pb.GOODBYE_REASON_DRAIN))
        self.assertLessEqual(frames[-1].goodbye.reconnect_after_ms, 5000)
        await (await Device.connect(gateway, "pump-1")).close()
        self.assertEqual(await asyncio.to_thread(gateway.ended, "age_max"), 1)


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
        self.assertRegex(self.heard("STOPPING=1"), r"EXTEND_TIMEOUT_USEC=\d+")
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
        with self.assertRaises(Exception):  # noqa: B017
            await Device.connect(gateway, "pump-2")
        self.assertGreaterEqual(await asyncio.to_thread(gateway.ended, "memory"), 1)
        await device.ask_time()
        gateway.write_config({"limits": {"memory_bytes_max": "64GiB"}})
        await asyncio.to_thread(gateway.reload)
        await asyncio.to_thread(gateway.wait_event, "admission_resumed")
        await (await Device.connect(gateway, "pump-2")).close()
        await device.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
