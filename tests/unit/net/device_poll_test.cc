// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/device_poll.h"

#include "gateway/net/device_socket.h"
#include "tests/support/shard_bench.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace fieldgate::test {
namespace {

using net::DevicePoll;
using net::DeviceSocket;

struct Pair {
  explicit Pair(std::array<int, 2> ends) : ours(ends[0]), theirs(ends[1]) {}
  static Pair make() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    return Pair(ends);
  }
  void speak() const { EXPECT_EQ(::send(theirs.fd(), "x", 1, MSG_NOSIGNAL), 1); }
  void hear() const {
    char byte = 0;
    EXPECT_EQ(::recv(ours.fd(), &byte, 1, 0), 1);
  }
  DeviceSocket ours;
  DeviceSocket theirs;
};

class DevicePollTest : public testing::Test {
 protected:
  boost::asio::io_context io_{1};
  DevicePoll poll_{io_};
};

TEST_F(DevicePollTest, GivesEachReadySocketItsTurnWhenThereAreMoreThanOneTurnTakes) {
  constexpr std::uint32_t count = DevicePoll::k_turn_max + 50;
  std::vector<Pair> pairs;
  for (std::uint32_t i = 0; i < count; ++i) {
    pairs.push_back(Pair::make());
    ASSERT_TRUE(poll_.add(pairs.back().ours.fd(), {i, i + 7}));
    pairs.back().speak();
  }
  std::set<std::uint32_t> seen;
  for (const std::size_t expected : {DevicePoll::k_turn_max, std::size_t{50}, std::size_t{0}}) {
    const auto events = poll_.take();
    ASSERT_EQ(events.size(), expected);
    for (const epoll_event& event : events) {
      const DevicePoll::Ready ready = DevicePoll::ready(event);
      EXPECT_TRUE(ready.readable);
      EXPECT_FALSE(ready.writable);
      EXPECT_EQ(ready.session.generation, ready.session.slot + 7);
      EXPECT_TRUE(seen.insert(ready.session.slot).second);
      pairs[ready.session.slot].hear();
    }
  }
}

TEST_F(DevicePollTest, TellsOfASocketAgainUntilItHasBeenRead) {
  const Pair pair = Pair::make();
  ASSERT_TRUE(poll_.add(pair.ours.fd(), {1, 1}));
  EXPECT_TRUE(poll_.take().empty());
  pair.speak();
  EXPECT_EQ(poll_.take().size(), 1U);
  EXPECT_EQ(poll_.take().size(), 1U);
  pair.hear();
  EXPECT_TRUE(poll_.take().empty());
}

TEST_F(DevicePollTest, TellsOfRoomToWriteOnlyWhileItIsWanted) {
  const Pair pair = Pair::make();
  ASSERT_TRUE(poll_.add(pair.ours.fd(), {1, 1}));
  ASSERT_TRUE(poll_.watch_writable(pair.ours.fd(), {1, 1}, true));
  ASSERT_EQ(poll_.take().size(), 1U);
  const DevicePoll::Ready ready = DevicePoll::ready(poll_.take().front());
  EXPECT_TRUE(ready.writable);
  EXPECT_FALSE(ready.readable);
  ASSERT_TRUE(poll_.watch_writable(pair.ours.fd(), {1, 1}, false));
  EXPECT_TRUE(poll_.take().empty());
}

TEST_F(DevicePollTest, ForgetsASocketThatIsClosed) {
  Pair pair = Pair::make();
  ASSERT_TRUE(poll_.add(pair.ours.fd(), {1, 1}));
  pair.speak();
  pair.ours.close();
  EXPECT_TRUE(poll_.take().empty());
}

TEST_F(DevicePollTest, TellsOfNoMoreOfAPausedSocketUntilItIsResumed) {
  Pair pair = Pair::make();
  ASSERT_TRUE(poll_.add(pair.ours.fd(), {1, 1}));
  pair.speak();
  pair.theirs.close();
  ASSERT_EQ(poll_.take().size(), 1U);
  EXPECT_TRUE(DevicePoll::ready(poll_.take().front()).hung_up);
  ASSERT_TRUE(poll_.pause(pair.ours.fd(), {1, 1}));
  EXPECT_TRUE(poll_.take().empty());
  ASSERT_TRUE(poll_.resume(pair.ours.fd(), {1, 1}));
  ASSERT_EQ(poll_.take().size(), 1U);
  EXPECT_TRUE(DevicePoll::ready(poll_.take().front()).readable);
  EXPECT_FALSE(DevicePoll::ready(poll_.take().front()).hung_up) << "once is enough";
}

TEST_F(DevicePollTest, WakesTheLoopThatItIsPartOf) {
  const Pair pair = Pair::make();
  ASSERT_TRUE(poll_.add(pair.ours.fd(), {1, 1}));
  int turns = 0;
  poll_.wait([&turns](error_code ec) { turns += ec ? 100 : 1; });
  EXPECT_EQ(io_.poll(), 0U);
  pair.speak();
  EXPECT_EQ(io_.run_one(), 1U);
  EXPECT_EQ(turns, 1);
}

TEST(Shard, EndsASessionWhoseSocketItCannotWatch) {
  ShardBench bench;
  const int unwatchable = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  bench.shard().adopt(unwatchable, {boost::asio::ip::address_v4::loopback(), 40'000});
  bench.run();
  EXPECT_EQ(bench.ended(EndReason::descriptors), 1U);
  EXPECT_EQ(bench.shard().probe().connections.get(), 0);
  EXPECT_EQ(::fcntl(unwatchable, F_GETFD), -1) << "it is closed";
}

// Steps of handshakes are dear, and all who are cut off at once take them at once.
TEST(Shard, WhoIsLetInIsServedBeforeAllNewcomersThatAreReady) {
  ShardBench bench;
  TestDevice stays(bench);
  stays.connect("stays");
  constexpr std::size_t many = 5 * net::Shard::k_newcomers_per_turn + 1;
  std::vector<std::unique_ptr<TestDevice>> newcomers;
  for (std::size_t i = 0; i < many; ++i) newcomers.push_back(std::make_unique<TestDevice>(bench));
  bench.run();
  for (const auto& device : newcomers) device->slip_in("?\r\n\r\n");
  stays.slip_in(TestDevice::make_ws(0x82, TestDevice::make_telemetry(1, 1.0).SerializeAsString()));

  const auto refused = [&bench] { return bench.ended(EndReason::upgrade_malformed); };
  std::size_t turns = 0;
  for (std::uint64_t before = 0; refused() < many; before = refused()) {
    for (bench.shard().io().restart(); refused() == before;) ASSERT_GT(bench.shard().io().poll_one(), 0U);
    ASSERT_LE(refused() - before, net::Shard::k_newcomers_per_turn);
    if (++turns == 1) {
      ASSERT_EQ(bench.uplink.blocks.back()->size(), 1U);
      EXPECT_EQ((*bench.uplink.blocks.back())[0].kind, RecordKind::telemetry);
    }
  }
  EXPECT_EQ(turns, 6U);
}

class ManyHangUp : public testing::Test {
 protected:
  static constexpr std::uint64_t k_many = 5 * net::Shard::k_partings_max + 7;

  ManyHangUp() {
    for (std::uint64_t i = 0; i < k_many; ++i) {
      gone_.push_back(std::make_unique<TestDevice>(bench_));
      gone_.back()->connect("gone-" + std::to_string(i));
    }
    stays_.connect("stays");
    bench_.clock.advance(std::chrono::seconds(1));
  }
  std::uint64_t ended() const { return bench_.ended(EndReason::unclean_close); }
  std::size_t telemetry() const {
    std::size_t records = 0;
    for (const auto& block : bench_.uplink.blocks) {
      for (std::size_t i = 0; i < block->size(); ++i) records += (*block)[i].kind == RecordKind::telemetry ? 1 : 0;
    }
    return records;
  }
  // Ten milliseconds, and what they have room for.
  void step() {
    bench_.clock.advance(std::chrono::milliseconds(10));
    bench_.shard().tick();
    bench_.run();
  }

  ShardBench bench_;
  TestDevice stays_{bench_};
  std::vector<std::unique_ptr<TestDevice>> gone_;
};

TEST_F(ManyHangUp, ThoseWhoStayAreServedBeforeAllOfThemAreSeenTo) {
  for (auto& device : gone_) device->break_off();
  stays_.telemetry(1);
  EXPECT_EQ(telemetry(), 1U);
  EXPECT_EQ(ended(), net::Shard::k_partings_max);
  for (std::uint64_t steps = 2; ended() < k_many; ++steps) {
    step();
    ASSERT_EQ(ended(), std::min(k_many, steps * net::Shard::k_partings_max));
  }
  EXPECT_EQ(bench_.shard().probe().connections.get(), 1);
}

TEST_F(ManyHangUp, WhatWasSentBeforeIsStillTaken) {
  const std::string last = TestDevice::make_telemetry(1, 1.0).SerializeAsString();
  for (auto& device : gone_) device->break_off(TestDevice::make_ws(0x82, last));
  while (ended() < k_many) step();
  EXPECT_EQ(telemetry(), k_many);
}

TEST_F(ManyHangUp, OneWhoComesBackBeforeItIsSeenToTakesOver) {
  for (auto& device : gone_) device->break_off();
  bench_.run();
  TestDevice back(bench_);
  back.connect("gone-" + std::to_string(k_many - 1));
  EXPECT_EQ(bench_.ended(EndReason::taken_over), 1U);
  while (ended() + 1 < k_many) step();
  EXPECT_TRUE(bench_.presence.states["gone-" + std::to_string(k_many - 1)].online);
  EXPECT_FALSE(bench_.presence.states["gone-0"].online);
}

}  // namespace
}  // namespace fieldgate::test
