// SPDX-License-Identifier: Apache-2.0
//
// What a device sends, when, and what it holds the gateway to.
#include "tests/sim/device.h"

#include "tests/unit/sim/fake_link.h"

#include <gtest/gtest.h>

#include <numeric>

namespace fieldgate::sim {
namespace {

using Seqs = std::vector<std::uint64_t>;

Seqs from_to(std::uint64_t first, std::uint64_t last) {
  Seqs seqs(last - first + 1);
  std::iota(seqs.begin(), seqs.end(), first);
  return seqs;
}

TEST_F(DeviceTest, SendsAtItsRateInUnbrokenSequence) {
  make();
  go_online();
  Seqs all;
  for (int i = 0; i < 50; ++i) {
    pass(100 * k_ms);
    for (const std::uint64_t seq : link_.take_seqs()) {
      all.push_back(seq);
      ack(seq);
    }
  }
  EXPECT_GE(all.size(), 49u);
  EXPECT_LE(all.size(), 51u);
  EXPECT_EQ(all, from_to(1, all.size()));
  EXPECT_EQ(stats().frames_acked, all.size());
}

TEST_F(DeviceTest, NeverHasMoreFramesUnacknowledgedThanItsCredit) {
  make();
  go_online();
  pass(5 * k_second_us);
  EXPECT_EQ(link_.take_seqs(), from_to(1, 8));  // credit: 8
  ack(3);
  EXPECT_EQ(link_.take_seqs(), from_to(9, 11));
  EXPECT_EQ(device_->unacked() + 3, stats().frames_made);
}

TEST_F(DeviceTest, NeverHasMoreBytesUnacknowledgedThanItsCredit) {
  make();
  go_online();
  throttle(100, 1'000);
  pass(5 * k_second_us);
  std::size_t bytes = 0;
  std::size_t largest = 0;
  for (const v1::DeviceFrame& frame : link_.sent) {
    bytes += frame.ByteSizeLong();
    largest = std::max(largest, frame.ByteSizeLong());
  }
  EXPECT_LE(bytes, 1'000u);
  EXPECT_GT(bytes + largest, 1'000u);  // and uses what it has
}

TEST_F(DeviceTest, ThrottleToNothingStopsItAndMoreCreditStartsItAgain) {
  make();
  go_online();
  throttle(0, 0);
  pass(k_second_us);
  EXPECT_TRUE(link_.take_seqs().empty());
  throttle(4, 10'000);
  EXPECT_EQ(link_.take_seqs(), from_to(1, 4));
  EXPECT_EQ(stats().throttles, 2u);
}

TEST_F(DeviceTest, HoldsDataBackWhileTheConnectionIsCongested) {
  make();
  go_online();
  link_.is_congested = true;
  pass(k_second_us);
  EXPECT_TRUE(link_.take_seqs().empty());
  link_.is_congested = false;
  device_->on_writable(now_);
  EXPECT_FALSE(link_.take_seqs().empty());
}

TEST_F(DeviceTest, StaysBelowTheRatesOfTheLimits) {
  settings_.frames_per_second = 1'000;
  make();
  open();
  link_.sent.clear();
  v1::GatewayFrame frame = welcome();
  frame.mutable_welcome()->mutable_credit()->set_frames(100'000);
  frame.mutable_welcome()->mutable_credit()->set_bytes(100'000'000);
  frame.mutable_welcome()->mutable_limits()->set_frames_per_second(100);
  receive(frame);
  for (int i = 0; i < 10; ++i) {
    pass(k_second_us);
    const Seqs seqs = link_.take_seqs();
    EXPECT_LE(seqs.size(), i == 0 ? 146u : 100u);  // at first, half a second's worth is saved up
    EXPECT_GE(seqs.size(), 80u);
  }
}

TEST_F(DeviceTest, DoesNotSendAgainWhatTheGatewayAlreadyHas) {
  make();
  go_online();
  pass(k_second_us);
  ASSERT_EQ(link_.take_seqs(), from_to(1, 8));
  device_->on_lost(Loss::reset, now_);
  pass(k_second_us);
  device_->on_open(now_);
  receive(welcome(2, 5));
  // 1 and 2 are done with, 3 to 5 are there: they count against the credit of 8.
  EXPECT_EQ(link_.take_seqs(), from_to(6, 10));
  EXPECT_EQ(stats().frames_resent, 3u);
  EXPECT_EQ(device_->ledger_entry().acked, 2u);
  ack(5);
  EXPECT_EQ(link_.take_seqs().size(), 3u);
}

TEST_F(DeviceTest, SendsEverythingAgainToAGatewayThatForgot) {
  make();
  go_online();
  pass(k_second_us);
  link_.take_seqs();
  ack(3);
  link_.take_seqs();
  device_->on_lost(Loss::reset, now_);
  pass(k_second_us);
  device_->on_open(now_);
  receive(welcome(0, 0));
  EXPECT_EQ(link_.take_seqs(), from_to(4, 11));
  EXPECT_EQ(device_->ledger_entry().acked, 3u);
}

TEST_F(DeviceTest, CountsWhatAGatewayForgotAlthoughItHadSaidSpooled) {
  make();
  open();
  v1::GatewayFrame spooled = welcome();
  spooled.mutable_welcome()->set_ack_stage(v1::ACK_STAGE_SPOOLED);
  receive(spooled);
  pass(k_second_us);
  ack(5);
  const auto come_back = [&](std::uint64_t acked, std::uint64_t received) {
    device_->on_lost(Loss::reset, now_);
    pass(k_second_us);
    device_->on_open(now_);
    spooled.mutable_welcome()->set_acked_through(acked);
    spooled.mutable_welcome()->set_received_through(received);
    receive(spooled);
  };
  come_back(5, 5);
  EXPECT_EQ(stats().acked_forgotten, 0u);
  // At another stage less may be acknowledged, but no less is there.
  spooled.mutable_welcome()->set_ack_stage(v1::ACK_STAGE_FORWARDED);
  come_back(3, 5);
  EXPECT_EQ(stats().acked_forgotten, 0u);
  come_back(3, 4);
  EXPECT_EQ(stats().acked_forgotten, 1u);
}

TEST_F(DeviceTest, AnAckForFramesOfAnEarlierConnectionSparesSendingThem) {
  make();
  go_online();
  pass(k_second_us);
  link_.take_seqs();
  device_->on_lost(Loss::reset, now_);
  pass(k_second_us);
  device_->on_open(now_);
  v1::GatewayFrame none = welcome(0, 0);
  none.mutable_welcome()->mutable_credit()->set_frames(0);
  receive(none);
  ack(8);
  throttle(4, 10'000);
  EXPECT_EQ(link_.take_seqs(), from_to(9, 12));
}

TEST_F(DeviceTest, AFullBufferWithholdsNewFramesAndSkipsNoNumber) {
  settings_.buffer_frames_max = 16;
  make();
  go_online();
  throttle(0, 0);
  pass(10 * k_second_us);
  EXPECT_EQ(device_->unacked(), 16u);
  EXPECT_GT(stats().frames_withheld, 50u);
  throttle(1'000, 1'000'000);
  EXPECT_EQ(link_.take_seqs(), from_to(1, 16));
  ack(16);
  pass(k_second_us);
  EXPECT_EQ(link_.take_seqs().front(), 17u);
}

TEST_F(DeviceTest, BurstsComeTogetherAtTheSameAverageRate) {
  settings_.profile = Profile::burst;
  settings_.burst_frames = 5;
  make();
  go_online();
  std::vector<std::size_t> sizes;
  std::size_t total = 0;
  for (int i = 0; i < 1'000; ++i) {
    pass(10 * k_ms);
    const Seqs seqs = link_.take_seqs();
    if (seqs.empty()) continue;
    sizes.push_back(seqs.size());
    total += seqs.size();
    ack(seqs.back());
  }
  EXPECT_TRUE(std::ranges::all_of(sizes, [](std::size_t size) { return size == 5; }));
  EXPECT_NEAR(static_cast<double>(total), 100.0, 5.0);
}

TEST_F(DeviceTest, MixesInEventsStatesAndOpaquesAsAsked) {
  settings_.event_every = 4;
  settings_.state_every = 6;
  settings_.opaque_every = 10;
  make();
  go_online();
  throttle(100, 100'000);
  pass(2 * k_second_us);
  ASSERT_GE(link_.sent.size(), 12u);
  for (const v1::DeviceFrame& frame : link_.sent) {
    const auto kind = frame.kind_case();
    const auto wanted = frame.seq() % 4 == 0    ? v1::DeviceFrame::kEvent
                        : frame.seq() % 6 == 0  ? v1::DeviceFrame::kState
                        : frame.seq() % 10 == 0 ? v1::DeviceFrame::kOpaque
                                                : v1::DeviceFrame::kTelemetry;
    EXPECT_EQ(kind, wanted) << frame.seq();
  }
}

TEST_F(DeviceTest, SilentSendsNoData) {
  settings_.profile = Profile::silent;
  make();
  go_online();
  pass(20 * k_second_us);
  EXPECT_TRUE(link_.take_seqs().empty());
}

TEST_F(DeviceTest, AsksForTheTimeAndMeasuresTheRoundTrip) {
  settings_.profile = Profile::silent;
  settings_.time_request_us = 10 * k_second_us;
  make();
  go_online();
  while (link_.sent.empty()) pass(k_ms);
  const std::uint64_t token = link_.sent.back().time_request().token();
  pass(25 * k_ms);
  v1::GatewayFrame answer;
  answer.mutable_time()->set_token(token);
  receive(answer);
  EXPECT_EQ(stats().rtt_us.count(), 1u);
  EXPECT_NEAR(static_cast<double>(stats().rtt_us.max_us()), 25'000, 1'100);
}

TEST_F(DeviceTest, RejectedFramesGoIntoTheBooksAndAreCoveredByTheAck) {
  make();
  go_online();
  pass(k_second_us);
  v1::GatewayFrame frame;
  frame.mutable_reject()->set_seq(2);
  receive(frame);
  ack(4);
  ASSERT_EQ(context_->rejected.size(), 1u);
  EXPECT_EQ(context_->rejected[0].seq, 2u);
  EXPECT_EQ(context_->rejected[0].stream, device_->ledger_entry().stream);
  EXPECT_EQ(device_->ledger_entry().acked, 4u);
  EXPECT_EQ(stats().violations_total(), 0u);
}

TEST_F(DeviceTest, HoldsTheGatewayToTheProtocol) {
  make();
  open();
  ack(1);
  EXPECT_EQ(violations("message_before_welcome"), 1u);
  receive(welcome());
  receive(welcome());
  EXPECT_EQ(violations("second_welcome"), 1u);
  pass(k_second_us);
  ack(4);
  ack(3);
  EXPECT_EQ(violations("ack_goes_back"), 1u);
  ack(500);
  EXPECT_EQ(violations("acked_what_was_not_sent"), 1u);
  v1::GatewayFrame late;
  late.mutable_reject()->set_seq(1);
  receive(late);
  EXPECT_EQ(violations("reject_after_ack"), 1u);
  device_->on_message("\xff\xff", now_);
  EXPECT_EQ(violations("unreadable_message"), 1u);
}

TEST_F(DeviceTest, HoldsWelcomeToTheProtocol) {
  make();
  open();
  v1::GatewayFrame frame = welcome(0, 7);
  frame.mutable_welcome()->set_epoch(0);
  frame.mutable_welcome()->clear_ack_stage();
  receive(frame);
  EXPECT_EQ(violations("epoch_range"), 1u);
  EXPECT_EQ(violations("no_stage_granted"), 1u);
  EXPECT_EQ(violations("received_what_was_not_sent"), 1u);
}

TEST_F(DeviceTest, IgnoresKindsItDoesNotKnow) {
  make();
  go_online();
  receive(v1::GatewayFrame());
  EXPECT_EQ(stats().violations_total(), 0u);
  EXPECT_TRUE(device_->online());
}

TEST_F(DeviceTest, CountsACommandItNeverSaidItCouldTake) {
  make();
  go_online();
  v1::GatewayFrame command;
  command.mutable_command()->set_id("1");
  receive(command);
  EXPECT_EQ(violations("told_what_it_cannot_do"), 1u);
  EXPECT_TRUE(device_->online());
}

TEST_F(DeviceTest, DeliversWhatItHasAfterItStopsMakingMore) {
  make();
  go_online();
  pass(5 * k_second_us);
  device_->stop_making();
  const std::uint64_t given = device_->ledger_entry().given;
  while (device_->unacked() > 0) {
    const Seqs seqs = link_.take_seqs();
    ASSERT_FALSE(seqs.empty());
    ack(seqs.back());
    pass(k_second_us);
  }
  EXPECT_EQ(device_->ledger_entry().given, given);
  EXPECT_EQ(device_->ledger_entry().acked, given);
}

}  // namespace
}  // namespace fieldgate::sim
