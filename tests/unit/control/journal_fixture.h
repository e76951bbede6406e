// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/wire/protobuf_wire.h"
#include "fieldgate/v1/device.pb.h"
#include "gateway/control/journal_lane.h"
#include "tests/support/fake_dead_letters.h"
#include "tests/unit/control/store_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::control {

// An uplink log that can lose its oldest blocks. One thread.
class JournalFeed final : public LaneFeed {
 public:
  explicit JournalFeed(LogPosition start = {1}) : start_(start) {}

  void push(std::shared_ptr<RecordBlock> block) {
    block->set_first_position({next_});
    next_ += block->size();
    blocks_.push_back(std::move(block));
  }
  // Forgets its first `count` blocks.
  void lose(std::size_t count) {
    for (; count > 0 && !blocks_.empty(); --count) blocks_.pop_front();
  }
  // Gives up the oldest of what has not been read, as a log does that runs full: never
  // what came last.
  void lose_unread(std::size_t count) {
    const auto first = std::ranges::find_if(blocks_, [&](const auto& b) { return b->first_position() > handed_; });
    const auto left = blocks_.end() - first;
    if (left > 1) blocks_.erase(first, first + std::min(static_cast<std::ptrdiff_t>(count), left - 1));
  }
  // What another process reads that goes on from `from`.
  JournalFeed from(LogPosition from) const {
    JournalFeed copy = *this;
    copy.start_ = from;
    copy.through = {};
    copy.outcome = {};
    return copy;
  }
  std::uint64_t last() const { return next_ - 1; }
  std::size_t blocks() const { return blocks_.size(); }
  std::uint64_t accounted() const {
    return outcome.forwarded + outcome.filtered + outcome.dead_lettered + outcome.expired;
  }

  RecordBlockPtr read(LogPosition from) const override {
    ++reads;
    if (fetching) return nullptr;
    const auto at =
        std::ranges::lower_bound(blocks_, from, {}, [](const auto& block) { return block->last_position(); });
    if (at == blocks_.end()) return nullptr;
    handed_ = std::max(handed_, (*at)->last_position());
    return *at;
  }
  Fate fate(const RecordView& record) const noexcept override {
    if (record.device == "old") return Fate::expire;
    return record.device == "unwanted" ? Fate::filter : Fate::send;
  }
  LogPosition start() const override { return start_; }
  void completed(LogPosition to, const LaneOutcome& of) override {
    EXPECT_GT(to, through) << "told twice";
    through = to;
    outcome.forwarded += of.forwarded;
    outcome.filtered += of.filtered;
    outcome.dead_lettered += of.dead_lettered;
    outcome.expired += of.expired;
  }

  bool fetching = false;
  mutable std::size_t reads = 0;
  LogPosition through{};
  LaneOutcome outcome{};

 private:
  LogPosition start_;
  std::uint64_t next_ = 1;
  mutable LogPosition handed_{};
  std::deque<std::shared_ptr<RecordBlock>> blocks_;
};

// Records as shards make them.
class BlockMaker {
 public:
  std::string node = "node-1";  // as presence has it

  BlockMaker& presence(const std::string& device, std::uint64_t epoch, bool online, std::string_view boot_id = "boot-1",
                       std::string_view reason = "bye", std::int64_t unix_ms = 1'700'000'000'000) {
    std::string payload;
    wire_.encoder().presence({online, {epoch}, node, boot_id, unix_ms, online ? std::string_view() : reason}, payload);
    return add(RecordKind::presence, device, payload, epoch, {}, {});
  }
  BlockMaker& result(const std::string& device, std::uint64_t seq, const std::string& command,
                     const std::string& text = {}) {
    v1::DeviceFrame frame;
    frame.set_seq(seq);
    frame.mutable_command_result()->set_id(command);
    frame.mutable_command_result()->set_outcome(v1::CommandResult::OUTCOME_SUCCEEDED);
    frame.mutable_command_result()->set_text(text);
    return add(RecordKind::command_reply, device, frame.SerializeAsString(), 3, {7}, {seq});
  }
  BlockMaker& state(const std::string& device, std::uint64_t seq, const std::string& json) {
    v1::DeviceFrame frame;
    frame.set_seq(seq);
    frame.mutable_state()->set_reported_json(json);
    return add(RecordKind::state, device, frame.SerializeAsString(), 3, {7}, {seq});
  }
  BlockMaker& other(RecordKind kind = RecordKind::telemetry) { return add(kind, "pump", "not looked at", 3, {7}, {1}); }
  BlockMaker& garbage(RecordKind kind) { return add(kind, "pump", "\xff\xff", 3, {7}, {1}); }

  bool empty() const { return block_->empty(); }
  std::shared_ptr<RecordBlock> take() { return std::exchange(block_, std::make_shared<RecordBlock>(0)); }

 private:
  BlockMaker& add(RecordKind kind, const std::string& device, const std::string& payload, std::uint64_t epoch,
                  StreamId stream, Seq seq) {
    RecordView record;
    record.kind = kind;
    record.device = device;
    record.epoch = {epoch};
    record.stream = stream;
    record.seq = seq;
    record.received_unix_ms = 1'700'000'000'000;
    record.payload = std::as_bytes(std::span(payload));
    block_->append(record);
    return *this;
  }

  wire::ProtobufWire wire_{LimitSettings{}};
  std::shared_ptr<RecordBlock> block_ = std::make_shared<RecordBlock>(0);
};

// The lane over a store.
struct JournalFixture : StoreFixture {
  JournalFixture() { EXPECT_TRUE(worker.open()); }

  void push(BlockMaker& maker) {
    feed.push(maker.take());
    lane.notify();
  }
  void settle_lane() { pass(std::chrono::milliseconds(20)); }

  wire::ProtobufWire wire{LimitSettings{}};
  test::FakeDeadLetters letters;
  JournalFeed feed;
  BlockMaker make;
  JournalLane lane{worker, wire.reader(), letters, clock, log};
};

}  // namespace fieldgate::control
