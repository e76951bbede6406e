// SPDX-License-Identifier: Apache-2.0
//
// What other nodes of the fleet do to devices that are connected here.
#include "gateway/net/shard.h"
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace fieldgate::test {
namespace {

using namespace std::chrono_literals;

Standing standing(const std::string& id, std::uint64_t epoch) { return {*DeviceId::parse(id), {epoch}}; }

// "online|offline EPOCH", as the log has them.
std::vector<std::string> told(const ShardBench& bench, const std::string& device) {
  std::vector<std::string> out;
  for (const RecordView& record : bench.uplink.records(RecordKind::presence)) {
    if (record.device == device) out.push_back(std::string(record.name) + " " + std::to_string(record.epoch.value));
  }
  return out;
}

struct FleetOfShards : testing::Test {
  void superseded(const std::string& id, std::uint64_t by) {
    bench.home(id).post([this, id, by] { bench.home(id).superseded({standing(id, by)}, "gw-2"); });
    bench.run();
  }
  void renew(const std::string& id, std::uint64_t lost) {
    bench.home(id).post([this, id, lost] {
      bench.home(id).renew(standing(id, lost), [this](Standing one) { failed.push_back(std::move(one)); });
    });
    bench.run();
  }
  ShardBench bench{2};
  std::vector<Standing> failed;
};

TEST_F(FleetOfShards, EndAConnectionThatAnotherNodeHasTaken) {
  TestDevice device(bench, 1);
  const std::uint64_t epoch = device.connect("meter-1").epoch();
  superseded("meter-1", epoch);  // its own, seen from elsewhere
  EXPECT_FALSE(device.eof());
  superseded("meter-1", epoch + 5);
  EXPECT_EQ(device.close_code(), 4014);
  EXPECT_EQ(bench.ended(EndReason::taken_over), 1U);
  EXPECT_EQ(told(bench, "meter-1"),
            (std::vector<std::string>{"online " + std::to_string(epoch), "offline " + std::to_string(epoch)}));
}

TEST_F(FleetOfShards, RefuseAClaimThatIsOlderThanAnotherNodesOne) {
  TestDevice before(bench);
  const std::uint64_t epoch = before.connect("meter-1").epoch();
  before.close();
  bench.run();
  superseded("meter-1", epoch + 5);
  TestDevice late(bench);
  late.upgrade("meter-1");
  late.hello("meter-1");  // admission gives it the next epoch, which is below
  bench.run();
  EXPECT_EQ(late.close_code(), 4014);
  bench.admission.epoch = epoch + 5;
  TestDevice next(bench);
  EXPECT_EQ(next.connect("meter-1").epoch(), epoch + 6);
}

TEST_F(FleetOfShards, LetAConnectionGoOnInANewEpochWithoutAWordToTheDevice) {
  for (const std::uint32_t shard : {0U, 1U}) {
    const std::string id = "meter-" + std::to_string(shard);
    TestDevice device(bench, shard);
    const std::uint64_t lost = device.connect(id).epoch();
    device.telemetry(1);
    bench.run();
    renew(id, lost);
    const std::uint64_t fresh = bench.admission.epoch;
    EXPECT_GT(fresh, lost);
    EXPECT_EQ(told(bench, id),
              (std::vector<std::string>{"online " + std::to_string(lost), "online " + std::to_string(fresh)}));
    EXPECT_EQ(bench.presence.states.at(id).epoch, Epoch{fresh});
    EXPECT_EQ(bench.fleet.changes.back().epoch, Epoch{fresh});
    device.telemetry(2);
    bench.run();
    std::vector<std::uint64_t> epochs;
    for (const RecordView& record : bench.uplink.records()) {
      if (record.device == id) epochs.push_back(record.epoch.value);
    }
    EXPECT_EQ(epochs, (std::vector<std::uint64_t>{lost, fresh}));
    bench.stage_all(AckStage::forwarded);
    bench.pass(1s);
    EXPECT_EQ(device.acked_in_time(2), 2U) << "what was sent in the epoch before is acknowledged too";
    renew(id, lost);  // said again
    EXPECT_EQ(bench.admission.epoch, fresh);
    device.close();
    bench.run();
    EXPECT_EQ(told(bench, id).back(), "offline " + std::to_string(fresh));
  }
}

TEST_F(FleetOfShards, OweAConnectionInANewEpochTheCreditOfWhatItHadSentBefore) {
  ShardBench tight{2, [](net::SessionConfig& config) { config.session.credit_frames = 2; }};
  for (const v1::AckStage stage : {v1::ACK_STAGE_ACCEPTED, v1::ACK_STAGE_FORWARDED}) {
    const std::string id = "meter-" + std::to_string(stage);
    TestDevice device(tight, 1);
    const std::uint64_t lost = device.connect(id, 1, stage).epoch();
    device.telemetry(1);
    device.telemetry(2);
    tight.home(id).post([&] { tight.home(id).renew(standing(id, lost), [](const Standing&) {}); });
    tight.run();
    ASSERT_GT(tight.admission.epoch, lost);
    tight.stage_all(AckStage::forwarded);
    tight.pass(1s);
    EXPECT_EQ(device.acked_in_time(2), 2U);
    device.telemetry(3);
    device.telemetry(4);
    tight.run();
    EXPECT_EQ(tight.ended(EndReason::flow_violation), 0U);
    tight.stage_all(AckStage::forwarded);
    tight.pass(1s);
    EXPECT_EQ(device.acked_in_time(4), 4U);
  }
}

TEST_F(FleetOfShards, SayWhenThereIsNoEpochAndEndWhoIsNotLetIn) {
  TestDevice device(bench);
  const std::uint64_t lost = device.connect("meter-1").epoch();
  bench.admission.refusal = EndReason::no_epoch;
  renew("meter-1", lost);
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].epoch, Epoch{lost});
  EXPECT_FALSE(device.eof()) << "it goes on, and is tried again";
  bench.admission.refusal = EndReason::device_disabled;
  renew("meter-1", lost);
  EXPECT_TRUE(device.close_code());
  EXPECT_EQ(bench.ended(EndReason::device_disabled), 1U);
}

TEST_F(FleetOfShards, FenceByTheNewEpochOnceThereIsOne) {
  TestDevice first(bench, 1);
  const std::uint64_t lost = first.connect("meter-1").epoch();
  renew("meter-1", lost);
  TestDevice second(bench);
  const std::uint64_t epoch = second.connect("meter-1").epoch();
  EXPECT_EQ(first.close_code(), 4014);
  EXPECT_EQ(told(bench, "meter-1").back(), "online " + std::to_string(epoch));
}

TEST_F(FleetOfShards, EndTheConnectionOfThatEpochAlone) {
  TestDevice device(bench, 1);
  const std::uint64_t epoch = device.connect("meter-1").epoch();
  const auto end = [&](std::uint64_t of) {
    bench.home("meter-1").post(
        [this, of] { bench.home("meter-1").end_connection(standing("meter-1", of), EndReason::kicked); });
    bench.run();
  };
  end(epoch - 1);
  EXPECT_FALSE(device.eof());
  end(epoch);
  EXPECT_EQ(bench.ended(EndReason::kicked), 1U);
}

TEST_F(FleetOfShards, TellOfLostConnectionsButNotOfDevicesThatAreHere) {
  TestDevice device(bench);
  device.connect("here");
  const auto lose = [&](const std::string& id) {
    bench.home(id).post([this, id] {
      bench.home(id).tell_lost({{*DeviceId::parse(id), {3}, "gw-2", "boot-2", 1'700'000'000'000, {}}});
    });
  };
  lose("here");
  lose("gone");
  bench.run();
  EXPECT_EQ(told(bench, "here").size(), 1U);
  EXPECT_EQ(told(bench, "gone"), std::vector<std::string>{"offline 3"});
  EXPECT_FALSE(bench.presence.states.contains("gone")) << "the retained view is its owner's";
}

TEST_F(FleetOfShards, CompareWhatIsBelievedWithWhatIs) {
  TestDevice here(bench, 1);
  const std::uint64_t live = here.connect("here").epoch();
  TestDevice left(bench);
  const std::uint64_t ended = left.connect("left").epoch();
  left.break_off();
  bench.run();
  std::vector<DeviceSummary> otherwise;
  std::vector<DeviceSummary> connected;
  for (const Standing& one : {standing("here", live), standing("left", ended), standing("never", 4)}) {
    net::Shard& home = bench.home(one.device.str());
    home.post([&, one] {
      home.compare({one}, [&](std::vector<DeviceSummary> some) {
        for (auto& summary : some) otherwise.push_back(std::move(summary));
      });
    });
  }
  for (const std::uint32_t i : {0U, 1U}) {
    bench.shard(i).post([&, i] {
      bench.shard(i).list(0, [&](std::vector<DeviceSummary> some) {
        for (auto& summary : some) connected.push_back(std::move(summary));
      });
    });
  }
  bench.run();
  ASSERT_EQ(otherwise.size(), 2U);
  for (const DeviceSummary& one : otherwise) {
    EXPECT_FALSE(one.online);
    EXPECT_EQ(one.epoch, one.id.str() == "left" ? Epoch{ended} : Epoch{4});
    EXPECT_EQ(one.reason, one.id.str() == "left" ? "unclean_close" : "node_lost");
  }
  ASSERT_EQ(connected.size(), 1U);
  EXPECT_EQ(connected[0].id.str(), "here");
  EXPECT_EQ(connected[0].epoch, Epoch{live});
}

}  // namespace
}  // namespace fieldgate::test
