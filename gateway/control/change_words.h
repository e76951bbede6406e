// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Bodies of the messages by which a node hears what others have written (Peers'
// changes.watch and changes.told), as JSON. What is decoded has the form that is said
// here, and nothing else is believed of it. No state, any thread.
namespace fieldgate::control {

// Steps of a command that were written, from the `first`th to the `last`th, counted from 1.
struct CommandChange {
  std::string id;
  DeviceId device;
  std::size_t first = 0;
  std::size_t last = 0;
};

// Of the changes that a process has written, by their numbers, those after `after` and
// through `through`, as far as they are of a kind that was asked for.
struct ChangeWord {
  std::string tag{};  // of the watch that it is for
  std::uint64_t after = 0;
  std::uint64_t through = 0;
  std::uint64_t untold = 0;  // so many there was no room for
  std::vector<CommandChange> commands{};
  std::vector<DeviceId> twins{};
};

// "Tell me from now on."
struct WatchQuestion {
  std::string tag;  // is_valid_name; not to be guessed
  bool commands = false;
  bool twins = false;
};
// What was written by then was told, or is not wanted: but for what is up to `after`, if who
// asked does not know that much.
struct WatchAnswer {
  std::string boot_id;
  std::uint64_t after = 0;
  std::uint64_t through = 0;
};

std::string encode(const ChangeWord& word);
std::string encode(const WatchQuestion& question);
std::string encode(const WatchAnswer& answer);
std::optional<ChangeWord> decode_change_word(std::string_view body);
std::optional<WatchQuestion> decode_watch_question(std::string_view body);
std::optional<WatchAnswer> decode_watch_answer(std::string_view body);

}  // namespace fieldgate::control
