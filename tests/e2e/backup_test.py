#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Copies of the store as docs/operations.md tells to make and to put back: what a gateway on them knows, and goes on from."""

import asyncio
import os
import pathlib
import shutil
import subprocess
import unittest

from device_client import Device
from gateway_fixture import Gateway, GatewayTestCase, folder, wait_for
from store_outage_test import PASSWORD, PROGRAMS, Postgres


class BackupTestCase(GatewayTestCase):
    async def fill(self, gateway: Gateway) -> Device:
        self.assertEqual(gateway.call("PUT", "/devices/pump-1", {"labels": {"site": "berlin"}, "note": "kept"}).status, 201)
        command = gateway.call("POST", "/devices/pump-1/commands", {"name": "ping", "ttl": "1h"})
        self.assertEqual(command.status, 202)
        self.waiting = command.json["id"]
        device = await Device.connect(gateway, "pump-1")
        # The store has heard of it: the lines of a timeline come from there.
        await asyncio.to_thread(wait_for, lambda: "connected" in self.kinds(gateway), "the connect to be in the store")
        return device

    def kinds(self, gateway: Gateway) -> list[str]:
        return [line["kind"] for line in gateway.call("GET", "/devices/pump-1/timeline").json["entries"]]

    async def check(self, gateway: Gateway, before: Device) -> None:
        entry = gateway.call("GET", "/devices/pump-1").json["registry"]
        self.assertEqual((entry["labels"], entry["note"]), ({"site": "berlin"}, "kept"))
        self.assertIn("connected", self.kinds(gateway))
        self.assertEqual(gateway.call("GET", f"/commands/{self.waiting}").json["name"], "ping")
        after = await Device.connect(gateway, "pump-1")
        self.assertGreater(after.welcome.epoch, before.welcome.epoch)
        await after.close()


class SqliteBackupTest(BackupTestCase):
    async def test_a_copy_of_the_stopped_gateways_file_is_the_store(self):
        gateway = self.gateway()
        before = await self.fill(gateway)
        state = pathlib.Path(gateway.settings["node"]["state_dir"])
        if shutil.which("sqlite3"):
            tried = subprocess.run(["sqlite3", state / "fieldgate.db", f".backup {folder('copy')}/copy.db"], check=False,
                                   capture_output=True, text=True)
            self.assertNotEqual(tried.returncode, 0)
            self.assertIn("locked", tried.stderr)
        gateway.stop()
        again = self.gateway(start=False)
        to = pathlib.Path(again.settings["node"]["state_dir"])
        to.mkdir(mode=0o700)
        for name in ("fieldgate.db", "fieldgate.db-wal"):
            if (state / name).exists():
                shutil.copy(state / name, to / name)
        again.start()
        await self.check(again, before)


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class PostgresBackupTest(BackupTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = Postgres()
        cls.addClassCleanup(cls.postgres.process.kill)

    def on(self, database: str, node: str) -> Gateway:
        return self.gateway({"node": {"name": node}, "store": {
            "kind": "postgres", "connection": self.postgres.connection(database), "password": PASSWORD}})

    async def test_a_dump_of_the_running_gateways_database_is_the_store(self):
        first, second = self.postgres.make_database(), self.postgres.make_database()
        gateway = self.on(first, "gw-1")
        before = await self.fill(gateway)
        dump = folder("dump") / "fieldgate.dump"
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run(["pg_dump", "-n", "fieldgate", "-Fc", "-f", dump, self.postgres.connection(first)], check=True,
                       env=environment)
        gateway.stop()
        subprocess.run(["pg_restore", "-d", self.postgres.connection(second), dump], check=True, env=environment)
        await self.check(self.on(second, "gw-2"), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
