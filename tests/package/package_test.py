#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tools that build the image and hold one build against another, as far as they need no root."""

import os
import pathlib
import tempfile
import unittest

import containerfile
import same

SOURCE = pathlib.Path(__file__).resolve().parents[2]


class Same(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.one, self.other = pathlib.Path(work.name) / "one", pathlib.Path(work.name) / "other"
        for root in (self.one, self.other):
            (root / "usr/bin").mkdir(parents=True)
            (root / "usr/bin/program").write_bytes(b"\x7fELF")
            (root / "bin").symlink_to("usr/bin")

    def found(self) -> list[str]:
        return same.differences(self.one, self.other)[1]

    def test_finds_nothing_in_two_of_a_kind_whatever_their_times(self):
        os.utime(self.one / "usr/bin/program", (1, 1))
        self.assertEqual(same.differences(self.one, self.other), (4, []))

    def test_finds_a_changed_byte(self):
        (self.other / "usr/bin/program").write_bytes(b"\x7fELG")
        os.utime(self.one / "usr/bin/program", (1, 1))
        os.utime(self.other / "usr/bin/program", (1, 1))
        self.assertEqual(self.found(), ["usr/bin/program: other contents: 4 and 4 bytes"])

    def test_finds_what_only_one_has(self):
        (self.one / "a").touch()
        (self.other / "usr/b").mkdir()
        self.assertEqual(self.found(), ["a: only in the first", "usr/b: only in the second"])

    def test_finds_modes_and_links_and_types(self):
        (self.one / "usr/bin/program").chmod(0o4755)
        (self.one / "bin").unlink()
        (self.one / "bin").symlink_to("sbin")
        (self.one / "x").mkdir()
        (self.other / "x").touch()
        self.assertEqual([line.partition(":")[0] for line in self.found()], ["bin", "usr/bin/program", "x"])

    def test_passes_over_what_the_builder_puts_there(self):
        (self.one / "proc").mkdir()
        (self.one / "proc/1").touch()
        (self.one / "etc").mkdir()
        (self.other / "etc").mkdir()
        (self.other / "etc/resolv.conf").touch()
        self.assertEqual(self.found(), [])


class Steps(unittest.TestCase):
    def test_of_the_container_file_are_all_known(self):
        arguments, stages = containerfile.parse((SOURCE / "Containerfile").read_text())
        self.assertIn("BASE", arguments)
        self.assertEqual([stage.name for stage in stages], ["build", "1"])
        known = {"ARG", "ENV", "LABEL", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD", "HEALTHCHECK", "EXPOSE", "STOPSIGNAL"}
        self.assertEqual({word for stage in stages for word, _ in stage.steps} - known, set())

    def test_that_nobody_knows_are_refused(self):
        with self.assertRaises(containerfile.Problem):
            containerfile.parse("RUN before\nFROM x\n")
        with self.assertRaises(containerfile.Problem):
            containerfile.parse("FROM x y z\n")

    def test_copy_of_a_context_is_complete_and_can_be_copied(self):
        with tempfile.TemporaryDirectory() as work:
            first, second = pathlib.Path(work) / "first", pathlib.Path(work) / "second"
            (first / "a b").mkdir(parents=True)
            (first / "a b/c").write_text("text")
            (first / "a b/c").chmod(0o755)
            containerfile.copy_context(first, second)
            self.assertEqual(same.differences(first, second), (2, []))


if __name__ == "__main__":
    unittest.main()
