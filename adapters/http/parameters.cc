// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/parameters.h"

#include "gateway/core/ids.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <utility>
#include <vector>

namespace fieldgate::http {
namespace {

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

}  // namespace

Response make_problem(const ParameterFault& fault, std::string_view request_id) {
  return make_problem(fault.problem, request_id, fault.detail, fault.parameter);
}

ParameterFault invalid_parameter(std::string_view name, std::string_view want) {
  return {Problem::invalid_parameter, std::string(name), std::string(name) + ": " + std::string(want)};
}

std::string_view nearest(std::string_view name, std::span<const std::string_view> known) {
  return *std::min_element(known.begin(), known.end(), [&](std::string_view a, std::string_view b) {
    return distance(a, name) < distance(b, name);
  });
}

std::optional<ParameterFault> refuse_unknown(const Target& target, std::span<const std::string_view> known) {
  for (const auto& [name, value] : target.parameters) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    // A name as long as this is nobody's slip of the pen, and costs to compare.
    const std::string shown = name.size() > 64 ? std::string("(over 64 bytes)") : name;
    ParameterFault fault{Problem::unknown_parameter, shown, "unknown parameter '" + shown + "'"};
    if (known.empty()) {
      fault.detail += "; this path takes none";
    } else {
      fault.detail += "; did you mean '" + std::string(nearest(shown, known)) + "'?";
    }
    return fault;
  }
  return {};
}

std::optional<ParameterFault> refuse_repeated(const Target& target, std::string_view repeatable) {
  std::vector<std::string_view> given;
  for (const auto& [name, value] : target.parameters) {
    if (name == repeatable) continue;
    if (std::find(given.begin(), given.end(), name) != given.end()) {
      return invalid_parameter(name, "given more than once");
    }
    given.push_back(name);
  }
  return {};
}

std::optional<ParameterFault> read_bool(std::string_view name, const std::string& value, std::optional<bool>& out) {
  if (value != "true" && value != "false") return invalid_parameter(name, "want true or false");
  out = value == "true";
  return {};
}

std::optional<ParameterFault> read_flag(std::string_view name, const std::string& value, bool& out) {
  std::optional<bool> flag;
  auto fault = read_bool(name, value, flag);
  out = flag.value_or(false);
  return fault;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data(), end, number);
  if (ec != std::errc() || number > 10'000'000'000) return std::nullopt;
  const std::string_view unit(at, static_cast<std::size_t>(end - at));
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 6> k_units = {
      {{"", 1'000}, {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  for (const auto& [name, ms] : k_units) {
    if (name == unit) return std::chrono::milliseconds(static_cast<std::int64_t>(number) * ms);
  }
  return std::nullopt;
}

std::optional<ParameterFault> read_duration(std::string_view name, const std::string& value,
                                            std::chrono::milliseconds min, std::chrono::milliseconds max,
                                            std::chrono::milliseconds& out) {
  const auto time = parse_duration(value);
  if (!time || *time < min || *time > max) {
    return invalid_parameter(name, "want a duration such as 500ms, 10s, 5m, 24h or 7d, from " +
                                       std::to_string(min.count()) + "ms to " + std::to_string(max.count() / 1'000) +
                                       "s");
  }
  out = *time;
  return {};
}

namespace {

// `digits` of them at the front of `text`, which is cut; nullopt: something else.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  int number = 0;
  if (text.size() < digits) return std::nullopt;
  for (const char c : text.substr(0, digits)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return number;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text[0]) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// What follows the seconds: an optional fraction, and the offset. In milliseconds.
std::optional<std::int64_t> take_fraction(std::string_view& text) {
  std::int64_t ms = 0;
  if (!take(text, ".")) return ms;
  std::size_t digits = 0;
  for (std::int64_t weight = 100; !text.empty() && text[0] >= '0' && text[0] <= '9'; weight /= 10, ++digits) {
    ms += weight * (text[0] - '0');
    text.remove_prefix(1);
  }
  if (digits == 0) return std::nullopt;
  return ms;
}

std::optional<std::int64_t> take_offset(std::string_view& text) {
  if (take(text, "Zz")) return 0;
  const bool west = text.starts_with('-');
  if (!take(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || !take(text, ":")) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return (west ? -1 : 1) * (*hours * 60 + *minutes) * std::int64_t{60'000};
}

}  // namespace

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  std::array<int, 6> parts{};
  constexpr std::array<std::size_t, 6> k_digits = {4, 2, 2, 2, 2, 2};
  constexpr std::array<std::string_view, 5> k_between = {"-", "-", "Tt ", ":", ":"};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto number = take_number(text, k_digits[i]);
    if (!number || (i < k_between.size() && !take(text, k_between[i]))) return std::nullopt;
    parts[i] = *number;
  }
  const auto fraction = take_fraction(text);
  const auto offset = fraction ? take_offset(text) : std::nullopt;
  const year_month_day date{year(parts[0]), month(static_cast<unsigned>(parts[1])),
                            day(static_cast<unsigned>(parts[2]))};
  if (!offset || !text.empty() || !date.ok() || parts[3] > 23 || parts[4] > 59 || parts[5] > 60) return std::nullopt;
  const auto time = sys_days(date) + hours(parts[3]) + minutes(parts[4]) + seconds(parts[5]) + milliseconds(*fraction);
  return time.time_since_epoch().count() - *offset;
}

std::optional<ParameterFault> read_limit(const std::string& value, std::size_t max, std::size_t& out) {
  const char* end = value.data() + value.size();
  const auto [at, ec] = std::from_chars(value.data(), end, out);
  if (ec != std::errc() || at != end || out < 1 || out > max) {
    return invalid_parameter("limit", "want a number from 1 to " + std::to_string(max));
  }
  return {};
}

std::variant<CursorPosition, ParameterFault> read_cursor(const std::string& text, std::uint64_t fingerprint,
                                                         const CursorSeal& seal) {
  Result<CursorPosition> position = seal.open(text, fingerprint);
  if (position) return std::move(*position);
  const bool other = position.error().code == Errc::forbidden;
  return ParameterFault{Problem::invalid_cursor, "cursor",
                        other ? "the cursor belongs to a query with other filters or another order; repeat them, or "
                                "begin without a cursor"
                              : position.error().detail + "; begin without a cursor"};
}

std::variant<PageRequest, ParameterFault> read_page(const Target& target, std::string_view list, std::size_t limit_max,
                                                    const CursorSeal& seal) {
  constexpr std::array<std::string_view, 2> k_names = {"limit", "cursor"};
  if (auto fault = refuse_unknown(target, k_names)) return std::move(*fault);
  if (auto fault = refuse_repeated(target)) return std::move(*fault);
  PageRequest out;
  out.fingerprint = stable_hash(list);
  for (const auto& [name, value] : target.parameters) {
    if (name == "limit") {
      if (auto fault = read_limit(value, limit_max, out.limit)) return std::move(*fault);
      continue;
    }
    auto position = read_cursor(value, out.fingerprint, seal);
    if (auto* fault = std::get_if<ParameterFault>(&position)) return std::move(*fault);
    out.after = std::move(std::get<CursorPosition>(position));
  }
  return out;
}

}  // namespace fieldgate::http
