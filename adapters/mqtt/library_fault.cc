// SPDX-License-Identifier: Apache-2.0
//
// Includes nothing that declares __assert_fail, which the C library says never to throw, nor what
// it has instead of read() where it checks the sizes of buffers.
#include "adapters/mqtt/library_fault.h"

#include <dlfcn.h>
#include <mosquitto.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace fieldgate::mqtt {
namespace {

struct LibraryFault {};

// Of the read_packets() of this thread: it is where the assertion can be left.
struct Reading {
  Intake* intake = nullptr;
  const void* tls = nullptr;  // its SSL; nullptr: without TLS
  bool too_large = false;
};
constinit thread_local Reading reading;

class Scope {
 public:
  Scope(Intake& intake, const void* tls) { reading = {&intake, tls, false}; }
  ~Scope() { reading = {}; }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
};

// The library asks for `size` more bytes. False: of a packet that is too large.
bool may_ask(std::size_t size) noexcept {
  Intake& intake = *reading.intake;
  if (size != intake.packet_left) intake.packet_bytes = intake.packet_left = size;
  if (size > intake.packet_bytes_max) reading.too_large = true;
  return !reading.too_large;
}

void got(ssize_t size) noexcept {
  if (size > 0) reading.intake->packet_left -= static_cast<std::size_t>(size);
}

template <typename Function>
Function next(const char* name) noexcept {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

Intaken read_packets(::mosquitto* mosq, Intake& intake, int& rc) {
  const Scope here(intake, mosquitto_ssl_get(mosq));
  try {
    rc = mosquitto_loop_read(mosq, 1);
    return reading.too_large ? Intaken::too_large : Intaken::all;
  } catch (const LibraryFault&) {
    return Intaken::unknown_property;
  }
}

}  // namespace fieldgate::mqtt

// In the places of the C library's and of OpenSSL's, for the whole process: what is not
// read_packets() goes on to theirs, or to a sanitizer's before them. Under TLS both see what the
// library reads: packets pass SSL_read(), and what OpenSSL takes off the socket read().
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" {

// Not noexcept: a thread can be cancelled within.
[[gnu::visibility("default"), gnu::used]] ssize_t fieldgate_read(int fd, void* to, std::size_t size) asm("read");
[[gnu::visibility("default"), gnu::used]] int fieldgate_tls_read(void* tls, void* to, int size) asm("SSL_read");

ssize_t fieldgate_read(int fd, void* to, std::size_t size) {
  using fieldgate::mqtt::reading;
  static const auto next = fieldgate::mqtt::next<ssize_t (*)(int, void*, std::size_t)>("read");
  if (reading.intake == nullptr) return next(fd, to, size);
  if (reading.tls == nullptr && !fieldgate::mqtt::may_ask(size)) {
    errno = EMSGSIZE;
    return -1;
  }
  std::size_t& left = reading.intake->bytes_left;
  if (left == 0) {
    errno = EAGAIN;
    return -1;
  }
  const ssize_t taken = next(fd, to, std::min(size, left));
  if (taken > 0) left -= static_cast<std::size_t>(taken);
  if (reading.tls == nullptr) fieldgate::mqtt::got(taken);
  return taken;
}

int fieldgate_tls_read(void* tls, void* to, int size) {
  using fieldgate::mqtt::reading;
  static const auto next = fieldgate::mqtt::next<int (*)(void*, void*, int)>("SSL_read");
  if (reading.tls != tls) return next(tls, to, size);
  if (!fieldgate::mqtt::may_ask(static_cast<std::size_t>(size))) return -1;
  const int taken = next(tls, to, size);
  fieldgate::mqtt::got(taken);
  return taken;
}

// For every assertion of the process. The library's frames have unwind tables, as all code for
// these platforms has, and nothing is locked where this happens.
[[noreturn, gnu::visibility("default")]] void __assert_fail(const char* expression, const char* file, unsigned line,
                                                            const char* function) {
  if (fieldgate::mqtt::reading.intake != nullptr && std::string_view(file).ends_with("logging_mosq.c")) {
    throw fieldgate::mqtt::LibraryFault{};
  }
  std::fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function, expression);
  std::abort();
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
