// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/command.h"
#include "gateway/core/device_entry.h"
#include "gateway/core/error.h"
#include "gateway/core/timeline.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// How what has no column type of its own is written into one.
namespace fieldgate::store {

// Text for people as every engine takes it: what is not UTF-8 in it, and zero bytes, are
// replaced by U+FFFD. A device's text must not be able to hold up what comes after it.
std::string clean_text(std::string_view text);

// For texts that things are known by: Errc::invalid_argument where clean_text() would
// have to change something. `what` is for the error.
Result<std::string_view> key_text(std::string_view text, std::string_view what);

// JSON objects, in the order given.
std::string encode_pairs(const std::vector<std::pair<std::string, std::string>>& pairs);
// Errc::malformed.
Result<std::vector<std::pair<std::string, std::string>>> decode_pairs(std::string_view json);

std::string encode_steps(const std::vector<CommandStep>& steps);
Result<std::vector<CommandStep>> decode_steps(std::string_view json);

// The names that to_string() gives. Errc::malformed: no such.
Result<CommandState> decode_state(std::string_view name);
Result<CredentialKind> decode_credential_kind(std::string_view name);
Result<TimelineKind> decode_timeline_kind(std::string_view name);
Result<DeviceId> decode_device(std::string_view id);

inline std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string as_string(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace fieldgate::store
