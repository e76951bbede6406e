// SPDX-License-Identifier: Apache-2.0
#include "gateway/node_state.h"

#include <gtest/gtest.h>

namespace fieldgate {
namespace {

using Phase = NodeState::Phase;

LaneStatus lane(LaneState state, bool held = false) {
  LaneStatus status;
  status.name = "main";
  status.destination = "broker:1883";
  status.state = state;
  status.held = held;
  return status;
}

SpoolUsage spool(SpoolState state) {
  SpoolUsage usage;
  usage.state = state;
  usage.error = "/data/spool/data.mdb: cause";
  return usage;
}

std::vector<std::string> names(const Readiness& readiness) {
  std::vector<std::string> out;
  for (const Readiness::Reason& reason : readiness.reasons) out.push_back(reason.name + (reason.blocks ? "!" : ""));
  return out;
}

using Names = std::vector<std::string>;

TEST(NodeState, IsReadyWithoutAnyReasonWhenAllIsWell) {
  const Readiness r = NodeState::readiness(Phase::running, {lane(LaneState::running)}, {}, UplinkLevel::normal);
  EXPECT_TRUE(r.ready);
  EXPECT_EQ(names(r), Names{});
}

TEST(NodeState, IsNotReadyWhileItStartsOrDrains) {
  const Readiness starting = NodeState::readiness(Phase::starting, {}, {}, UplinkLevel::normal);
  EXPECT_FALSE(starting.ready);
  EXPECT_EQ(names(starting), Names{"starting!"});
  const Readiness draining = NodeState::readiness(Phase::draining, {}, {}, UplinkLevel::normal);
  EXPECT_FALSE(draining.ready);
  EXPECT_EQ(names(draining), Names{"draining!"});
}

TEST(NodeState, StaysReadyWhateverIsWrongOutsideTheProcess) {
  const Readiness r = NodeState::readiness(Phase::running, {lane(LaneState::backing_off)}, spool(SpoolState::full),
                                           UplinkLevel::withheld);
  EXPECT_TRUE(r.ready);
  EXPECT_EQ(names(r), (Names{"lane_down", "spool_full", "uplink_backlog"}));
}

TEST(NodeState, IsNotReadyOnceTheSpoolHasFailedForItCanKeepNoPromise) {
  const Readiness r = NodeState::readiness(Phase::running, {}, spool(SpoolState::failed), UplinkLevel::normal);
  EXPECT_FALSE(r.ready);
  EXPECT_EQ(names(r), Names{"spool_failed!"});
}

TEST(NodeState, TellsAnOperatorsPauseFromALaneThatIsDown) {
  const auto of = [](const LaneStatus& status) {
    return names(NodeState::readiness(Phase::running, {status}, {}, UplinkLevel::normal));
  };
  EXPECT_EQ(of(lane(LaneState::running, true)), Names{"lane_held"});
  EXPECT_EQ(of(lane(LaneState::paused)), Names{"lane_down"});  // by the far side's refusal
  EXPECT_EQ(of(lane(LaneState::backing_off, true)), (Names{"lane_held", "lane_down"}));
}

TEST(NodeState, ShowsALostStoreByItsNameAndStaysReady) {
  LaneStatus store = lane(LaneState::backing_off);
  store.type = "store";
  const Readiness r = NodeState::readiness(Phase::running, {store}, {}, UplinkLevel::normal);
  EXPECT_TRUE(r.ready);
  EXPECT_EQ(names(r), Names{"store_down"});
}

TEST(NodeState, SaysWhatToDoAboutEachReason) {
  const Readiness r = NodeState::readiness(Phase::running, {lane(LaneState::running, true)}, spool(SpoolState::failed),
                                           UplinkLevel::reduced);
  ASSERT_EQ(r.reasons.size(), 3U);
  EXPECT_NE(r.reasons[0].text.find("POST /api/v1/lanes/main/resume"), std::string::npos);
  EXPECT_NE(r.reasons[1].text.find("/data/spool/data.mdb: cause"), std::string::npos);
  EXPECT_NE(r.reasons[1].text.find("restart"), std::string::npos);
  EXPECT_NE(r.reasons[2].text.find("GET /api/v1/lanes"), std::string::npos);
}

}  // namespace
}  // namespace fieldgate
