// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/mqtt/lane_fixture.h"

#include <time.h>

#include <thread>

// Records reach a real broker, whatever happens to it.
namespace fieldgate::mqtt {
namespace {

struct Forwarding : LaneFixture {
  RecordingSubscriber::Options all(const MosquittoBroker& broker) { return {broker.port(), "recorder", {"fg/#"}}; }
};

struct EachPayload : Forwarding, testing::WithParamInterface<RoutePayload> {};

TEST_P(EachPayload, ArrivesInOrderPerDevice) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  auto with = settings(broker.port());
  with.routes = {{{"telemetry"}, GetParam()}};
  start(with);
  feed_telemetry(20, 100);
  expect_all_in_order(subscriber);
  EXPECT_TRUE(feed.wait_done(k_patience));
  EXPECT_EQ(feed.outcome().forwarded, 2'000U);
  EXPECT_EQ(probe.pubacks.get(), probe.publishes.get());
}

std::string payload_name(const testing::TestParamInfo<RoutePayload>& payload) {
  static const char* const k_names[] = {"Protobuf", "Json", "Batch"};
  return k_names[static_cast<std::size_t>(payload.param)];
}

INSTANTIATE_TEST_SUITE_P(Payloads, EachPayload,
                         testing::Values(RoutePayload::protobuf, RoutePayload::json, RoutePayload::batch),
                         payload_name);

TEST_F(Forwarding, BatchesByPartitionAndSaysWhatIsInEachMessage) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  start(settings(broker.port()));
  feed_telemetry(50, 40);
  expect_all_in_order(subscriber);
  std::size_t batches = 0;
  std::map<std::string, std::string> partition_of;
  for (const auto& message : subscriber.messages()) {
    if (message.topic.find("/batches/") == std::string::npos) continue;
    ++batches;
    v1::RecordBatch batch;
    ASSERT_TRUE(batch.ParseFromString(message.payload));
    EXPECT_EQ(batch.node(), "gw-1");
    EXPECT_EQ(message.content_type, "application/x-protobuf");
    EXPECT_EQ(message.properties.find("records")->second, std::to_string(batch.records_size()));
    for (const auto& record : batch.records()) {
      EXPECT_EQ(partition_of.emplace(record.device_id(), message.topic).first->second, message.topic);
    }
  }
  EXPECT_LT(batches, 500U) << "2,000 records";
  EXPECT_EQ(probe.batch_records.get(), 2'000U);
}

TEST_F(Forwarding, SendsAnEventToItsOwnTopicWithItsIdentityInProperties) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  start(settings(broker.port()));
  feed_event("pump-7", "overheat");
  ASSERT_TRUE(subscriber.wait_last("fg/devices/pump-7/events/overheat", [](const auto& message) {
    return message.content_type == "application/x-protobuf" && !message.retained &&
           message.properties.find("device")->second == "pump-7" && message.properties.find("stream")->second == "1" &&
           message.properties.find("seq")->second == "1" && message.properties.contains("received");
  }));
}

TEST_F(Forwarding, LosesNothingOverACleanRestartOfTheBroker) {
  MosquittoBroker broker({.persistence = true});
  const RecordingSubscriber subscriber(all(broker));
  start(settings(broker.port()));
  ASSERT_TRUE(running());
  for (std::uint64_t round = 0; round < 3; ++round) {
    feed_telemetry(10, 300);
    broker.stop();
    feed_telemetry(10, 50);
    ASSERT_TRUE(eventually([&] { return probe.disconnects.get() == round + 1; }));
    broker.start();
    ASSERT_TRUE(running());
  }
  EXPECT_TRUE(feed.wait_done(k_patience)) << log.all();
  expect_all_in_order(subscriber);
}

TEST_F(Forwarding, CompletesNothingThatTheBrokerDidNotAcknowledgeWhenItIsKilled) {
  // A killed mosquitto forgets what it acknowledged, so it is the lane's own
  // account that is judged: every record is completed once, by an acknowledgement.
  MosquittoBroker broker;
  start(settings(broker.port()));
  ASSERT_TRUE(running());
  for (std::uint64_t round = 0; round < 3; ++round) {
    feed_telemetry(10, 500);
    broker.kill();
    ASSERT_TRUE(eventually([&] { return probe.disconnects.get() == round + 1; }));
    broker.start();
    ASSERT_TRUE(running());
  }
  EXPECT_TRUE(feed.wait_done(k_patience)) << log.all();
  EXPECT_EQ(feed.outcome().forwarded, 15'000U);
  EXPECT_EQ(probe.batch_records.get(), 15'000U);
}

TEST_F(Forwarding, SitsOutABrokerThatStandsStill) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  start(settings(broker.port()));
  ASSERT_TRUE(running());
  broker.freeze();
  feed_telemetry(10, 500);
  std::this_thread::sleep_for(seconds(5));
  EXPECT_EQ(feed.through(), 0U);
  EXPECT_LE(probe.in_flight.load(), 100);
  broker.thaw();
  expect_all_in_order(subscriber);
  EXPECT_EQ(probe.disconnects.get(), 0U) << "five seconds are no reason to give a connection up";
}

TEST_F(Forwarding, GivesUpAHalfOpenConnectionAfterOneAndAHalfKeepAlives) {
  MosquittoBroker broker;
  auto with = settings(broker.port());
  with.keep_alive = seconds(5);
  start(with);
  ASSERT_TRUE(running());
  broker.freeze();
  const auto frozen = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([this] { return probe.disconnects.get() > 0; }));
  // After 7.5 s, and well before a second keep-alive could have been waited out on top.
  EXPECT_LT(std::chrono::steady_clock::now() - frozen, milliseconds(12'000));
  // Counted first, told a moment later.
  EXPECT_TRUE(eventually([this] { return lane->status().last_error.find("taken for dead") != std::string::npos; }))
      << lane->status().last_error;
  broker.thaw();
  EXPECT_TRUE(running());
}

TEST_F(Forwarding, KeepsToTheBrokersReceiveMaximum) {
  MosquittoBroker broker({.extra = "max_inflight_messages 20"});
  auto with = settings(broker.port());
  with.routes = {{{"telemetry"}, RoutePayload::protobuf}};
  start(with);
  ASSERT_TRUE(running());
  EXPECT_TRUE(log.has("window=20")) << log.all();
  broker.freeze();
  feed_telemetry(5, 100);
  ASSERT_TRUE(eventually([this] { return probe.in_flight.load() == 20; }));
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_EQ(probe.in_flight.load(), 20);
  broker.thaw();
  EXPECT_TRUE(feed.wait_done(k_patience));
  EXPECT_EQ(probe.disconnects.get(), 0U);
}

TEST_F(Forwarding, NeverHasMoreThanItsWindowInFlight) {
  MosquittoBroker broker({.extra = "max_inflight_messages 1000"});
  auto with = settings(broker.port());
  with.window_max = 7;
  with.routes = {{{"telemetry"}, RoutePayload::protobuf}};
  start(with);
  ASSERT_TRUE(running());
  // Our own status is out of the way before the broker falls silent.
  ASSERT_TRUE(eventually([this] { return probe.publishes.get() == 1 && probe.in_flight.load() == 0; }));
  broker.freeze();
  feed_telemetry(5, 100);
  ASSERT_TRUE(eventually([this] { return probe.in_flight.load() == 7; }));
  std::this_thread::sleep_for(milliseconds(200));
  // Handed to the broker: the window's messages and our own status before them.
  EXPECT_EQ(probe.publishes.get(), 8U);
  broker.thaw();
  EXPECT_TRUE(feed.wait_done(k_patience));
}

TEST_F(Forwarding, MakesBatchesThatTheBrokersPacketSizeAdmitsAndBuriesWhatNoneCanHold) {
  MosquittoBroker broker({.extra = "max_packet_size 2000"});
  const RecordingSubscriber subscriber(all(broker));
  start(settings(broker.port()));
  feed_telemetry(3, 200);
  expect_all_in_order(subscriber);
  for (const auto& message : subscriber.messages()) EXPECT_LE(message.payload.size(), 2'000U);
  feed_telemetry(1, 1, 3'000);
  EXPECT_TRUE(feed.wait_done(k_patience));
  ASSERT_EQ(dead_letters.all().size(), 1U);
  EXPECT_EQ(dead_letters.all()[0].reason, "packet_too_large");
  EXPECT_GT(dead_letters.all()[0].payload.size(), 3'000U);
  EXPECT_EQ(feed.outcome().dead_lettered, 1U);
  EXPECT_EQ(probe.disconnects.get(), 0U);
}

TEST_F(Forwarding, PausesWhenItIsNotAuthorisedAndResumesByItself) {
  const test::TempDir dir;
  const std::string acl = dir.write("acl", "topic readwrite fg/nodes/#\ntopic readwrite fg/devices/#\n");
  MosquittoBroker broker({.extra = "acl_file " + acl});
  start(settings(broker.port()));
  feed_telemetry(5, 20);
  ASSERT_TRUE(eventually([this] { return state() == LaneState::paused; })) << log.all();
  EXPECT_NE(lane->status().last_error.find("not authorized (0x87)"), std::string::npos) << lane->status().last_error;
  EXPECT_GT(probe.refusals[0x87].get(), 0U);
  EXPECT_EQ(feed.through(), 0U);
  dir.write("acl", "topic readwrite fg/#\n");
  broker.reload();
  EXPECT_TRUE(feed.wait_done(k_patience)) << log.all();
  EXPECT_TRUE(running());
  EXPECT_EQ(feed.outcome().forwarded, 100U);
  EXPECT_TRUE(dead_letters.all().empty());
}

TEST_F(Forwarding, FlushesWhatItCanWhenItIsStopped) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  auto with = settings(broker.port());
  with.batch_linger = seconds(60);
  start(with);
  ASSERT_TRUE(running());
  feed_telemetry(10, 50);
  lane->stop(k_patience);
  EXPECT_EQ(feed.through(), feed.last());
  EXPECT_EQ(state(), LaneState::stopped);
  expect_all_in_order(subscriber);
}

TEST_F(Forwarding, StopsWithinItsPatienceHoweverTheBrokerIs) {
  MosquittoBroker broker;
  start(settings(broker.port()));
  ASSERT_TRUE(running());
  broker.freeze();
  feed_telemetry(10, 50);
  const auto begun = std::chrono::steady_clock::now();
  lane->stop(milliseconds(600));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(20)) << "it waits for the broker instead";
  broker.thaw();
}

TEST_F(Forwarding, BeginsNothingWhileItIsHeldButKeepsPresenceCurrent) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  lane =
      make_mqtt_lane(settings(broker.port()), {"gw-1", "boot-1", "0.1.0", 1}, clock, log, probe, dead_letters).value();
  lane->hold(true);
  lane->start(feed);
  EXPECT_TRUE(lane->status().held);
  ASSERT_TRUE(running());
  feed_telemetry(5, 20);
  lane->publish(DeviceId::parse("pump-7").value(), {true, {9}, 1, ""});
  EXPECT_TRUE(subscriber.wait_last("fg/devices/pump-7/presence", [](const auto&) { return true; }));
  // What would have left, had it been free to, came before.
  EXPECT_EQ(probe.batches.get(), 0U);
  EXPECT_EQ(feed.through(), 0U);
  EXPECT_EQ(state(), LaneState::running) << "held is not a state";
  lane->hold(false);
  EXPECT_FALSE(lane->status().held);
  expect_all_in_order(subscriber);
  EXPECT_TRUE(feed.wait_done(k_patience));
}

TEST_F(Forwarding, StopsAtOnceWhileItIsHeldAndLeavesTheRecordsWhereTheyAre) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  start(settings(broker.port()));
  ASSERT_TRUE(running());
  lane->hold(true);
  feed_telemetry(10, 50);
  const auto begun = std::chrono::steady_clock::now();
  lane->stop(seconds(60));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(30));
  EXPECT_EQ(feed.through(), 0U);
  EXPECT_TRUE(subscriber.wait_last("fg/nodes/gw-1", [](const auto& message) {
    return message.payload.find("\"stopped\"") != std::string::npos;
  })) << "the farewell";
}

TEST_F(Forwarding, TriesAgainWhenTheLogHasFetchedWhatItAskedFor) {
  MosquittoBroker broker;
  const RecordingSubscriber subscriber(all(broker));
  feed.fetching = true;
  start(settings(broker.port()));
  ASSERT_TRUE(running());
  feed_telemetry(5, 20);
  feed.fetching = false;
  lane->notify();
  expect_all_in_order(subscriber);
}

TEST_F(Forwarding, GivesEverythingToEachOfTwoBrokersAndOneThatStandsStillDelaysNoOther) {
  MosquittoBroker near;
  MosquittoBroker far;
  const RecordingSubscriber at_near(all(near));
  const RecordingSubscriber at_far(all(far));
  start(settings(near.port()));
  auto with = settings(far.port());
  with.name = "far";
  MqttLaneProbe far_probe;
  test::FakeFeed far_feed;
  const auto far_lane =
      make_mqtt_lane(with, {"gw-1", "boot-1", "0.1.0", 1}, clock, log, far_probe, dead_letters).value();
  far_lane->start(far_feed);
  ASSERT_TRUE(running());
  ASSERT_TRUE(eventually([&] { return far_lane->status().state == LaneState::running; }));
  // Each lane has a feed of its own, as it has in the log.
  const auto feed_both = [&](std::size_t count) {
    feed_telemetry(10, count);
    while (far_feed.last() < feed.last()) {
      far_feed.push(std::make_shared<RecordBlock>(*feed.read({far_feed.last() + 1})));
    }
    far_lane->notify();
  };
  feed_both(50);
  EXPECT_TRUE(feed.wait_done(k_patience));
  EXPECT_TRUE(far_feed.wait_done(k_patience));
  far.freeze();
  feed_both(200);
  EXPECT_TRUE(feed.wait_done(k_patience)) << log.all();
  EXPECT_LT(far_feed.through(), far_feed.last());
  expect_all_in_order(at_near);
  far.thaw();
  EXPECT_TRUE(far_feed.wait_done(k_patience)) << log.all();
  expect_all_in_order(at_far);
}

TEST_F(Forwarding, DoesNotSpinWhileTheBrokerRefusesConnections) {
  start(settings(test::free_port()));
  ASSERT_TRUE(eventually([this] { return probe.connect_failures.get() > 1; }));
  EXPECT_NE(lane->status().last_error.find("connection refused by 127.0.0.1:"), std::string::npos)
      << lane->status().last_error;
  const auto cpu = [] {
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
  };
  const double before = cpu();
  std::this_thread::sleep_for(seconds(2));
  EXPECT_LT(cpu() - before, 0.2);
  lane->stop(seconds(1));
}

}  // namespace
}  // namespace fieldgate::mqtt
