// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/dead_letters.h"
#include "gateway/ports/lane.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The JSON documents about lanes and dead letters; openapi.json has their schemas.
namespace fieldgate::http {

// `kept`: of all lanes, those without any may be absent.
std::string lanes_json(const std::vector<LaneStatus>& lanes, const std::vector<DeadLetterUsage>& kept);
std::string lane_json(const LaneStatus& lane, const std::vector<DeadLetterUsage>& kept);

// Without the payloads.
std::string dead_letters_json(const DeadLetterPage& page, const std::optional<std::string>& next_cursor);
// With it, in base64.
std::string dead_letter_json(const DeadLetter& letter);

// What was done to dead letters, whether some are left, and the type of the problem
// that stopped it early; empty: none did.
std::string done_json(std::size_t done, const std::optional<std::string>& next_cursor, std::string_view stopped);

}  // namespace fieldgate::http
