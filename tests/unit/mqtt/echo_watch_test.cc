// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/echo_watch.h"

#include <gtest/gtest.h>

namespace fieldgate::mqtt {
namespace {

using namespace std::chrono_literals;
using From = EchoWatch::From;
using All = std::vector<From>;

struct EchoWatchTest : testing::Test {
  EchoWatchTest() {
    watch.begin();
    for (const From from : {From::node, From::presence, From::inbox}) watch.subscribed(from);
  }
  const Monotonic start = Monotonic{} + 1'000s;
  EchoWatch watch;
};

TEST_F(EchoWatchTest, ExpectsNothingOfWhatWasNotPublished) {
  EXPECT_FALSE(watch.due());
  EXPECT_EQ(watch.take_silent(start + 1h), All{});
}

TEST_F(EchoWatchTest, ExpectsNothingWhereNoSubscriptionWasTaken) {
  watch.begin();
  watch.published(From::node, start);
  EXPECT_FALSE(watch.due());
  EXPECT_EQ(watch.take_silent(start + 1h), All{});
}

TEST_F(EchoWatchTest, ExpectsWhatWasPublishedBeforeItHeardThatTheSubscriptionWasTaken) {
  watch.begin();
  watch.published(From::node, start);
  watch.subscribed(From::node);
  EXPECT_EQ(watch.due(), start + EchoWatch::k_silence);
}

TEST_F(EchoWatchTest, IsContentWithWhatComesBack) {
  watch.published(From::node, start);
  ASSERT_TRUE(watch.due());
  watch.heard(From::node);
  EXPECT_FALSE(watch.due());
  EXPECT_TRUE(watch.has_heard(From::node));
  watch.published(From::node, start + 1s);  // once is enough to know
  EXPECT_FALSE(watch.due());
}

TEST_F(EchoWatchTest, NamesWhatDoesNotComeBackOnceInAConnection) {
  watch.published(From::node, start);
  watch.published(From::inbox, start + 2s);
  EXPECT_EQ(watch.due(), start + EchoWatch::k_silence);
  EXPECT_EQ(watch.take_silent(start + EchoWatch::k_silence - 1ms), All{});
  EXPECT_EQ(watch.take_silent(start + EchoWatch::k_silence), All{From::node});
  EXPECT_TRUE(watch.is_silent(From::node));
  EXPECT_EQ(watch.due(), start + 2s + EchoWatch::k_silence);
  EXPECT_EQ(watch.take_silent(start + 1h), All{From::inbox});
  watch.published(From::node, start + 2h);
  EXPECT_FALSE(watch.due());
  watch.begin();
  EXPECT_FALSE(watch.is_silent(From::node));
  watch.subscribed(From::node);
  watch.published(From::node, start + 3h);
  EXPECT_EQ(watch.take_silent(start + 4h), All{From::node});
}

TEST_F(EchoWatchTest, CountsFromTheFirstThatShouldHaveComeBack) {
  watch.published(From::presence, start);
  watch.published(From::presence, start + 5s);
  EXPECT_EQ(watch.due(), start + EchoWatch::k_silence);
}

TEST_F(EchoWatchTest, WaitsWhileOtherThingsComeButNotForever) {
  watch.published(From::node, start);
  watch.stirred(start + 8s);
  EXPECT_EQ(watch.take_silent(start + EchoWatch::k_silence), All{});
  EXPECT_EQ(watch.due(), start + 8s + EchoWatch::k_silence);
  watch.stirred(start + EchoWatch::k_patience - 1s);
  EXPECT_EQ(watch.due(), start + EchoWatch::k_patience);
  EXPECT_EQ(watch.take_silent(start + EchoWatch::k_patience), All{From::node});
}

}  // namespace
}  // namespace fieldgate::mqtt
