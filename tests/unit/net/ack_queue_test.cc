// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/ack_queue.h"

#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::net {
namespace {

using Slots = std::vector<std::uint32_t>;

Slots round(AckQueue& acks, std::uint32_t now_ms) {
  Slots slots;
  acks.begin(now_ms);
  while (const auto session = acks.take()) slots.push_back(session->slot);
  return slots;
}

TEST(AckQueue, SendsEachWhenItIsDueAndNotWithTheFirst) {
  AckQueue acks;
  acks.add({1, 0}, 1'000, 50);
  acks.add({2, 0}, 1'020, 50);
  acks.add({3, 0}, 1'040, 50);
  EXPECT_EQ(acks.wait_ms(1'010), 40U);
  EXPECT_EQ(round(acks, 1'050), Slots{1});
  EXPECT_EQ(acks.wait_ms(1'051), 19U);
  EXPECT_EQ(round(acks, 1'070), Slots{2});
  EXPECT_EQ(round(acks, 1'090), Slots{3});
  EXPECT_TRUE(acks.empty());
}

TEST(AckQueue, TakesWhoIsDueWithinATenthOfTheWaitAlongWithTheFirst) {
  AckQueue acks;
  for (std::uint32_t i = 0; i < 10; ++i) acks.add({i, 0}, 1'000 + i, 50);
  EXPECT_EQ(round(acks, 1'050), (Slots{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(acks.wait_ms(1'050), 6U);
  EXPECT_EQ(round(acks, 1'056), (Slots{6, 7, 8, 9}));
}

TEST(AckQueue, TakesNobodyMoreThanFiveMillisecondsEarly) {
  AckQueue acks;
  acks.add({1, 0}, 0, 60'000);
  acks.add({2, 0}, 5, 60'000);
  acks.add({3, 0}, 6, 60'000);
  EXPECT_EQ(round(acks, 60'000), (Slots{1, 2}));
}

TEST(AckQueue, MakesUpForARoundThatComesLate) {
  AckQueue acks;
  acks.add({1, 0}, 0, 50);
  acks.add({2, 0}, 40, 50);
  acks.add({3, 0}, 80, 50);
  EXPECT_EQ(acks.wait_ms(100), 0U);
  EXPECT_EQ(round(acks, 100), (Slots{1, 2}));
}

TEST(AckQueue, LeavesToTheNextRoundWhoComesDuringOne) {
  AckQueue acks;
  acks.add({1, 0}, 0, 50);
  acks.begin(50);
  acks.add({2, 0}, 50, 50);
  EXPECT_EQ(acks.take()->slot, 1U);
  EXPECT_FALSE(acks.take());
  EXPECT_EQ(acks.wait_ms(50), 50U);
}

// A shorter wait comes into force by a new configuration: it does not overtake what was promised before.
TEST(AckQueue, KeepsItsOrderWhenTheWaitChanges) {
  AckQueue acks;
  acks.add({1, 0}, 0, 50);
  acks.add({2, 0}, 10, 0);
  EXPECT_EQ(acks.wait_ms(10), 40U);
  EXPECT_EQ(round(acks, 50), (Slots{1, 2}));
}

TEST(AckQueue, HoldsAcrossTheEndOfTheClock) {
  AckQueue acks;
  const std::uint32_t late = 0xFFFF'FFF0;
  acks.add({1, 0}, late, 50);
  acks.add({2, 0}, late + 30, 50);
  EXPECT_EQ(acks.wait_ms(late), 50U);
  EXPECT_EQ(round(acks, late + 50), Slots{1});
  EXPECT_EQ(acks.wait_ms(late + 60), 20U);
  EXPECT_EQ(round(acks, late + 80), Slots{2});
}

// Whoever is ready meanwhile is served between.
TEST(Shard, SendsAcksThatAreDueTogetherInPortions) {
  test::ShardBench bench(1, [](SessionConfig& config) {
    config.session.ack_every = std::chrono::milliseconds(0);
    config.session.ack_every_frames = 1'000;
  });
  std::vector<std::unique_ptr<test::TestDevice>> devices;
  for (int i = 0; i < 50; ++i) {
    devices.push_back(std::make_unique<test::TestDevice>(bench));
    devices.back()->connect("d" + std::to_string(i));
    devices.back()->telemetry(1);
  }
  for (const auto& block : bench.uplink.blocks) bench.shard().staged(AckStage::forwarded, block);
  const auto sent = [&bench] { return bench.shard().probe().acks_out.get(); };
  std::uint64_t most = 0;
  for (std::uint64_t before = 0; before < devices.size(); before = sent()) {
    bench.shard().io().restart();
    bench.shard().io().poll_one();
    most = std::max(most, sent() - before);
  }
  EXPECT_EQ(most, 16U);
  for (const auto& device : devices) EXPECT_EQ(device->acked(), 1U);
}

}  // namespace
}  // namespace fieldgate::net
