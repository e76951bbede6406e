// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/change_words.h"

#include "gateway/core/command.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <utility>

namespace fieldgate::control {
namespace {

namespace json = boost::json;

std::optional<json::object> object_of(std::string_view body) {
  json::parse_options options;
  options.max_depth = 4;
  boost::system::error_code ec;
  json::value value = json::parse(body, ec, {}, options);
  if (ec || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

// What can be counted to: below 2^63.
std::optional<std::uint64_t> number_of(const json::value* value) {
  if (value == nullptr || !value->is_int64() || value->get_int64() < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value->get_int64());
}

std::optional<std::string> name_of(const json::value* value) {
  if (value == nullptr || !value->is_string() || !is_valid_name(value->get_string())) return std::nullopt;
  return std::string(value->get_string());
}

std::optional<DeviceId> device_of(const json::value& value) {
  if (!value.is_string()) return std::nullopt;
  auto device = DeviceId::parse(value.get_string());
  return device ? std::optional(*std::move(device)) : std::nullopt;
}

// [id, device, first, last]
std::optional<CommandChange> change_of(const json::value& value) {
  const json::array* parts = value.if_array();
  if (parts == nullptr || parts->size() != 4) return std::nullopt;
  auto id = name_of(parts->if_contains(0));
  auto device = device_of((*parts)[1]);
  const auto first = number_of(parts->if_contains(2));
  const auto last = number_of(parts->if_contains(3));
  if (!id || id->size() > k_command_id_bytes_max || !device || !first || !last) return std::nullopt;
  if (*first < 1 || *first > *last || *last > k_command_steps_max) return std::nullopt;
  return CommandChange{*std::move(id), *std::move(device), *first, *last};
}

// False: something in it has not the form that `read` takes.
template <class T, class Read>
bool read_all(const json::value* value, std::vector<T>& into, Read read) {
  const json::array* all = value == nullptr ? nullptr : value->if_array();
  if (all == nullptr) return false;
  for (const json::value& one : *all) {
    auto item = read(one);
    if (!item) return false;
    into.push_back(*std::move(item));
  }
  return true;
}

}  // namespace

std::string encode(const ChangeWord& word) {
  json::array commands;
  for (const CommandChange& change : word.commands) {
    commands.push_back(json::array{change.id, change.device.str(), change.first, change.last});
  }
  json::array twins;
  for (const DeviceId& device : word.twins) twins.push_back(json::value(device.str()));
  return json::serialize(json::object{{"tag", word.tag},
                                      {"after", word.after},
                                      {"through", word.through},
                                      {"untold", word.untold},
                                      {"commands", std::move(commands)},
                                      {"twins", std::move(twins)}});
}

std::string encode(const WatchQuestion& question) {
  return json::serialize(
      json::object{{"tag", question.tag}, {"commands", question.commands}, {"twins", question.twins}});
}

std::string encode(const WatchAnswer& answer) {
  return json::serialize(
      json::object{{"boot_id", answer.boot_id}, {"after", answer.after}, {"through", answer.through}});
}

std::optional<ChangeWord> decode_change_word(std::string_view body) {
  const auto from = object_of(body);
  if (!from) return std::nullopt;
  auto tag = name_of(from->if_contains("tag"));
  const auto after = number_of(from->if_contains("after"));
  const auto through = number_of(from->if_contains("through"));
  const auto untold = number_of(from->if_contains("untold"));
  if (!tag || !after || !through || !untold || *after > *through || *untold > *through - *after) return std::nullopt;
  ChangeWord word{*std::move(tag), *after, *through, *untold, {}, {}};
  if (!read_all(from->if_contains("commands"), word.commands, change_of)) return std::nullopt;
  if (!read_all(from->if_contains("twins"), word.twins, device_of)) return std::nullopt;
  return word;
}

std::optional<WatchQuestion> decode_watch_question(std::string_view body) {
  const auto from = object_of(body);
  if (!from) return std::nullopt;
  auto tag = name_of(from->if_contains("tag"));
  const json::value* commands = from->if_contains("commands");
  const json::value* twins = from->if_contains("twins");
  if (!tag || commands == nullptr || !commands->is_bool() || twins == nullptr || !twins->is_bool()) {
    return std::nullopt;
  }
  return WatchQuestion{*std::move(tag), commands->get_bool(), twins->get_bool()};
}

std::optional<WatchAnswer> decode_watch_answer(std::string_view body) {
  const auto from = object_of(body);
  if (!from) return std::nullopt;
  auto boot_id = name_of(from->if_contains("boot_id"));
  const auto after = number_of(from->if_contains("after"));
  const auto through = number_of(from->if_contains("through"));
  if (!boot_id || !after || !through || *after > *through) return std::nullopt;
  return WatchAnswer{*std::move(boot_id), *after, *through};
}

}  // namespace fieldgate::control
