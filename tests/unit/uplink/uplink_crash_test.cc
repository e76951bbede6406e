// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/uplink_log.h"

#include "tests/unit/uplink/durable_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace fieldgate::uplink {
namespace {

using std::chrono::seconds;

// Devices, lanes and a disk under random use, with crashes at random moments.
class World {
 public:
  explicit World(unsigned seed) : random_(seed), may_expire_(seed % 2 == 1) {}

  void live(bool last) {
    FakeLane a("a", true);
    FakeLane b("b", seed_even());
    FakeLane hasty("hasty", true);
    std::vector<LaneSpec> lanes = {{&a, {}, seconds(0)}, {&b, {}, seconds(0)}};
    if (may_expire_) lanes.push_back({&hasty, {}, seconds(40)});
    std::ranges::shuffle(lanes, random_);
    Life life(disk_, 100'000, std::move(lanes));
    life.clock.ms = now_;
    life.begin();
    compare(life.restored);
    watch(a);
    watch(b);
    std::vector<FakeLane*> all = {&a, &b};
    if (may_expire_) all.push_back(&hasty);
    std::map<std::string, std::uint64_t> in;
    for (const LaneStatus& status : life.log.lanes()) in[status.name] = status.records_in;
    const unsigned steps = 100 + random_() % 400;
    for (unsigned step = 0; step < steps; ++step) {
      act(life, all, in);
      for (const LaneStatus& status : life.log.lanes()) {
        ASSERT_EQ(records_in(status), in[status.name]) << status.name << " at step " << step;
      }
    }
    if (last) finish(life, all);
    if (!last && random_() % 4 == 0) life.log.stop(std::chrono::milliseconds(0));
    hear(life.sinks[0]);
    now_ = life.clock.ms;
  }

 private:
  struct Device {
    std::uint64_t next_seq = 1;
    std::uint64_t told_spooled = 0;
    std::uint64_t told_forwarded = 0;
    std::uint64_t epoch = 0;
    bool online = false;
  };

  bool seed_even() const { return !may_expire_; }

  void act(Life& life, const std::vector<FakeLane*>& lanes, std::map<std::string, std::uint64_t>& in) {
    FakeLane& lane = *lanes[random_() % lanes.size()];
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2: {
        const std::size_t records = submit(life);
        for (auto& [name, count] : in) count += records;
        break;
      }
      case 3:
      case 4: lane.take(); break;
      case 5:
      case 6:
        if (!lane.in_hand.empty()) lane.work(1 + random_() % lane.in_hand.size());
        break;
      case 7: life.spool.commit(); break;
      case 8: life.spool.fetch(); break;
      case 9:
        if (random_() % 4 == 0) life.spool.forget();
        break;
      case 10: life.pass(static_cast<std::int64_t>(random_() % 4'000)); break;
      case 11:
        if (random_() % 10 == 0) lane.start_over();
        if (random_() % 10 == 0) static_cast<void>(life.log.pause(lane.name()));
        if (random_() % 5 == 0) static_cast<void>(life.log.resume(lane.name()));
        break;
      default: break;
    }
  }

  std::size_t submit(Life& life) {
    auto block = std::make_shared<RecordBlock>(0);
    const std::size_t records = 1 + random_() % 6;
    for (std::size_t i = 0; i < records; ++i) {
      const std::string id = "device-" + std::to_string(random_() % 4);
      RecordView record;
      record.device = id;
      record.received_unix_ms = life.clock.ms;
      Device& device = devices_[id];
      if (random_() % 8 == 0) {
        device.online = !device.online;
        if (device.online) device.epoch = ++epochs_;
        record.kind = RecordKind::presence;
        record.name = device.online ? "online" : "offline";
      } else {
        record.stream = {1};
        record.seq = {device.next_seq++};
      }
      record.epoch = {device.epoch};
      block->append(record);
    }
    EXPECT_TRUE(life.log.submit(block));
    return records;
  }

  // No lane may ever see a device's seq before all that came before it.
  void watch(FakeLane& lane) {
    lane.on_send = [&sent = sent_[lane.name()]](const RecordView& record) {
      if (record.kind == RecordKind::presence) return;
      std::uint64_t& seq = sent[std::string(record.device)];
      EXPECT_LE(record.seq.value, seq + 1) << record.device;
      seq = std::max(seq, record.seq.value);
    };
  }

  void hear(const FakeSink& sink) {
    std::map<AckStage, LogPosition> told;
    for (const auto& [stage, block] : sink.staged()) {
      LogPosition& before = told[stage];
      if (before.value != 0) {
        EXPECT_EQ(block->first_position().value, before.value + 1);
      }
      before = block->last_position();
      for (std::size_t i = 0; i < block->size(); ++i) {
        const RecordView record = (*block)[i];
        if (record.kind == RecordKind::presence) continue;
        Device& device = devices_[std::string(record.device)];
        std::uint64_t& mark = stage == AckStage::spooled ? device.told_spooled : device.told_forwarded;
        mark = std::max(mark, record.seq.value);
        EXPECT_LE(device.told_forwarded, sent_["a"][std::string(record.device)]);
      }
    }
  }

  // What is restored against all that was ever durable. The devices then send again
  // what it does not know.
  void compare(const std::vector<RestoredDevice>& restored) {
    StreamLedger ledger;
    for (const RecordBlockPtr& block : disk_.ever) ledger.apply(*block);
    ASSERT_EQ(restored.size(), ledger.size());
    std::map<std::string, DeviceMarks> expected;
    for (const DeviceMarks& marks : ledger.all()) expected.emplace(marks.device.str(), marks);
    for (auto& [id, device] : devices_) {
      device.next_seq = 1;
      device.online = false;
      device.epoch = ++epochs_;
    }
    for (const RestoredDevice& device : restored) {
      const DeviceMarks& marks = expected.at(device.id.str());
      const StreamMarks stream = device.streams.all()[0];
      Device& known = devices_[device.id.str()];
      EXPECT_EQ(stream.logged, marks.streams[0].logged);
      EXPECT_EQ(stream.id, marks.streams[0].id);
      EXPECT_EQ(device.was_online, marks.online);
      EXPECT_EQ(device.since_unix_ms, marks.since_unix_ms);
      EXPECT_EQ(device.epoch, marks.epoch);
      EXPECT_GE(stream.spooled.value, known.told_spooled);
      EXPECT_LE(stream.forwarded, stream.logged);
      EXPECT_LE(stream.forwarded.value, sent_["a"][device.id.str()]);
      known.next_seq = stream.logged.value + 1;
    }
    for (const auto& [id, device] : devices_) EXPECT_GE(device.next_seq, device.told_spooled + 1);
  }

  void finish(Life& life, const std::vector<FakeLane*>& lanes) {
    for (FakeLane* lane : lanes) {
      EXPECT_TRUE(life.log.resume(lane->name()));
      lane->start_over();
    }
    life.spool.commit_all();
    for (bool more = true; more;) {
      more = life.spool.fetch();
      for (FakeLane* lane : lanes) {
        while (lane->take()) more = true;
        if (!lane->in_hand.empty()) lane->work(lane->in_hand.size());
      }
    }
    for (const LaneStatus& status : life.log.lanes()) EXPECT_EQ(status.pending_records, 0U) << status.name;
    EXPECT_EQ(life.log.pending(), 0U);
    EXPECT_EQ(life.log.unsaved(), 0U);
    life.pass(30'000);
    life.spool.commit_all();
    life.pass(1'000);
    life.spool.commit_all();
    EXPECT_EQ(life.log.usage().records, 0U);
    hear(life.sinks[0]);
    for (const auto& [id, device] : devices_) {
      EXPECT_EQ(device.told_spooled, device.next_seq - 1);
      for (const char* lane : {"a", "b"}) EXPECT_EQ(sent_[lane][id], device.next_seq - 1) << lane << " " << id;
    }
  }

  std::mt19937 random_;
  const bool may_expire_;
  Disk disk_;
  std::int64_t now_ = 1'000'000;
  std::uint64_t epochs_ = 0;
  std::map<std::string, Device> devices_;
  std::map<std::string, std::map<std::string, std::uint64_t>> sent_;  // by lane, by device: highest seq
};

TEST(Crash, LosesNothingItCalledSpooledWheneverItCrashes) {
  for (unsigned run = 0; run < 150 && !testing::Test::HasFailure(); ++run) {
    SCOPED_TRACE("run " + std::to_string(run));
    World world(run);
    for (int life = 0; life < 8; ++life) world.live(life == 7);
  }
}

}  // namespace
}  // namespace fieldgate::uplink
