// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/parameters.h"
#include "gateway/ports/dead_letters.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace fieldgate::http {

inline constexpr std::size_t k_dead_letters_max = 500;  // on a page, or done by one call

// The parameters of everything that concerns several dead letters.
std::span<const std::string_view> dead_letter_parameters() noexcept;

struct DeadLetterRequest {
  DeadLetterQuery query;
  std::int64_t begun_unix_ms = 0;  // of its cursor, which says when the first of a row of requests came; 0: none
};

// Reads them; the first fault ends it. `filtered`: a lane or a device must be named.
std::variant<DeadLetterRequest, ParameterFault> read_dead_letter_request(const Target& target, const CursorSeal& seal,
                                                                         bool filtered);

// The cursor that goes on after id `after` in the same query.
std::string dead_letter_cursor(const DeadLetterRequest& request, std::uint64_t after, const CursorSeal& seal);

// A dead letter's id, in decimal; nullopt for anything else.
std::optional<std::uint64_t> read_dead_letter_id(std::string_view text) noexcept;

}  // namespace fieldgate::http
