// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace fieldgate {

inline constexpr std::size_t k_name_bytes_max = 128;

// True if `text` matches ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$: the form of device
// ids, event names, schema ids, command names and node names. Such a name is a
// valid MQTT topic level and URL path segment without escaping.
bool is_valid_name(std::string_view text) noexcept;

// A device's id, always in valid form.
class DeviceId {
 public:
  // Errors: Errc::invalid_argument if `text` has not the form of is_valid_name.
  static Result<DeviceId> parse(std::string_view text);

  const std::string& str() const noexcept { return value_; }
  operator std::string_view() const noexcept { return value_; }  // NOLINT(google-explicit-constructor)

  friend bool operator==(const DeviceId&, const DeviceId&) = default;
  friend auto operator<=>(const DeviceId&, const DeviceId&) = default;

 private:
  explicit DeviceId(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

// A number of its own type.
template <class Tag>
struct StrongU64 {
  std::uint64_t value = 0;
  friend bool operator==(StrongU64, StrongU64) = default;
  friend auto operator<=>(StrongU64, StrongU64) = default;
};

// One sequence counter of a device's send buffer; non-zero for data frames.
using StreamId = StrongU64<struct StreamTag>;
// Position in a stream, from 1.
using Seq = StrongU64<struct SeqTag>;
// One accepted connection of a device; rises with every one, below 2^53.
using Epoch = StrongU64<struct EpochTag>;
// Position in the uplink log, from 1, without holes.
using LogPosition = StrongU64<struct LogPositionTag>;

inline constexpr std::uint64_t k_epoch_max = (std::uint64_t{1} << 53) - 1;

// Stable across processes and releases (FNV-1a, 64 bit): a device keeps its
// partition and, for a given number of shards, its home shard.
std::uint64_t stable_hash(std::string_view text) noexcept;

// The index, of `shards`, of the one that decides who owns the device.
inline std::size_t home_shard(std::string_view device, std::size_t shards) noexcept {
  return stable_hash(device) % shards;
}

}  // namespace fieldgate

template <>
struct std::hash<fieldgate::DeviceId> {
  std::size_t operator()(const fieldgate::DeviceId& id) const noexcept { return fieldgate::stable_hash(id.str()); }
};
