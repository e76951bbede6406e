// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstdint>
#include <string>

namespace fieldgate {

// What a device says of itself, and what it is wished to become: two JSON objects
// (RFC 8259), each with a version that rises by one with every change.
struct Twin {
  DeviceId device;
  std::string reported_json = "{}";
  std::uint64_t reported_version = 0;  // 0: never reported
  std::int64_t reported_unix_ms = 0;
  // The record that the reported document was last changed by: a repetition of it,
  // or of one before it, changes nothing.
  StreamId reported_stream{};
  Seq reported_seq{};
  Epoch reported_epoch{};  // of the connection that brought it; 0: not known
  std::string desired_json = "{}";
  std::uint64_t desired_version = 0;  // 0: nothing was ever wished for
  std::int64_t desired_unix_ms = 0;
  // The device's word on the desired document: through which version it has it, and
  // what it found wrong with that one (empty: applied).
  std::uint64_t acknowledged_version = 0;
  std::string acknowledged_error{};
  std::int64_t acknowledged_unix_ms = 0;
};

}  // namespace fieldgate
