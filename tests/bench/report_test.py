#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The pages of benchmarks and sizing: what the committed templates and results make of them, and how they are made."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import instructions_bench
import report

RUN = {"bench": "cpu", "command": "./dev bench cpu", "quick": False, "date": "2026-01-31", "revision": "abc", "machine": "M",
       "figures": {"a.x": 8450.25, "a.x.min": 8431.0, "a.x.max": 8466.4, "b.x": 6500, "small": 1.25, "word": "yes"}}


class Page(unittest.TestCase):
    def fill(self, template: str) -> str:
        return report.page(template, {"cpu": RUN})

    def test_is_what_the_committed_results_make(self):
        done = subprocess.run([sys.executable, report.HERE / "report.py", "check"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_has_figures_in_place_of_their_names(self):
        self.assertEqual(self.fill("{{cpu a.x}} {{cpu b.x}} {{cpu small}} {{cpu word}}"), "8,450 6,500 1.2 yes")

    def test_reckons_from_left_to_right(self):
        self.assertEqual(self.fill("{{cpu a.x / b.x .2f}} {{cpu a.x - b.x / 1000 .1f}}"), "1.30 2.0")

    def test_shows_the_spread(self):
        self.assertEqual(self.fill("{{cpu a.x spread}}"), "8,431 to 8,466")

    def test_shows_the_spread_beside_the_median_where_there_were_several_runs(self):
        several = {"cpu": RUN | {"figures": RUN["figures"] | {"a.x.runs": 3}}}
        self.assertEqual(report.page("{{cpu a.x ranged}} {{cpu b.x ranged}} {{cpu a.x ranged .1f}}", several),
                         "8,450 (8,431 to 8,466) 6,500 8,450.2 (8,431.0 to 8,466.4)")

    def test_says_what_was_run_and_where(self):
        self.assertEqual(self.fill("{{cpu @machine}} {{cpu @command}}"), "M ./dev bench cpu")

    def test_says_of_a_run_how_busy_the_machine_was_before(self):
        self.assertEqual(self.fill("{{cpu @run}}"), "`./dev bench cpu`, 2026-01-31, revision abc; load before it: not noted")
        told = {"cpu": RUN | {"load_before": 0.125, "seconds": 1200}}
        self.assertEqual(report.page("{{cpu @run}}", told),
                         "`./dev bench cpu`, 2026-01-31, revision abc; load before it: 0.12; 1,200 s")

    def test_lacks_what_a_bench_does_not_write(self):
        template = "{{if cpu}}\n{{cpu a.x}} {{cpu gone}} {{memory x}} {{cpu a.x / gone}}\n{{end}}\n"
        self.assertEqual([fault.partition(":")[0] for fault in report.lacking(template, {"cpu": RUN})],
                         ["{{cpu gone}}", "{{cpu a.x / gone}}"])

    def test_shows_a_section_where_its_bench_was_run(self):
        template = "a\n{{if %s}}\nnew {{cpu b.x}}\n{{else}}\nold\n{{end}}\nz\n"
        self.assertEqual((self.fill(template % "cpu"), self.fill(template % "memory")), ("a\nnew 6,500\nz\n", "a\nold\nz\n"))

    def test_has_a_row_of_all_cases(self):
        cases = {"plan": {"figures": {"few.x": 1, "few.y": 2.5, "many.x": 1_000, "many.y": 4.0}}}
        self.assertEqual(report.page("| {{plan *.x}} |\n| {{plan *.x / *.y .1f}} |\n", cases), "| 1 | 1,000 |\n| 0.4 | 250.0 |\n")
        with self.assertRaises(report.Fault):
            report.page("{{plan *.z}}", cases)

    def test_is_a_part_of_a_page_that_has_its_marks(self):
        begin, end = report.MARKS[0].format("x.md.in"), report.MARKS[1]
        template = pathlib.Path("x.md.in")
        old = f"# A\n\n{begin}old\n{end}\nafter\n"
        new = report.placed("new\n", template, old)
        self.assertEqual(new, f"# A\n\n{begin}\nnew\n\n{end}\nafter\n")
        self.assertEqual(report.placed("new\n", template, new), new)
        for wrong in ("no marks\n", f"{begin}and no end\n", f"{end}too soon\n{begin}"):
            with self.subTest(wrong), self.assertRaises(report.Fault):
                report.placed("new\n", template, wrong)

    def test_is_not_made_without_each_figure(self):
        for wrong in ("{{cpu c.x}}", "{{memory a.x}}", "{{cpu a.x /}}", "{{cpu a.x ? b.x}}", "{{cpu @else}}", "{{cpu}}",
                      "{{cpu small spread}}", "{{cpu gone ranged}}"):
            with self.subTest(wrong), self.assertRaises(report.Fault):
                self.fill(wrong)

    def test_of_memory_is_what_the_readme_says(self):
        results = report.load(report.RESULTS)
        if "memory" not in results:
            self.skipTest("there are no results of ./dev bench memory")
        said = re.search(r"\[([\d.]+) KB for a TLS device\]\(\S+\) with a token .* ([\d.]+) KB with a client certificate",
                         (report.ROOT / "README.md").read_text())
        for auth, kilobytes in (("token", said[1]), ("cert", said[2])):
            measured = results["memory"]["figures"][f"gateway.{auth}.after_telemetry.rss_bytes"] / 1000
            self.assertAlmostEqual(measured, float(kilobytes), delta=0.2, msg=f"kilobytes for a device, {auth}, measured and in README.md")


class Results(unittest.TestCase):
    def refused(self, name: str, **changes) -> str:
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / name).write_text(json.dumps(
                {key: value for key, value in {**RUN, **changes}.items() if value is not None}))
            with self.assertRaises(report.Fault) as caught:
                report.load(pathlib.Path(folder))
            return str(caught.exception)

    def test_of_a_quick_run_are_refused(self):
        self.assertIn("--quick", self.refused("cpu.json", quick=True))

    def test_without_their_machine_are_refused(self):
        self.assertIn("machine missing", self.refused("cpu.json", machine=None))

    def test_under_another_name_are_refused(self):
        self.assertIn("is of cpu", self.refused("memory.json"))


class Programs(unittest.TestCase):
    """What a program prints is what its bench writes."""

    def run_program(self, script: str, *said: str) -> tuple[int, dict]:
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "program"
            program.write_text("#!/bin/sh\n" + script)
            program.chmod(0o755)
            done = subprocess.run([sys.executable, report.HERE / "figures.py", "x", program, *said], text=True,
                                  env=os.environ | {"BENCH_OUT": folder}, capture_output=True, check=False)
            written = pathlib.Path(folder) / "x.json"
            return done.returncode, json.loads(written.read_text()) if written.is_file() else {}

    def test_has_numbers_texts_and_the_spread_of_its_runs(self):
        count = 'n=$(($(cat "$0.n" 2>/dev/null || echo 0) + 1)); echo $n > "$0.n"; echo a.b_ms=$n.5; echo plan=id, walked 1; echo So be it\n'
        status, written = self.run_program(count, "--rounds", "3", "7")
        self.assertEqual(status, 0)
        self.assertEqual(written["figures"], {"a.b_ms": 2.5, "a.b_ms.min": 1.5, "a.b_ms.max": 3.5, "a.b_ms.runs": 3,
                                              "plan": "id, walked 1", "rounds": 3})
        self.assertEqual(written["command"], "./dev bench x --rounds 3 7")
        self.assertTrue({*report.HEAD, "load_before", "seconds"} <= written.keys())

    def test_is_told_to_be_quick_and_gets_the_options_that_are_its_own(self):
        _, written = self.run_program('echo said="$*"\n', "--quick", "7")
        self.assertEqual((written["figures"]["said"], written["quick"]), ("--quick 7", True))

    def test_has_no_results_when_it_fails(self):
        self.assertEqual(self.run_program("echo a=1; exit 3\n"), (1, {}))


class Instructions(unittest.TestCase):
    AGREED = {"single": 10_000, "record": 5_000}

    def test_pass_up_to_five_per_cent_and_below(self):
        self.assertEqual(instructions_bench.too_dear({"single": 10_500, "record": 100}, self.AGREED), [])

    def test_fail_above(self):
        wrong = instructions_bench.too_dear({"single": 10_501, "record": 5_000}, self.AGREED)
        self.assertEqual(wrong, ["single: 10,501, +5.0% of the 10,000 agreed on"])

    def test_fail_where_case_or_baseline_is_missing(self):
        self.assertEqual(len(instructions_bench.too_dear({"single": 1, "other": 1}, self.AGREED)), 2)


if __name__ == "__main__":
    unittest.main()
