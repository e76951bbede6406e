// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/list_query.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <vector>

namespace fieldgate::http {
namespace {

constexpr std::array<std::string_view, 9> k_names = {"online", "label", "firmware", "inactive", "prefix",
                                                     "sort",   "limit", "cursor",   "count"};
constexpr std::size_t k_labels_max = 16;
constexpr std::size_t k_label_key_bytes_max = 64;
constexpr std::size_t k_text_bytes_max = 256;

// Levenshtein's.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row.back();
}

using Fault = std::optional<ParameterFault>;

Fault invalid(std::string_view name, std::string_view want) {
  return ParameterFault{Problem::invalid_parameter, std::string(name), std::string(name) + ": " + std::string(want)};
}

Fault read_bool(std::string_view name, const std::string& value, std::optional<bool>& out) {
  if (value != "true" && value != "false") return invalid(name, "want true or false");
  out = value == "true";
  return {};
}

Fault read_label(const std::string& value, FleetQuery& query) {
  const std::size_t equals = std::min(value.find('='), value.size());
  if (equals == 0 || equals > k_label_key_bytes_max || value.size() - equals > k_text_bytes_max + 1) {
    return invalid("label", "want KEY or KEY=VALUE, with a key of 1 to 64 bytes and a value of at most 256");
  }
  if (query.labels.size() == k_labels_max) return invalid("label", "at most 16 of them");
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
    return invalid("sort", "want id, last_seen or since, or one of them after a '-' for descending order");
  }
  return {};
}

Fault read_limit(const std::string& value, FleetQuery& query) {
  const char* end = value.data() + value.size();
  const auto [at, ec] = std::from_chars(value.data(), end, query.limit);
  if (ec != std::errc() || at != end || query.limit < 1 || query.limit > FleetQuery::k_limit_max) {
    return invalid("limit", "want a number from 1 to " + std::to_string(FleetQuery::k_limit_max));
  }
  return {};
}

Fault read_one(const std::string& name, const std::string& value, FleetQuery& query) {
  if (name == "label") return read_label(value, query);
  if (name == "online") return read_bool(name, value, query.online);
  if (name == "inactive") return read_bool(name, value, query.inactive);
  if (name == "sort") return read_sort(value, query);
  if (name == "limit") return read_limit(value, query);
  if (name == "count") {
    std::optional<bool> count;
    Fault fault = read_bool(name, value, count);
    query.count = count.value_or(false);
    return fault;
  }
  if (name == "firmware") {
    if (value.empty() || value.size() > k_text_bytes_max) return invalid(name, "want 1 to 256 bytes");
    query.firmware = value;
  }
  if (name == "prefix") {
    if (!is_valid_name(value)) return invalid(name, "want the beginning of a device id");
    query.id_prefix = value;
  }
  return {};
}

}  // namespace

std::span<const std::string_view> list_parameters() noexcept { return k_names; }

Fault refuse_unknown(const Target& target, std::span<const std::string_view> known) {
  for (const auto& [name, value] : target.parameters) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    // A name as long as this is nobody's slip of the pen, and costs to compare.
    const std::string shown = name.size() > 64 ? std::string("(over 64 bytes)") : name;
    ParameterFault fault{Problem::unknown_parameter, shown, "unknown parameter '" + shown + "'"};
    if (known.empty()) {
      fault.detail += "; this path takes none";
    } else {
      const auto nearest = std::min_element(known.begin(), known.end(), [&](std::string_view a, std::string_view b) {
        return distance(a, shown) < distance(b, shown);
      });
      fault.detail += "; did you mean '" + std::string(*nearest) + "'?";
    }
    return fault;
  }
  return {};
}

std::variant<FleetQuery, ParameterFault> read_list_query(const Target& target, const CursorSeal& seal) {
  if (Fault fault = refuse_unknown(target, k_names)) return std::move(*fault);
  FleetQuery query;
  std::vector<std::string_view> given;
  const std::string* cursor = nullptr;
  for (const auto& [name, value] : target.parameters) {
    if (name != "label") {
      if (std::find(given.begin(), given.end(), name) != given.end()) return *invalid(name, "given more than once");
      given.push_back(name);
    }
    if (name == "cursor") cursor = &value;
    if (Fault fault = read_one(name, value, query)) return std::move(*fault);
  }
  if (cursor != nullptr) {
    Result<CursorPosition> position = seal.open(*cursor, query.fingerprint());
    if (!position) {
      const bool other = position.error().code == Errc::forbidden;
      return ParameterFault{Problem::invalid_cursor, "cursor",
                            other
                                ? "the cursor belongs to a query with other filters or another order; repeat them, or "
                                  "begin without a cursor"
                                : position.error().detail + "; begin without a cursor"};
    }
    query.after = std::move(*position);
  }
  return query;
}

}  // namespace fieldgate::http
