#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of check.py, each against what it must report and what it must let pass."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check

CPP = "// SPDX-License-Identifier: Apache-2.0\n"
HEADER = CPP + "#pragma once\n"


def reported(path: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.rule) for finding in check.findings_of(path, text)]


class Includes(unittest.TestCase):
    def bad(self, path: str, target: str) -> None:
        self.assertEqual(reported(path, CPP + "\n#include " + target + "\n"), [(3, "include")], f"{path} {target}")

    def good(self, path: str, target: str) -> None:
        self.assertEqual(reported(path, CPP + "\n#include " + target + "\n"), [], f"{path} {target}")

    def test_reports_every_arrow_that_points_the_wrong_way(self):
        self.bad("gateway/core/ids.cc", '"gateway/ports/wire.h"')
        self.bad("gateway/ports/names.cc", '"gateway/net/session.h"')
        self.bad("gateway/net/session.cc", '"gateway/uplink/uplink_log.h"')
        self.bad("gateway/net/session.cc", '"gateway/config/bind.h"')
        self.bad("gateway/net/session.cc", '"adapters/wire/codec.h"')
        self.bad("gateway/net/session.cc", '"fieldgate/v1/device.pb.h"')
        self.bad("gateway/uplink/uplink_log.cc", '"gateway/net/shard.h"')
        self.bad("gateway/config/bind.cc", '"gateway/ports/log.h"')
        self.bad("adapters/mqtt/lane.cc", '"gateway/net/shard.h"')
        self.bad("adapters/mqtt/lane.cc", '"gateway/uplink/uplink_log.h"')
        self.bad("adapters/mqtt/lane.cc", '"adapters/wire/codec.h"')
        self.bad("adapters/http/api.cc", '"gateway/config/bind.h"')
        self.bad("adapters/http/api.cc", '"fieldgate/v1/device.pb.h"')
        self.bad("gateway/serve.cc", '"tests/support/fake_clock.h"')

    def test_reports_a_folder_without_a_rule(self):
        self.assertEqual(reported("gateway/new/x.cc", CPP), [(1, "include")])

    def test_reports_a_path_that_does_not_start_at_the_root(self):
        self.bad("gateway/net/session.cc", '"session.h"')
        self.bad("gateway/net/session.cc", "<gateway/net/session.h>")

    def test_reports_a_library_in_core(self):
        self.bad("gateway/core/ids.cc", "<boost/asio.hpp>")
        self.good("gateway/core/ids.cc", "<boost/system/result.hpp>")
        self.good("gateway/core/ids.cc", "<string>")

    def test_lets_the_right_direction_pass(self):
        self.good("gateway/core/ids.cc", '"gateway/core/ids.h"')
        self.good("gateway/net/session.cc", '"gateway/ports/uplink.h"')
        self.good("gateway/net/session.cc", '"gateway/net/session.h"')
        self.good("adapters/wire/codec.cc", '"fieldgate/v1/device.pb.h"')
        self.good("adapters/wire/codec.cc", '"adapters/wire/codec.h"')
        self.good("adapters/yaml/load.cc", '"gateway/config/bind.h"')
        self.good("gateway/serve.cc", '"adapters/mqtt/lane.h"')
        self.good("gateway/cli/serve.cc", '"gateway/net/shard.h"')
        self.good("tests/unit/net/session_test.cc", '"tests/support/fake_clock.h"')
        self.good("gateway/net/session.cc", "<boost/asio/io_context.hpp>")


class Lambdas(unittest.TestCase):
    def lines(self, body: str) -> list[int]:
        found = reported("gateway/net/x.cc", CPP + body)
        self.assertTrue(all(rule == "co_await-capture" for _, rule in found), found)
        return [line for line, _ in found]

    def test_reports_a_capture_anywhere_in_the_expression(self):
        self.assertEqual(self.lines("co_await [p]() -> awaitable<void> { co_return; }();\n"), [2])
        self.assertEqual(self.lines("auto x = co_await run(a,\n    [this] { return 1; });\n"), [3])
        self.assertEqual(self.lines("co_spawn(co_await this_coro::executor, [p] { f(p); }, g);\n"), [2])
        self.assertEqual(self.lines("if (co_await any([&](int i) { return i; })) {\n}\n"), [2])
        self.assertEqual(self.lines("co_await f([](int i) { g(); h(); return i; }, [=] { return 0; });\n"), [2])

    def test_lets_the_harmless_pass(self):
        self.assertEqual(self.lines("co_await f([](int i) { return i; });\n"), [])
        self.assertEqual(self.lines("auto named = [p] { f(p); };\nco_await run(named);\n"), [])
        self.assertEqual(self.lines("co_await read(buffers[i], table()[j]);\n"), [])
        self.assertEqual(self.lines("if (co_await ready()) {\n  auto f = [this] { g(); };\n}\n"), [])
        self.assertEqual(self.lines("co_await a();\nrun([this] { g(); });\n"), [])
        self.assertEqual(self.lines("// co_await [p] {}\n"), [])
        self.assertEqual(self.lines("auto [code, size] = co_await read();\n"), [])


class Banned(unittest.TestCase):
    def test_reports_constructs_with_their_line(self):
        for path, body, rule in [
            ("gateway/net/x.cc", "co_spawn(context, loop(), asio::detached);", "detached"),
            ("gateway/net/x.cc", "using boost::asio::detached;", "detached"),
            ("adapters/mqtt/x.cc", "std::thread(f).detach();", "thread-detach"),
            ("adapters/mqtt/x.cc", "worker_->detach ( );", "thread-detach"),
            ("adapters/mqtt/x.h", "std::mutex mutex_;", "std-mutex"),
            ("adapters/mqtt/x.cc", "std::lock_guard lock(m);", "std-mutex"),
            ("adapters/mqtt/x.cc", "std::shared_mutex m;", "std-mutex"),
            ("tests/unit/net/x_test.cc", "std::this_thread::sleep_for(1ms);", "sleep"),
            ("gateway/net/x.cc", "// TO" + "DO later", "unfinished"),
            ("proto/fieldgate/v1/x.proto", "// FIX" + "ME", "unfinished"),
        ]:
            self.assertEqual(reported(path, HEADER + "\n" + body + "\n"), [(4, rule)], body)

    def test_lets_the_allowed_pass(self):
        for path, body in [
            ("gateway/core/mutex.h", "std::mutex mutex_;"),
            ("gateway/net/x.cc", 'log.info("asio::detached std::mutex");'),
            ("gateway/net/x.cc", "/* asio::detached\n std::mutex */"),
            ("gateway/net/x.cc", "char c = '\"'; int n = 1'000; // std::mutex\nchar d = '\"';"),
            ("gateway/net/x.cc", 'auto s = R"(std::mutex " \n asio::detached)";'),
            ("gateway/net/x.cc", "bool detached_session = false;"),
            ("tests/integration/mqtt/x_test.cc", "std::this_thread::sleep_for(1ms);"),
        ]:
            self.assertEqual(reported(path, HEADER + body + "\n"), [], body)


class Files(unittest.TestCase):
    def test_reports_a_missing_licence_line(self):
        self.assertEqual(reported("gateway/net/x.cc", "int x;\n"), [(1, "licence")])
        self.assertEqual(reported("tests/sim/x.py", "#!/usr/bin/python3\nimport os\n"), [(1, "licence")])
        self.assertEqual(reported("dev", "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n"), [])
        self.assertEqual(reported("docs/x.md", "text\n"), [])

    def test_reports_a_header_without_pragma_once(self):
        self.assertEqual(reported("gateway/net/x.h", CPP + "int x;\n"), [(1, "pragma-once")])

    def test_reports_the_first_line_that_is_too_many(self):
        self.assertEqual(reported("gateway/net/x.cc", CPP + "\n" * 499), [])
        self.assertEqual(reported("gateway/net/x.cc", CPP + "\n" * 500), [(501, "size")])

    def test_reports_names_that_name_nothing(self):
        for path in ["gateway/util/x.cc", "gateway/net/utils.cc", "adapters/http/string_util.h"]:
            self.assertIn((1, "util"), reported(path, HEADER), path)
        self.assertEqual(reported("gateway/net/utility_meter.cc", CPP), [])

    def test_reports_an_unknown_top_level_entry(self):
        self.assertEqual(reported("notes.txt", ""), [(1, "top-level")])
        self.assertEqual(reported("README.md", ""), [])

    def test_reports_a_link_to_nowhere(self):
        self.assertEqual(reported("docs/x.md", "\n[a](nowhere.md) [b](https://example.org)\n"), [(2, "link")])

    def test_reports_a_link_to_a_heading_that_is_not_there(self):
        page = "# A\n\n## It's `b.c`, d_e\n\n## Twice\n\n## Twice\n\n```sh\n# no heading\n```\n"
        self.assertEqual(reported("docs/x.md", page + "[](#its-bc-d_e) [](#twice) [](#twice-1)\n"), [])
        self.assertEqual(reported("docs/x.md", page + "[](#twice-2)\n[](#no-heading)\n"), [(12, "link"), (13, "link")])
        with tempfile.TemporaryDirectory() as work:
            root = pathlib.Path(work)
            (root / "docs").mkdir()
            (root / "docs/y.md").write_text("# Here\n")
            (root / "docs/script").write_text("# Here\n")
            found = check.findings_of("docs/x.md", "[](y.md#nowhere)\n[](y.md#here)\n[](script#nowhere)\n", root)
        self.assertEqual([(finding.line, finding.rule) for finding in found], [(1, "link")])

    def test_reports_a_test_that_no_target_takes_up(self):
        with tempfile.TemporaryDirectory() as work:
            root = pathlib.Path(work)
            (root / "tests").mkdir()
            (root / "tests/drain_test.cc").write_text(CPP)

            def found():
                return [finding.rule for finding in check.findings_of("tests/drain_test.cc", CPP, root)]
            self.assertEqual(found(), ["built"])
            glob, use = "file(GLOB sources CONFIGURE_DEPENDS *_test.cc)\n", "fieldgate_test(x SOURCES ${sources} LINK y)"
            alone = "set(alone other_test.cc\n    drain_test.cc)\n"
            for lists, rules in (("fieldgate_test(x SOURCES drain_test.cc LINK y)", []),
                                 ("fieldgate_test(x SOURCES other_drain_test.cc)", ["built"]),
                                 ("# fieldgate_test(x SOURCES drain_test.cc)", ["built"]),
                                 ("set_source_files_properties(drain_test.cc PROPERTIES COMPILE_OPTIONS -O0)", ["built"]),
                                 (f"{glob}{use}", []),
                                 (glob, ["built"]),
                                 (f"file(GLOB sources CONFIGURE_DEPENDS *.cc)\n{use}", ["built"]),
                                 (f"{glob}list(REMOVE_ITEM sources other_test.cc) # drain_test.cc\n{use}", []),
                                 (f"{glob}list(REMOVE_ITEM sources drain_test.cc)\n{use}", ["built"]),
                                 (f"{glob}list(REMOVE_ITEM sources drain_test.cc)\n{use}\nadd_executable(y drain_test.cc)", []),
                                 (f"{alone}{glob}list(REMOVE_ITEM sources ${{alone}})\n{use}", ["built"]),
                                 (f"{alone}fieldgate_test(y SOURCES ${{alone}})\n{glob}list(REMOVE_ITEM sources ${{alone}})\n{use}", [])):
                (root / "tests/CMakeLists.txt").write_text(lists)
                self.assertEqual(found(), rules, lists)


class WholeTree(unittest.TestCase):
    def test_exits_with_file_and_line_of_a_broken_rule(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "gateway/core").mkdir(parents=True)
            for i in range(60):
                (root / f"gateway/core/good_{i}.cc").write_text(CPP)
            command = [sys.executable, check.__file__, folder]
            clean = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual((clean.returncode, clean.stdout), (0, "60 files, 0 rules broken\n"))
            (root / "gateway/core/bad.cc").write_text(CPP + '#include "gateway/net/shard.h"\n')
            broken = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(broken.returncode, 1)
            self.assertIn("gateway/core/bad.cc:2: include: ", broken.stdout)

    def test_an_almost_empty_tree_is_not_a_clean_one(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(subprocess.run([sys.executable, check.__file__, folder], capture_output=True).returncode, 1)


if __name__ == "__main__":
    unittest.main()
