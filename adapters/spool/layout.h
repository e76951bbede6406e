// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <lmdb.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

// Where things stand in the spool's LMDB file.
namespace fieldgate::spool {

inline constexpr unsigned k_tables = 4;
inline constexpr const char* k_blocks_table = "blocks";         // last position -> block
inline constexpr const char* k_devices_table = "devices";       // id -> marks
inline constexpr const char* k_letters_table = "dead_letters";  // id -> dead letter
inline constexpr const char* k_meta_table = "meta";             // the names below -> value

inline constexpr std::string_view k_meta_format = "format";            // k_format_name, then the version
inline constexpr std::string_view k_meta_next = "next";                // where the log is empty: its next position
inline constexpr std::string_view k_meta_next_letter = "next_letter";  // above every id ever given and durable
inline constexpr std::string_view k_meta_lanes = "lanes";
inline constexpr std::string_view k_meta_checkpoint = "checkpoint";
inline constexpr std::string_view k_format_name = "fieldgate-spool";

inline MDB_val value_of(std::string_view text) noexcept { return {text.size(), const_cast<char*>(text.data())}; }
inline MDB_val value_of(const std::uint64_t& number) noexcept {
  return {sizeof number, const_cast<std::uint64_t*>(&number)};
}
inline std::string_view text_of(const MDB_val& value) noexcept {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}
inline std::span<const std::byte> bytes_of(const MDB_val& value) noexcept {
  return {static_cast<const std::byte*>(value.mv_data), value.mv_size};
}

}  // namespace fieldgate::spool
