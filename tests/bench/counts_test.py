#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the benches read out of valgrind's files."""

import unittest

from counted import Profile, Thread
from figures import Figures
from heap import by_owner
from instructions_bench import too_dear
from memory_bench import GOAL_BYTES, verdict

PROFILE = """\
events: Ir
fl=(1) a.cc
fn=(1) loop()
10 100
cfn=(2) serve()
calls=3 20
11 600
fn=(2)
20 150
cfn=(3) decode()
calls=3 30
+2 400
cfn=(2)
calls=1 20
* 50
fn=(3)
30 400
totals: 1050
"""

ALLOCATING = """\
events: Ir
fn=(1) fieldgate::take()
cfn=(2) operator new(unsigned long)
calls=3 20
11 60
cfn=(3) mosquitto_publish_v5
calls=2 40
12 200
fn=(2)
cfn=(4) malloc
calls=3 30
20 50
fn=(3)
cfn=(5) calloc
calls=4 30
30 100
cfn=(3)
calls=1 40
31 10
fn=(5)
cfn=(4)
calls=4 30
40 80
totals: 260
"""

HEAP = """\
mem_heap_B=900
mem_heap_extra_B=40
n2: 900 (heap allocation functions) malloc/new/new[], --alloc-fns, etc.
 n2: 600 0x1: CRYPTO_zalloc (in /usr/lib/x86_64-linux-gnu/libcrypto.so.3)
  n0: 400 0x2: fieldgate::TlsChannel::TlsChannel() (tls_channel.cc:1)
  n0: 200 0x3: main (main.cc:1)
 n1: 300 0x4: fieldgate::LastValues::add() (last_values.cc:1)
  n0: 300 0x5: fieldgate::net::DeviceSession::on_message() (device_session.cc:1)
"""


STORES = """\
mem_heap_extra_B=0
n3: 900 (heap allocation functions) malloc/new/new[], --alloc-fns, etc.
 n1: 500 0x1: sqlite3Malloc (in /usr/lib/x86_64-linux-gnu/libsqlite3.so.0.8.6)
  n0: 500 0x2: fieldgate::control::RegistryDesk::put(fieldgate::DeviceId const&) (registry_edit.cc:1)
 n1: 300 0x3: _M_insert_unique<const fieldgate::DeviceEntry&> (stl_tree.h:1)
  n0: 300 0x4: fieldgate::control::RegistryView::add(fieldgate::DeviceEntry const&) (registry_view.cc:1)
 n0: 100 0x5: fieldgate::control::CommandBook::make_line(fieldgate::DeviceId const&) (command_book.cc:1)
"""


class Counts(unittest.TestCase):
    def test_hold_what_a_function_costs_with_all_it_calls_once(self):
        thread = Thread(PROFILE)
        self.assertEqual((thread.total, thread.inclusive("^serve"), thread.inclusive("^decode")), (1050, 600, 400))
        self.assertEqual(thread.own, {"loop()": 100, "serve()": 150, "decode()": 400})

    def test_hold_what_the_heap_is_asked_for_once(self):
        self.assertEqual(Thread(ALLOCATING).allocations(), 3 + 4)

    def test_tell_what_a_library_costs_those_who_call_it(self):
        thread = Thread(ALLOCATING)
        self.assertEqual((thread.across("^fieldgate::", "^mosquitto_"), thread.entered("^mosquitto_publish")), (200, 3))

    def test_know_the_thread_that_does_a_thing(self):
        idle, busy = Thread("totals: 5000\n"), Thread(PROFILE)
        self.assertIs(Profile([idle, busy]).thread("^decode"), busy)


class Check(unittest.TestCase):
    def test_fails_above_a_twentieth_and_only_there(self):
        self.assertEqual(too_dear({"a": 105, "b": 50}, {"a": 100, "b": 100}), [])
        self.assertEqual(too_dear({"a": 106}, {"a": 100}), ["a: 106, +6.0% of the 100 agreed on"])

    def test_fails_for_the_first_where_none_was_agreed_on(self):
        self.assertEqual(len(too_dear({"a": 1}, {"a": 0})), 1)

    def test_lets_pass_what_few_allocations_are_by_chance(self):
        self.assertEqual(too_dear({"a.allocations": 0.024}, {"a.allocations": 0.02}), [])
        self.assertEqual(len(too_dear({"a.allocations": 0.07}, {"a.allocations": 0.02})), 1)

    def test_fails_for_what_is_new_and_for_what_is_gone(self):
        self.assertEqual(len(too_dear({"new": 1}, {"gone": 1})), 2)


class Heap(unittest.TestCase):
    def test_belongs_to_the_first_owner_that_its_stack_names(self):
        owned = by_owner(HEAP)
        self.assertEqual({name: size for name, size in owned.items() if size},
                         {"openssl": 600, "last_values": 300, "overhead": 40})

    def test_tells_what_is_kept_of_every_device_from_the_stores_cache_and_from_what_connections_need(self):
        owned = by_owner(STORES)
        self.assertEqual({name: size for name, size in owned.items() if size}, {"store": 500, "registry": 300, "control": 100})


class Goal(unittest.TestCase):
    def test_of_memory_is_met_where_each_round_meets_it(self):
        for seen, words in (([GOAL_BYTES, GOAL_BYTES - 20], "met"), ([GOAL_BYTES + 1, GOAL_BYTES + 9], "not met"),
                            ([GOAL_BYTES - 1, GOAL_BYTES + 1], "met in some of the rounds and not in others")):
            with self.subTest(seen):
                self.assertEqual(verdict(seen), words)


class Spread(unittest.TestCase):
    def test_comes_with_the_median_of_several_runs(self):
        figures = Figures("x")
        for value in (3.0, 1.0, 2.0):
            figures.add("a.b", value)
        figures.add("c", 7)
        self.assertEqual(figures.flat(), {"a.b": 2.0, "a.b.min": 1.0, "a.b.max": 3.0, "a.b.runs": 3, "c": 7})

    def test_keys_are_of_one_form(self):
        with self.assertRaises(ValueError):
            Figures("x").add("A b", 1)


if __name__ == "__main__":
    unittest.main()
