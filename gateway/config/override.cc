// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/override.h"

#include "gateway/config/declaration.h"

#include <algorithm>
#include <array>
#include <optional>

namespace fieldgate::config {
namespace {

constexpr std::string_view k_prefix = "FIELDGATE_";
constexpr std::array<std::string_view, 6> k_tooling = {"FIELDGATE_CONFIG", "FIELDGATE_API",    "FIELDGATE_API_TOKEN",
                                                       "FIELDGATE_BIN",    "FIELDGATE_SOURCE", "FIELDGATE_PROMTOOL"};
// More than any list may hold.
constexpr std::size_t k_index_digits_max = 4;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "mqtt[].tls.ca_file" -> "FIELDGATE_MQTT_#_TLS_CA_FILE"
std::string pattern_of(std::string_view path) {
  std::string pattern(k_prefix);
  for (const char c : path) {
    if (c == '[') {
      pattern.append("_#");
    } else if (c == '.') {
      pattern.push_back('_');
    } else if (c != ']') {
      pattern.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    }
  }
  return pattern;
}

struct Target {
  std::string path;  // as declared: "mqtt[].host"
  std::string pattern;
  bool texts = false;
};

class Targets final : public FlatVisitor {
 public:
  Targets() : FlatVisitor(Lists::declared) {
    Settings defaults;
    describe(*this, defaults);
  }
  std::vector<Target> all;

 private:
  void on_value(const std::string& path, const Key&, Value&) override {
    all.push_back({path, pattern_of(path), false});
  }
  void on_texts(const std::string& path, const Key&, TextList&) override {
    all.push_back({path, pattern_of(path), true});
  }
};

// The numbers in `name` where `pattern` has #; nothing if it does not fit.
std::optional<std::vector<std::size_t>> match(std::string_view pattern, std::string_view name) {
  std::vector<std::size_t> indexes;
  for (const char c : pattern) {
    if (c == '#') {
      const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
      if (digits > k_index_digits_max) return std::nullopt;
      const auto index = parse_unsigned(name.substr(0, digits));
      if (!index) return std::nullopt;
      indexes.push_back(*index);
      name.remove_prefix(digits);
    } else {
      if (!name.starts_with(c)) return std::nullopt;
      name.remove_prefix(1);
    }
  }
  if (!name.empty()) return std::nullopt;
  return indexes;
}

// "..._PORT_443_TCP", "..._PORT_443_TCP_ADDR" and the like.
bool is_service_link_port(std::string_view name) {
  for (const std::string_view tail : {"_ADDR", "_PORT", "_PROTO"}) {
    if (name.ends_with(tail)) {
      name.remove_suffix(tail.size());
      break;
    }
  }
  if (!name.ends_with("_TCP") && !name.ends_with("_UDP") && !name.ends_with("_SCTP")) return false;
  name = name.substr(0, name.rfind('_'));
  const std::size_t digits = name.size() - (name.find_last_not_of("0123456789") + 1);
  return digits > 0 && name.substr(0, name.size() - digits).ends_with("_PORT_");
}

// Kubernetes gives every container the addresses of the Services of its namespace,
// under names made from theirs.
bool is_service_link(std::string_view name, std::string_view value) {
  if (name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT")) return true;
  if (name.find("_SERVICE_PORT_") != std::string_view::npos) return true;
  if (name.ends_with("_PORT") && value.find("://") != std::string_view::npos) return true;
  return is_service_link_port(name);
}

struct Override {
  const Target* target;
  std::vector<std::size_t> indexes;
  std::string name;
  std::string value;
};

std::string unknown(std::string_view name, const std::vector<Target>& targets) {
  std::vector<std::string> patterns;
  for (const Target& target : targets) patterns.push_back(target.pattern);
  std::string folded;  // each number as #
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!is_digit(name[i])) {
      folded.push_back(name[i]);
    } else if (i == 0 || !is_digit(name[i - 1])) {
      folded.push_back('#');
    }
  }
  std::string message = "sets no key of the configuration; unset it";
  std::string near(nearest_name(folded, patterns));
  std::ranges::replace(near, '#', '0');
  if (!near.empty()) message.append(", or did you mean ").append(near).append("?");
  return message;
}

Entry text_entry(std::string_view text, const Place& place) {
  Entry entry;
  entry.kind = Entry::Kind::text;
  entry.place = place;
  entry.text = text;
  entry.literal = true;
  return entry;
}

Entry value_entry(const Override& override, const Place& place) {
  if (!override.target->texts) return text_entry(override.value, place);
  Entry list;
  list.kind = Entry::Kind::list;
  list.place = place;
  std::string_view rest = override.value;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    list.elements.push_back(text_entry(rest.substr(0, comma), place));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return list;
}

Entry& child(Entry& map, const std::string& key, const Place& place) {
  if (Item* item = map.find(key)) return item->value;
  map.items.push_back({key, place, {}});
  map.items.back().value.place = place;
  return map.items.back().value;
}

// Makes `entry` of that kind unless something else was written there, which the
// binder will complain of.
bool become(Entry& entry, Entry::Kind kind) {
  if (entry.kind == Entry::Kind::null) entry.kind = kind;
  return entry.kind == kind;
}

void apply(Entry& root, const Override& override, std::vector<Problem>& problems) {
  const Place place{"environment variable " + override.name, 0, 0};
  Entry* at = &root;
  std::size_t lists = 0;
  std::string_view rest = override.target->path;
  while (true) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    std::string key(rest.substr(0, dot));
    rest.remove_prefix(std::min(dot + 1, rest.size()));
    const bool list = key.ends_with("[]");
    if (list) key.resize(key.size() - 2);
    if (!become(*at, Entry::Kind::map)) return;
    at = &child(*at, key, place);
    if (list) {
      if (!become(*at, Entry::Kind::list)) return;
      const std::size_t index = override.indexes[lists++];
      if (index > at->elements.size()) {
        problems.push_back({Severity::error, place,
                            key + " has " + std::to_string(at->elements.size()) + " elements, so the next is number " +
                                std::to_string(at->elements.size()) + ", not " + std::to_string(index)});
        return;
      }
      if (index == at->elements.size()) at->elements.emplace_back().place = place;
      at = &at->elements[index];
    }
    if (rest.empty()) break;
  }
  *at = value_entry(override, place);
}

}  // namespace

std::vector<std::string> override_patterns() {
  std::vector<std::string> patterns;
  for (Target& target : Targets().all) patterns.push_back(std::move(target.pattern));
  return patterns;
}

void apply_overrides(Entry& root, const Environment& environment, std::vector<Problem>& problems) {
  const Targets targets;
  std::vector<Override> overrides;
  for (auto i = environment.lower_bound(std::string(k_prefix)); i != environment.end(); ++i) {
    const auto& [name, value] = *i;
    if (!name.starts_with(k_prefix)) break;
    if (std::ranges::find(k_tooling, name) != k_tooling.end()) continue;
    const std::size_t before = overrides.size();
    for (const Target& target : targets.all) {
      if (auto indexes = match(target.pattern, name)) {
        overrides.push_back({&target, std::move(*indexes), name, value});
        break;
      }
    }
    if (overrides.size() == before && !is_service_link(name, value)) {
      problems.push_back({Severity::error, {"environment variable " + name, 0, 0}, unknown(name, targets.all)});
    }
  }
  // Element 2 before element 10, so that lists grow from their end.
  std::ranges::stable_sort(overrides, {}, &Override::indexes);
  for (const Override& override : overrides) apply(root, override, problems);
}

}  // namespace fieldgate::config
