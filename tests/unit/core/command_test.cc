// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/command.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string>

namespace fieldgate {
namespace {

using enum CommandState;

constexpr CommandState k_all[] = {queued,   sent,      acknowledged, succeeded, failed,
                                  rejected, timed_out, expired,      cancelled};

std::set<CommandState> after(CommandState from) {
  std::set<CommandState> found;
  for (const CommandState to : k_all) {
    if (may_follow(from, to)) found.insert(to);
  }
  return found;
}

TEST(CommandState, GoesOnlyWhereItMay) {
  EXPECT_EQ(after(queued), std::set<CommandState>(std::begin(k_all), std::end(k_all)));
  EXPECT_EQ(after(sent), (std::set{sent, acknowledged, succeeded, failed, rejected, timed_out, cancelled}));
  EXPECT_EQ(after(acknowledged), (std::set{succeeded, failed, rejected, timed_out, cancelled}));
}

TEST(CommandState, IsNeverLeftOnceItIsFinalButForAResultThatComesAfterTheTimeout) {
  EXPECT_EQ(after(timed_out), (std::set{succeeded, failed, rejected, cancelled}));
  for (const CommandState end : {succeeded, failed, rejected, expired, cancelled}) {
    EXPECT_TRUE(after(end).empty()) << to_string(end);
    EXPECT_TRUE(is_final(end));
  }
}

TEST(CommandState, HasANameOfItsOwnForEach) {
  std::set<std::string_view> names;
  for (const CommandState state : k_all) names.insert(to_string(state));
  EXPECT_EQ(names.size(), k_command_states);
}

}  // namespace
}  // namespace fieldgate
