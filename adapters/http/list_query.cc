// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/list_query.h"

#include <algorithm>
#include <array>

namespace fieldgate::http {
namespace {

constexpr std::array<std::string_view, 9> k_names = {"online", "label", "firmware", "inactive", "prefix",
                                                     "sort",   "limit", "cursor",   "count"};
constexpr std::size_t k_labels_max = 16;
constexpr std::size_t k_label_key_bytes_max = 64;
constexpr std::size_t k_text_bytes_max = 256;

using Fault = std::optional<ParameterFault>;

Fault read_bool(std::string_view name, const std::string& value, std::optional<bool>& out) {
  if (value != "true" && value != "false") return invalid_parameter(name, "want true or false");
  out = value == "true";
  return {};
}

Fault read_label(const std::string& value, FleetQuery& query) {
  const std::size_t equals = std::min(value.find('='), value.size());
  if (equals == 0 || equals > k_label_key_bytes_max || value.size() - equals > k_text_bytes_max + 1) {
    return invalid_parameter("label", "want KEY or KEY=VALUE, with a key of 1 to 64 bytes and a value of at most 256");
  }
  if (query.labels.size() == k_labels_max) return invalid_parameter("label", "at most 16 of them");
  FleetQuery::LabelIs label{value.substr(0, equals), std::nullopt};
  if (equals < value.size()) label.value = value.substr(equals + 1);
  query.labels.push_back(std::move(label));
  return {};
}

Fault read_sort(std::string_view value, FleetQuery& query) {
  query.descending = value.starts_with('-');
  if (query.descending) value.remove_prefix(1);
  if (value == "id") {
    query.sort = FleetSort::id;
  } else if (value == "last_seen") {
    query.sort = FleetSort::last_seen;
  } else if (value == "since") {
    query.sort = FleetSort::since;
  } else {
    return invalid_parameter("sort", "want id, last_seen or since, or one of them after a '-' for descending order");
  }
  return {};
}

Fault read_one(const std::string& name, const std::string& value, FleetQuery& query) {
  if (name == "label") return read_label(value, query);
  if (name == "online") return read_bool(name, value, query.online);
  if (name == "inactive") return read_bool(name, value, query.inactive);
  if (name == "sort") return read_sort(value, query);
  if (name == "limit") return read_limit(value, FleetQuery::k_limit_max, query.limit);
  if (name == "count") {
    std::optional<bool> count;
    Fault fault = read_bool(name, value, count);
    query.count = count.value_or(false);
    return fault;
  }
  if (name == "firmware") {
    if (value.empty() || value.size() > k_text_bytes_max) return invalid_parameter(name, "want 1 to 256 bytes");
    query.firmware = value;
  }
  if (name == "prefix") {
    if (!is_valid_name(value)) return invalid_parameter(name, "want the beginning of a device id");
    query.id_prefix = value;
  }
  return {};
}

}  // namespace

std::span<const std::string_view> list_parameters() noexcept { return k_names; }

std::variant<FleetQuery, ParameterFault> read_list_query(const Target& target, const CursorSeal& seal) {
  if (Fault fault = refuse_unknown(target, k_names)) return std::move(*fault);
  if (Fault fault = refuse_repeated(target, "label")) return std::move(*fault);
  FleetQuery query;
  const std::string* cursor = nullptr;
  for (const auto& [name, value] : target.parameters) {
    if (name == "cursor") cursor = &value;
    if (Fault fault = read_one(name, value, query)) return std::move(*fault);
  }
  if (cursor != nullptr) {
    auto position = read_cursor(*cursor, query.fingerprint(), seal);
    if (auto* fault = std::get_if<ParameterFault>(&position)) return std::move(*fault);
    query.after = std::move(std::get<CursorPosition>(position));
  }
  return query;
}

}  // namespace fieldgate::http
