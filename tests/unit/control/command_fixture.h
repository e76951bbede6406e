// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/command_desk.h"
#include "tests/unit/control/desk_world.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fieldgate::control {

// One device, "pump", and what its callers and it say.
struct CommandDeskTest : testing::Test, World {
  CommandDeskTest() { add("pump"); }

  std::string ack(const std::string& id) {
    says("pump", CommandAckReply{id});
    return state(id);
  }
  std::string result(const std::string& id, CommandResultReply::Outcome outcome = Outcome::succeeded) {
    says("pump", CommandResultReply{id, outcome, "done", {std::byte{7}}});
    return state(id);
  }
  std::string cancel(const std::string& id) {
    Asked<CommandEntry> answer;
    commands->cancel(id, "api:ann", answer.reply());
    settle();
    EXPECT_TRUE(answer.there());
    return answer->has_value() ? std::string(to_string((*answer)->state)) : answer->error().code.message();
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& each : received) all.push_back(each.command().name);
    return all;
  }
  using Outcome = CommandResultReply::Outcome;
  const std::string not_there = make_error_code(Errc::not_found).message();
  const std::string full = make_error_code(Errc::full).message();
  const std::string conflict = make_error_code(Errc::conflict).message();
  const std::string unavailable = make_error_code(Errc::unavailable).message();
  const std::string invalid = make_error_code(Errc::invalid_argument).message();
  const std::string too_large = make_error_code(Errc::too_large).message();
};

}  // namespace fieldgate::control
