// SPDX-License-Identifier: Apache-2.0
//
// Includes nothing that declares __assert_fail, which the C library says never to throw.
#include "adapters/mqtt/library_fault.h"

#include <mosquitto.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace fieldgate::mqtt {
namespace {

struct LibraryFault {};

// Of this thread: it is where the assertion can be left.
thread_local bool reading = false;

class Reading {
 public:
  Reading() { reading = true; }
  ~Reading() { reading = false; }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
};

}  // namespace

bool read_packets(::mosquitto* mosq, int& rc) {
  const Reading here;
  try {
    rc = mosquitto_loop_read(mosq, 1);
    return true;
  } catch (const LibraryFault&) {
    return false;
  }
}

}  // namespace fieldgate::mqtt

// In the C library's place, for every assertion of the process. The library's frames have
// unwind tables, as all code for these platforms has, and nothing is locked where this happens.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" [[noreturn, gnu::visibility("default")]] void __assert_fail(const char* expression, const char* file,
                                                                       unsigned line, const char* function) {
  if (fieldgate::mqtt::reading && std::string_view(file).ends_with("logging_mosq.c")) {
    throw fieldgate::mqtt::LibraryFault{};
  }
  std::fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function, expression);
  std::abort();
}
