// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/list_query.h"

#include "adapters/http/text.h"

#include <algorithm>
#include <array>
#include <limits>

namespace fieldgate::http {
namespace {

constexpr std::array<std::string_view, 20> k_names = {
    "online", "label",  "firmware", "inactive", "inactive_for", "last_seen_after", "last_seen_before",
    "node",   "reason", "prefix",   "text",     "registered",   "enabled",         "sort",
    "limit",  "cursor", "count",    "fields",   "format",       "explain"};
constexpr std::size_t k_labels_max = 16;
constexpr std::size_t k_label_key_bytes_max = 64;
constexpr std::size_t k_text_bytes_max = 256;

struct SortName {
  std::string_view name;
  FleetSort sort;
};
constexpr std::array<SortName, 5> k_sorts = {{{"id", FleetSort::id},
                                              {"last_seen", FleetSort::last_seen},
                                              {"last_data", FleetSort::last_data},
                                              {"since", FleetSort::since},
                                              {"firmware", FleetSort::firmware}}};

using Fault = std::optional<ParameterFault>;

Fault read_label(std::string_view text, FleetQuery& query) {
  using Is = LabelCondition::Is;
  LabelCondition condition;
  const std::size_t equals = std::min(text.find('='), text.size());
  std::string_view key = text.substr(0, equals);
  if (equals < text.size()) {
    condition.value = text.substr(equals + 1);
    condition.is = key.ends_with('!') ? Is::different : Is::equal;
    if (condition.is == Is::different) key.remove_suffix(1);
  } else if (key.starts_with('!')) {
    condition.is = Is::absent;
    key.remove_prefix(1);
  }
  if (key.empty() || key.size() > k_label_key_bytes_max || condition.value.size() > k_text_bytes_max) {
    return invalid_parameter("label",
                             "want KEY, !KEY, KEY=VALUE or KEY!=VALUE, with a key of 1 to 64 bytes and a value of at "
                             "most 256");
  }
  if (query.labels.size() == k_labels_max) return invalid_parameter("label", "at most 16 of them");
  condition.key = key;
  query.labels.push_back(std::move(condition));
  return {};
}

Fault read_sort(std::string_view value, FleetQuery& query) {
  query.descending = value.starts_with('-');
  if (query.descending) value.remove_prefix(1);
  const auto* at = std::find_if(k_sorts.begin(), k_sorts.end(), [&](const SortName& one) { return one.name == value; });
  if (at == k_sorts.end()) {
    return invalid_parameter("sort",
                             "want id, last_seen, last_data, since or firmware, or one of them after a '-' for "
                             "descending order");
  }
  query.sort = at->sort;
  return {};
}

Fault read_text(std::string_view name, const std::string& value, std::optional<std::string>& out) {
  if (value.empty() || value.size() > k_text_bytes_max) return invalid_parameter(name, "want 1 to 256 bytes");
  out = value;
  return {};
}

Fault read_name(std::string_view name, const std::string& value, std::optional<std::string>& out) {
  if (!is_valid_name(value)) return invalid_parameter(name, "want the whole name of one");
  out = value;
  return {};
}

Fault read_time(std::string_view name, const std::string& value, std::optional<std::int64_t>& out) {
  out = parse_rfc3339(value);
  if (!out) return invalid_parameter(name, "want a time of RFC 3339, such as 2026-03-01T10:00:00Z");
  return {};
}

Fault read_prefix(const std::string& value, FleetQuery& query) {
  if (!is_valid_name(value)) return invalid_parameter("prefix", "want the beginning of a device id");
  query.id_prefix = value;
  return {};
}

Fault read_fields(std::string_view value, std::uint32_t& fields) {
  fields = 0;
  std::size_t given = 0;
  for (;;) {
    const std::size_t comma = value.find(',');
    const std::optional<std::uint32_t> field = device_field(value.substr(0, comma));
    if (!field) return invalid_parameter("fields", "want names of a device's members, with commas between them");
    fields |= *field;
    if (++given > k_device_fields) return invalid_parameter("fields", "more names than there are members");
    if (comma == std::string_view::npos) return {};
    value.remove_prefix(comma + 1);
  }
}

Fault read_condition(const std::string& name, const std::string& value, FleetQuery& query) {
  if (name == "label") return read_label(value, query);
  if (name == "online") return read_bool(name, value, query.online);
  if (name == "inactive") return read_bool(name, value, query.inactive);
  if (name == "registered") return read_bool(name, value, query.registered);
  if (name == "enabled") return read_bool(name, value, query.enabled);
  if (name == "last_seen_after") return read_time(name, value, query.last_seen_after);
  if (name == "last_seen_before") return read_time(name, value, query.last_seen_before);
  if (name == "firmware") return read_text(name, value, query.firmware);
  if (name == "node") return read_name(name, value, query.node);
  if (name == "reason") return read_name(name, value, query.reason);
  if (name == "prefix") return read_prefix(value, query);
  if (name == "inactive_for") {
    std::chrono::milliseconds time{0};
    Fault fault = read_duration(name, value, std::chrono::milliseconds(0), k_duration_max, time);
    query.inactive_for_ms = time.count();
    return fault;
  }
  if (name == "text") {
    std::optional<std::string> text;
    Fault fault = read_text(name, value, text);
    query.text = text.value_or(std::string());
    return fault;
  }
  return {};
}

Fault read_one(const std::string& name, const std::string& value, ListRequest& request) {
  if (name == "sort") return read_sort(value, request.query);
  if (name == "limit") return read_limit(value, FleetQuery::k_limit_max, request.query.limit);
  if (name == "count") return read_flag(name, value, request.query.count);
  if (name == "explain") return read_flag(name, value, request.explain);
  if (name == "fields") return read_fields(value, request.fields);
  if (name == "format") {
    if (value != "json" && value != "ndjson") return invalid_parameter(name, "want json or ndjson");
    request.ndjson = value == "ndjson";
    return {};
  }
  return read_condition(name, value, request.query);
}

// What an export of all pages has no use for.
Fault refuse_paging(const Target& target) {
  for (const auto& [name, value] : target.parameters) {
    if (name == "limit" || name == "cursor" || name == "count" || name == "explain") {
      return invalid_parameter(name, "not with NDJSON, which is every device that there is, without pages");
    }
  }
  return {};
}

bool asks_for_ndjson(const Head& head) {
  const std::string* accept = head.header("accept");
  bool found = false;
  if (accept == nullptr) return false;
  for_each_item(*accept, [&](std::string_view item) {
    found = found || to_lower(trim(item.substr(0, item.find(';')))) == k_ndjson_type;
  });
  return found;
}

}  // namespace

std::span<const std::string_view> list_parameters() noexcept { return k_names; }

std::variant<ListRequest, ParameterFault> read_list_query(const Request& request, const CursorSeal& seal) {
  const Target& target = request.target;
  if (Fault fault = refuse_unknown(target, k_names)) return std::move(*fault);
  if (Fault fault = refuse_repeated(target, "label")) return std::move(*fault);
  ListRequest out;
  out.ndjson = asks_for_ndjson(request.head);
  const std::string* cursor = nullptr;
  for (const auto& [name, value] : target.parameters) {
    if (name == "cursor") cursor = &value;
    if (Fault fault = read_one(name, value, out)) return std::move(*fault);
  }
  if (out.ndjson) {
    if (Fault fault = refuse_paging(target)) return std::move(*fault);
    out.query.limit = k_export_page;
  }
  if (cursor != nullptr) {
    auto position = read_cursor(*cursor, out.query.fingerprint(), seal);
    if (auto* fault = std::get_if<ParameterFault>(&position)) return std::move(*fault);
    out.query.after = std::move(std::get<CursorPosition>(position));
  }
  return out;
}

}  // namespace fieldgate::http
