// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_hub.h"

#include "tests/unit/http/stream_fixture.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace fieldgate::http {
namespace {

// What other nodes write, and what of it does not come.
using StreamChangesTest = StreamHubTest;

TEST_F(StreamChangesTest, WantsOfOtherNodesWhatSomebodyReadsAndForAWhileLonger) {
  other_nodes = true;
  make();
  auto pump = std::make_optional<Reader>(subscribe("kinds=command&device=pump"));
  loop->run();
  ASSERT_NE(changes, nullptr);
  EXPECT_FALSE(changes->commands.all);
  EXPECT_TRUE(changes->commands.has(*DeviceId::parse("pump")));
  EXPECT_FALSE(changes->commands.has(*DeviceId::parse("valve")));
  EXPECT_TRUE(changes->twins.none());
  auto twins = std::make_optional<Reader>(subscribe("kinds=twin"));
  loop->run();
  EXPECT_TRUE(changes->twins.all);
  twins.reset();
  pump.reset();
  pass(seconds(119));
  hub->tick();
  loop->run();
  EXPECT_TRUE(changes->commands.has(*DeviceId::parse("pump"))) << "who comes back shall have missed nothing";
  pass(seconds(2));
  hub->tick();
  loop->run();
  EXPECT_EQ(changes, nullptr);
  Reader presence(subscribe("kinds=presence"));
  loop->run();
  EXPECT_EQ(changes, nullptr) << "that is known without asking";
}

TEST_F(StreamChangesTest, ResumesWhereNothingOfOtherNodesCanBeMissing) {
  other_nodes = true;
  make();
  Reader first(subscribe("kinds=command,presence"));
  presence(1, 1);
  loop->run();
  const std::string id = first.events().back().id;
  EXPECT_EQ(Reader(subscribe("kinds=command", id)).names(), std::vector<std::string>{"hello"});
  EXPECT_EQ(Reader(subscribe("kinds=command&device=pump", id)).names(), std::vector<std::string>{"hello"})
      << "what is known of all is known of one";
  EXPECT_EQ(Reader(subscribe("kinds=twin", id)).names(), (std::vector<std::string>{"hello", "reset"}));
  hub->missed_changes(3, false);
  loop->run();
  EXPECT_EQ(Reader(subscribe("kinds=command", id)).names(), (std::vector<std::string>{"hello", "reset"}));
  EXPECT_EQ(Reader(subscribe("kinds=presence", id)).names(), std::vector<std::string>{"hello"});
}

TEST_F(StreamChangesTest, TellsWhatOfOtherNodesMayBeMissing) {
  other_nodes = true;
  make();
  Reader commands(subscribe("kinds=command"));
  Reader lanes(subscribe("kinds=lane"));
  hub->missed_changes(0, false);
  loop->run();
  EXPECT_EQ(commands.names(), std::vector<std::string>{"hello"});
  hub->missed_changes(2, false);
  hub->missed_changes(3, false);
  loop->run();
  ASSERT_EQ(commands.names(), (std::vector<std::string>{"hello", "missed"}));
  EXPECT_EQ(commands.events().back().data.at("count").to_number<int>(), 5);
  hub->missed_changes(1, true);
  loop->run();
  ASSERT_EQ(commands.names(), (std::vector<std::string>{"hello", "missed", "missed"}));
  EXPECT_TRUE(commands.events().back().data.at("count").is_null()) << "nobody knows";
  EXPECT_TRUE(commands.events().back().data.at("from").is_null());
  EXPECT_EQ(lanes.names(), std::vector<std::string>{"hello"});
}

}  // namespace
}  // namespace fieldgate::http
