#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL goes away, stands still, or comes late: connected devices go on, and everything else catches up."""

import asyncio
import atexit
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from gateway_fixture import Answer, Gateway, GatewayTestCase, Process, Subscriber, free_port, wait_for
from device_client import Device, hello, north, pb
from command_storm import CommandStorm

PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
PASSWORD = "s3cret'%20pass"


class Postgres:
    """Debian's PostgreSQL 15 on a loopback port of its own; as root it is run by the user postgres, for it refuses to be root.

    Started and stopped by the main thread alone: it ends with the thread that started it.
    """

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fieldgate-postgres-"))  # its user can look into this one
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.port, self.databases, self.process = free_port(), 0, None
        (self.dir / "password").write_text(PASSWORD)
        self.become: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            for path in (self.dir, self.dir / "password"):
                os.chown(path, user.pw_uid, user.pw_gid)
            self.become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
        subprocess.run([*self.become, PROGRAMS / "initdb", "-D", self.dir / "data", "-U", "fieldgate", "-A", "scram-sha-256",
                        f"--pwfile={self.dir / 'password'}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"],
                       check=True, capture_output=True, cwd="/")
        self.start()

    def connection(self, database: str = "postgres") -> str:
        return f"host=127.0.0.1 port={self.port} user=fieldgate dbname={database}"

    def psql(self, sql: str, database: str = "postgres") -> str:
        return subprocess.run(["psql", "-X", "-At", "-d", self.connection(database), "-c", sql], check=True, capture_output=True,
                              text=True, env={**os.environ, "PGPASSWORD": PASSWORD}).stdout.strip()

    def make_database(self) -> str:
        self.databases += 1
        self.psql(f"CREATE DATABASE gateway_{self.databases}")
        return f"gateway_{self.databases}"

    def start(self) -> None:
        self.process = Process("postgres", [
            *self.become, "setpriv", "--pdeathsig", "QUIT", PROGRAMS / "postgres", "-D", self.dir / "data",
            "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}", "-c", "unix_socket_directories=", "-c", "fsync=off"],
            self.dir / "log")
        ready = [PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_for(lambda: subprocess.run(ready, check=False).returncode == 0 or not self.process.alive(), "PostgreSQL to be ready")
        assert self.process.alive(), self.process.log()

    def stop(self) -> None:
        """Clients are thrown out."""
        self.process.signal(signal.SIGINT)
        self.process.wait()

    def everybody(self) -> list[int]:
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def freeze(self) -> None:
        self.process.signal(signal.SIGSTOP)  # first, so that it makes no more of them
        for pid in self.everybody():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.everybody():
            os.kill(pid, signal.SIGCONT)


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class StoreOutageTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = Postgres()
        cls.addClassCleanup(cls.postgres.process.kill)

    def setUp(self):
        if not self.postgres.process.alive():  # an earlier test came to grief while it was away
            self.postgres.start()
        self.postgres.thaw()

    def on_postgres(self, settings: dict | None = None) -> Gateway:
        return self.gateway({**(settings or {}), "store": {"kind": "postgres", "connection": self.postgres.connection(self.postgres.make_database()),
                                       "password": PASSWORD, "statement_timeout": "1s"}})

    async def asks(self, gateway: Gateway, method: str, path: str, body=None) -> Answer:
        return await asyncio.to_thread(gateway.call, method, path, body)

    async def until(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    async def told_to_come_back(self, gateway: Gateway, device_id: str) -> None:
        ws = await Device.socket(gateway, context=self.pki.client_context(device_id))
        await ws.send(hello(device_id))
        self.assertEqual(await Device(gateway, device_id, ws, None).goodbye(), (1013, pb.GOODBYE_REASON_RETRY))

    async def let_in(self, gateway: Gateway, device_id: str) -> Device:
        """As a device does it: again and again, until it is."""
        deadline = time.monotonic() + 40
        while True:
            try:
                return await Device.connect(gateway, device_id, capabilities=["command"])
            except Exception:  # of which kind it is depends on when the refusal is read
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    def store_is_down(self, gateway: Gateway) -> bool:
        status, body = gateway.readyz()
        self.assertEqual(status, 200, body)
        return "store_down" in [reason["name"] for reason in body["reasons"]]

    async def check_outage(self, go_away, come_back) -> None:
        gateway = self.on_postgres()
        batches = Subscriber(self.broker, "fieldgate/v1/batches/#")
        stays = await Device.connect(gateway, "stays", capabilities=["command"], ack_stage=pb.ACK_STAGE_FORWARDED)
        leaves = await Device.connect(gateway, "leaves")
        command = (await self.asks(gateway, "POST", "/devices/stays/commands", {"name": "ping", "timeout": "10m"})).json["id"]
        self.assertEqual((await stays.command()).id, command)
        await stays.ack_command(command)
        await self.until(lambda: gateway.call("GET", f"/commands/{command}").json["state"] == "acknowledged", "the CommandAck")
        self.assertFalse(self.store_is_down(gateway))

        go_away()
        await self.until(lambda: self.store_is_down(gateway), "the outage to be noticed")
        # What needs the store says so.
        for method, path, body in (("POST", "/devices/stays/commands", {"name": "ping"}), ("GET", f"/commands/{command}", None),
                                   ("PUT", "/devices/new", {}), ("GET", "/devices/stays/timeline", None),
                                   ("GET", "/devices/stays/twin", None), ("DELETE", f"/commands/{command}", None)):
            answer = await self.asks(gateway, method, path, body)
            self.assertEqual((answer.status, answer.problem), (503, "store-unavailable"), f"{method} {path}: {answer}")
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
        await self.told_to_come_back(gateway, "new")
        # What does not, goes on.
        await stays.send(20)
        await stays.acked()
        await self.until(lambda: {record.seq for _, payload in batches.messages()
                                  for record in north.RecordBatch.FromString(payload).records
                                  if record.device_id == "stays"} >= set(range(2, 22)), "the telemetry")
        self.assertEqual((await self.asks(gateway, "GET", "/devices/stays")).json["online"], True)
        last = (await self.asks(gateway, "GET", "/devices/stays/telemetry/latest")).json
        self.assertIn("temperature", str(last))
        await stays.acked(await stays.result(command, payload=b'"done"'))
        await leaves.close()
        await self.until(lambda: not gateway.call("GET", "/devices/leaves").json["online"], "that one has left")
        self.assertTrue(self.store_is_down(gateway))

        come_back()
        await self.until(lambda: not self.store_is_down(gateway), "the store to be back")
        entry = await self.until(lambda: (a := gateway.call("GET", f"/commands/{command}")).status == 200 and a.json["final"] and a.json,
                                 "the result in the ledger")
        self.assertEqual((entry["state"], entry["result"]["payload"], entry["sends"]), ("succeeded", "done", 1))
        self.assertEqual(entry["steps"][-1]["epoch"], str(stays.welcome.epoch))

        def ends() -> list:
            answer = gateway.call("GET", "/devices/leaves/presence")
            return answer.status == 200 and [(event["reason"], event["epoch"]) for event in answer.json["events"] if not event["online"]]

        self.assertEqual(await self.until(ends, "the presence of the one that left"), [("bye", str(leaves.welcome.epoch))])
        lines = (await self.asks(gateway, "GET", "/devices/leaves/timeline")).json["entries"]
        self.assertIn(("disconnected", "bye"), [(line["kind"], line["fields"].get("reason")) for line in lines])
        new, again = await self.let_in(gateway, "new"), await self.let_in(gateway, "leaves")
        self.assertGreater(again.welcome.epoch, leaves.welcome.epoch)
        done = asyncio.create_task(self.asks(gateway, "POST", "/devices/new/commands?wait=30s", {"name": "ping"}))
        await new.result((await new.command()).id)
        self.assertEqual((await done).json["state"], "succeeded")
        await stays.ask_time()  # all the while it has been the same connection
        for device in (stays, new, again):
            await device.close()

    async def test_it_is_stopped_and_started_again(self):
        await self.check_outage(self.postgres.stop, self.postgres.start)

    async def test_it_stands_still_and_goes_on(self):
        await self.check_outage(self.postgres.freeze, self.postgres.thaw)

    async def test_no_command_is_lost_doubled_or_mis_stated_while_it_comes_and_goes(self):
        gateway = self.on_postgres(CommandStorm.SETTINGS)
        storm = CommandStorm(self, gateway)
        await storm.begin()
        for go_away, come_back in ((self.postgres.stop, self.postgres.start), (self.postgres.freeze, self.postgres.thaw)):
            await storm.more(storm.random.randrange(10, 30))
            go_away()
            await self.until(lambda: self.store_is_down(gateway), "the outage to be noticed")
            come_back()
            await self.until(lambda: not self.store_is_down(gateway), "the store to be back")
        await storm.more(10)
        await storm.settle()

    async def test_the_gateway_starts_without_it_and_takes_up_where_it_was_once_it_comes(self):
        gateway = self.on_postgres()
        before = await Device.connect(gateway, "pump", capabilities=["command"])
        await before.close()
        queued = (await self.asks(gateway, "POST", "/devices/pump/commands", {"name": "ping", "ttl": "1h"})).json["id"]
        self.assertEqual(gateway.stop(), 0)
        self.postgres.stop()
        gateway.start()
        self.assertTrue(self.store_is_down(gateway))
        await self.told_to_come_back(gateway, "pump")
        self.assertEqual((await self.asks(gateway, "GET", f"/commands/{queued}")).status, 503)
        self.postgres.start()
        after = await self.let_in(gateway, "pump")
        self.assertGreater(after.welcome.epoch, before.welcome.epoch)
        self.assertEqual((await after.command()).id, queued)
        await after.result(queued)
        await self.until(lambda: gateway.call("GET", f"/commands/{queued}").json["state"] == "succeeded", "the result")
        await self.until(lambda: not self.store_is_down(gateway), "the store to be back")
        await after.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
