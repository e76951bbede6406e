// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/codec.h"

#include <boost/json.hpp>

#include <cstdint>
#include <utility>

namespace fieldgate::store {
namespace {

namespace json = boost::json;

constexpr std::string_view k_replacement = "\xEF\xBF\xBD";

// Bytes of the well-formed character that `text` begins with (Unicode 15, table 3-7); 0: none.
std::size_t character_bytes(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
  const unsigned first = at(0);
  if (first == 0) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return at(1) >= low && at(1) <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return at(1) >= low && at(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// Where the first thing is that cannot stay; size(): nowhere.
std::size_t clean_prefix(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t bytes = character_bytes(text.substr(at));
    if (bytes == 0) break;
    at += bytes;
  }
  return at;
}

Error malformed(std::string_view what) {
  return make_error(Errc::malformed, "store: holds " + std::string(what) + " that this program did not write");
}

}  // namespace

std::string clean_text(std::string_view text) {
  std::string clean;
  while (true) {
    const std::size_t good = clean_prefix(text);
    clean.append(text.substr(0, good));
    if (good == text.size()) return clean;
    clean.append(k_replacement);
    text.remove_prefix(good + 1);
  }
}

Result<std::string_view> key_text(std::string_view text, std::string_view what) {
  if (clean_prefix(text) == text.size()) return text;
  return make_error(Errc::invalid_argument, std::string(what) + " is not UTF-8 text without zero bytes");
}

std::string encode_pairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  json::object object;
  for (const auto& [name, value] : pairs) object.emplace(clean_text(name), clean_text(value));
  return json::serialize(object);
}

Result<std::vector<std::pair<std::string, std::string>>> decode_pairs(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object()) return malformed("names and values");
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(value.get_object().size());
  for (const auto& [name, member] : value.get_object()) {
    if (!member.is_string()) return malformed("a value");
    pairs.emplace_back(name, member.get_string());
  }
  return pairs;
}

std::string encode_steps(const std::vector<CommandStep>& steps) {
  json::array array;
  for (const CommandStep& step : steps) {
    array.push_back(json::object{{"state", json::string_view(to_string(step.state))},
                                 {"unix_ms", step.unix_ms},
                                 {"epoch", step.epoch.value},
                                 {"detail", clean_text(step.detail)}});
  }
  return json::serialize(array);
}

Result<std::vector<CommandStep>> decode_steps(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_array()) return malformed("a command's steps");
  std::vector<CommandStep> steps;
  for (const json::value& item : value.get_array()) {
    const json::object* object = item.if_object();
    const json::value* state = object != nullptr ? object->if_contains("state") : nullptr;
    const json::value* unix_ms = object != nullptr ? object->if_contains("unix_ms") : nullptr;
    const json::value* epoch = object != nullptr ? object->if_contains("epoch") : nullptr;
    const json::value* detail = object != nullptr ? object->if_contains("detail") : nullptr;
    const bool good = state != nullptr && state->is_string() && unix_ms != nullptr && unix_ms->is_int64() &&
                      epoch != nullptr && epoch->is_number() && detail != nullptr && detail->is_string();
    if (!good) return malformed("a command's step");
    const auto known = decode_state(state->get_string());
    if (!known) return known.error();
    steps.push_back({.state = *known,
                     .unix_ms = unix_ms->get_int64(),
                     .epoch = {epoch->to_number<std::uint64_t>(error)},
                     .detail = std::string(detail->get_string())});
    if (error) return malformed("a command's step");
  }
  return steps;
}

Result<CommandState> decode_state(std::string_view name) {
  for (std::size_t i = 0; i < k_command_states; ++i) {
    const auto state = static_cast<CommandState>(i);
    if (to_string(state) == name) return state;
  }
  return malformed("a command state");
}

Result<CredentialKind> decode_credential_kind(std::string_view name) {
  for (const CredentialKind kind : {CredentialKind::token, CredentialKind::certificate}) {
    if (to_string(kind) == name) return kind;
  }
  return malformed("a kind of credential");
}

Result<TimelineKind> decode_timeline_kind(std::string_view name) {
  if (const auto kind = timeline_kind(name)) return *kind;
  return malformed("a kind of timeline entry");
}

Result<DeviceId> decode_device(std::string_view id) {
  auto device = DeviceId::parse(id);
  if (!device) return malformed("a device id");
  return std::move(*device);
}

}  // namespace fieldgate::store
