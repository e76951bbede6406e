// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/stream_marks.h"

#include <gtest/gtest.h>

namespace fieldgate {
namespace {

TEST(StreamTable, KeepsTwoStreamsAndForgetsTheOlder) {
  StreamTable table;
  table.open({1}, {1}, {0})->received = {10};
  table.open({2}, {1}, {0})->received = {20};
  EXPECT_EQ(table.open({1}, {1}, {10})->received, Seq{10}) << "the stream before this one is remembered";
  table.open({3}, {1}, {0});
  EXPECT_EQ(table.find({2}), nullptr);
  EXPECT_NE(table.find({1}), nullptr);
}

TEST(StreamTable, IsCopiedWithBothStreams) {
  StreamTable table;
  table.open({1}, {1}, {0})->received = {10};
  const StreamTable one = table;
  table.open({2}, {1}, {0})->received = {20};
  StreamTable both = table;
  table.open({1}, {1}, {10})->received = {11};
  EXPECT_EQ(both.open({2}, {1}, {20})->received, Seq{20});
  EXPECT_EQ(both.find({1})->received, Seq{10}) << "the copy's own";
  both = one;
  EXPECT_EQ(both.all()[0].id, StreamId{1});
  EXPECT_EQ(both.all()[1].id, StreamId{0});
}

TEST(StreamTable, RefusesAStreamWhoseCounterWasStartedAnew) {
  StreamTable table;
  table.open({1}, {1}, {0})->received = {10};
  EXPECT_EQ(table.open({1}, {1}, {9}), nullptr);
  EXPECT_NE(table.open({1}, {5}, {10}), nullptr);
}

TEST(StreamTable, DoesNotCountWhatAnUnknownStreamSentBeforeAsAGap) {
  StreamTable table;
  EXPECT_EQ(table.open({1}, {501}, {700})->gap_base, Seq{500});
  EXPECT_EQ(table.open({2}, {0}, {42})->gap_base, Seq{42}) << "nothing held: the next one is last + 1";
}

TEST(StreamTable, FindsNothingForNoStream) {
  StreamTable table;
  EXPECT_EQ(table.find({0}), nullptr);
}

TEST(AckThrough, CoversRejectedFramesOnlyOnceNothingBeforeThemIsInTheLog) {
  StreamMarks marks;
  marks.received = {5};  // 5 was rejected
  marks.logged = {4};
  EXPECT_EQ(ack_through(marks, {3}), Seq{3});
  EXPECT_EQ(ack_through(marks, {4}), Seq{5});
}

TEST(StreamMarks, RiseAndNeverFall) {
  StreamMarks marks;
  marks.received = {9};
  marks.raise(AckStage::spooled, {5});
  marks.raise(AckStage::spooled, {4});
  marks.raise(AckStage::forwarded, {3});
  marks.raise(AckStage::accepted, {100});
  EXPECT_EQ(marks.through(AckStage::spooled), Seq{5});
  EXPECT_EQ(marks.through(AckStage::forwarded), Seq{3});
  EXPECT_EQ(marks.through(AckStage::accepted), Seq{9});
}

}  // namespace
}  // namespace fieldgate
