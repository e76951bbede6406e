// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/record.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/spool.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// How the spool's values are written: little-endian, without padding. A change
// that older programs cannot read raises k_format_version.
namespace fieldgate::spool {

inline constexpr std::uint32_t k_format_version = 1;

using Bytes = std::span<const std::byte>;

// A block: a header of k_block_header_bytes (checksum over all that follows it,
// version, number of records, shard, boot id, first position), then the records.
inline constexpr std::size_t k_block_header_bytes = 32;
std::size_t encoded_bytes(const RecordBlock& block) noexcept;
// Precondition: out has encoded_bytes(block).
void encode_block(const RecordBlock& block, std::uint64_t boot, std::span<std::byte> out) noexcept;
// `last`: the key it stood under. Session and shard are those it was written with
// if that was in this `boot`; else shard 0 and nobody who waits.
// Errors: Errc::malformed: not what was written.
Result<std::shared_ptr<RecordBlock>> decode_block(Bytes bytes, LogPosition last, std::uint64_t boot);
// From the header alone, unchecked; nothing if there is no whole header.
LogPosition first_position_of(Bytes bytes) noexcept;

std::string encode_lanes(const std::vector<SavedLane>& lanes);
Result<std::vector<SavedLane>> decode_lanes(Bytes bytes);

std::string encode_device(const DeviceMarks& marks);  // without the id, which is the key
Result<DeviceMarks> decode_device(std::string_view id, Bytes bytes);

std::string encode_letter(const DeadLetter& letter);  // without the id, which is the key
Result<DeadLetter> decode_letter(std::uint64_t id, Bytes bytes);

std::string encode_number(std::uint64_t number);
Result<std::uint64_t> decode_number(Bytes bytes);

}  // namespace fieldgate::spool
