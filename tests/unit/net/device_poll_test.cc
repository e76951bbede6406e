// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/device_poll.h"

#include "gateway/net/device_socket.h"
#include "tests/support/shard_bench.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <set>
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

}  // namespace
}  // namespace fieldgate::test
