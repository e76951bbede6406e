// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a device's message: the decoder never crashes, and what it takes
// means the same to protobuf's own classes.
#include "adapters/wire/protobuf_wire.h"
#include "tests/support/wire_oracle.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fieldgate::wire::ProtobufWire wire{fieldgate::LimitSettings{}};
  static const auto decoder = wire.make_decoder();
  const std::string problem =
      fieldgate::verdict_problem(*decoder, std::as_bytes(std::span(data, size)), 1'700'000'000'000);
  if (!problem.empty()) {
    std::fprintf(stderr, "%s\n", problem.c_str());
    std::abort();
  }
  return 0;
}
