// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/dead_letter_query.h"

#include "gateway/core/ids.h"

#include <array>
#include <charconv>

namespace fieldgate::http {
namespace {

constexpr std::array<std::string_view, 4> k_names = {"lane", "device", "limit", "cursor"};

// Another query's cursors are not good here, those of the devices' list included.
std::uint64_t fingerprint(const DeadLetterQuery& query) {
  return stable_hash("dead-letters\n" + query.lane + '\n' + query.device);
}

}  // namespace

std::span<const std::string_view> dead_letter_parameters() noexcept { return k_names; }

std::variant<DeadLetterRequest, ParameterFault> read_dead_letter_request(const Target& target, const CursorSeal& seal,
                                                                         bool filtered) {
  if (auto fault = refuse_unknown(target, k_names)) return std::move(*fault);
  if (auto fault = refuse_repeated(target)) return std::move(*fault);
  DeadLetterRequest request;
  DeadLetterQuery& query = request.query;
  const std::string* cursor = nullptr;
  for (const auto& [name, value] : target.parameters) {
    if (name == "limit") {
      if (auto fault = read_limit(value, k_dead_letters_max, query.limit)) return std::move(*fault);
    } else if (name == "cursor") {
      cursor = &value;
    } else {
      if (!is_valid_name(value)) return invalid_parameter(name, "want the whole name of one");
      (name == "lane" ? query.lane : query.device) = value;
    }
  }
  if (filtered && query.lane.empty() && query.device.empty()) {
    return ParameterFault{Problem::missing_parameter, "lane", "say which: lane=NAME, device=ID, or both"};
  }
  if (cursor != nullptr) {
    auto position = read_cursor(*cursor, fingerprint(query), seal);
    if (auto* fault = std::get_if<ParameterFault>(&position)) return std::move(*fault);
    query.after = read_dead_letter_id(std::get<CursorPosition>(position).id).value_or(0);
    request.begun_unix_ms = std::get<CursorPosition>(position).key;
  }
  return request;
}

std::string dead_letter_cursor(const DeadLetterRequest& request, std::uint64_t after, const CursorSeal& seal) {
  return seal.seal({request.begun_unix_ms, std::to_string(after)}, fingerprint(request.query));
}

std::optional<std::uint64_t> read_dead_letter_id(std::string_view text) noexcept {
  std::uint64_t id = 0;
  const auto [at, ec] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (ec != std::errc() || at != text.data() + text.size() || id == 0 || text.starts_with('0')) return std::nullopt;
  return id;
}

}  // namespace fieldgate::http
