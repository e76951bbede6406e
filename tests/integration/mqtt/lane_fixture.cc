// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/mqtt/lane_fixture.h"

#include <boost/json/parse.hpp>

#include <set>
#include <span>
#include <thread>

namespace fieldgate::mqtt {
namespace {

RecordView view_of(RecordKind kind, const std::string& device, const std::string& name, std::uint64_t seq,
                   std::int64_t now_ms, const std::string& payload) {
  RecordView record;
  record.kind = kind;
  record.device = device;
  record.name = name;
  record.stream = {1};
  record.seq = {seq};
  record.epoch = {1};
  record.received_unix_ms = now_ms;
  record.payload = std::as_bytes(std::span(payload));
  return record;
}

}  // namespace

bool eventually(const std::function<bool()>& condition, milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

MqttLaneSettings LaneFixture::settings(std::uint16_t port) {
  MqttLaneSettings settings;
  settings.port = port;
  settings.backoff_min = milliseconds(50);
  settings.backoff_max = milliseconds(200);
  settings.topic_prefix = "fg";
  return settings;
}

void LaneFixture::start(MqttLaneSettings with, std::string boot_id) {
  lane = make_mqtt_lane(std::move(with), {"gw-1", std::move(boot_id), "0.1.0", 1}, clock, log, probe, dead_letters)
             .value();
  lane->start(feed);
}

bool LaneFixture::running() const {
  return eventually([this] { return state() == LaneState::running; });
}

void LaneFixture::feed_telemetry(std::size_t devices, std::size_t count, std::size_t payload_bytes) {
  v1::DeviceFrame frame;
  auto* metric = frame.mutable_telemetry()->add_samples()->add_metrics();
  metric->set_name("m");
  metric->set_string_value(std::string(payload_bytes, 'x'));
  for (std::size_t round = 0; round < count; ++round) {
    auto block = std::make_shared<RecordBlock>(0);
    for (std::size_t i = 0; i < devices; ++i) {
      const std::string device = "dev-" + std::to_string(i);
      frame.set_seq(++fed[device]);
      block->append(
          view_of(RecordKind::telemetry, device, "", frame.seq(), clock.unix_ms(), frame.SerializeAsString()));
    }
    feed.push(std::move(block));
  }
  lane->notify();
}

void LaneFixture::feed_event(const std::string& device, const std::string& name) {
  v1::DeviceFrame frame;
  frame.set_seq(++fed[device]);
  frame.mutable_event()->set_name(name);
  auto block = std::make_shared<RecordBlock>(0);
  block->append(view_of(RecordKind::event, device, name, frame.seq(), clock.unix_ms(), frame.SerializeAsString()));
  feed.push(std::move(block));
  lane->notify();
}

LaneFixture::Arrived LaneFixture::arrived(const std::vector<RecordingSubscriber::Message>& messages) {
  Arrived result;
  for (const auto& message : messages) {
    if (message.topic.find("/batches/") != std::string::npos) {
      v1::RecordBatch batch;
      EXPECT_TRUE(batch.ParseFromString(message.payload));
      for (const auto& record : batch.records()) result[record.device_id()].push_back(record.frame().seq());
    } else if (message.content_type == "application/x-protobuf") {
      v1::DeviceFrame frame;
      EXPECT_TRUE(frame.ParseFromString(message.payload));
      const auto device = message.properties.find("device");
      if (device != message.properties.end()) result[device->second].push_back(frame.seq());
    } else if (message.topic.ends_with("/telemetry")) {
      const auto value = boost::json::parse(message.payload);
      result[std::string(value.at("device").as_string())].push_back(value.at("seq").to_number<std::uint64_t>());
    }
  }
  return result;
}

void LaneFixture::expect_all_in_order(const RecordingSubscriber& subscriber) const {
  const auto complete = [this](const std::vector<RecordingSubscriber::Message>& messages) {
    const Arrived all = arrived(messages);
    for (const auto& [device, last] : fed) {
      const auto it = all.find(device);
      if (it == all.end() || std::set(it->second.begin(), it->second.end()).size() < last) return false;
    }
    return true;
  };
  EXPECT_TRUE(subscriber.wait(complete, k_patience)) << log.all();
  for (const auto& [device, seqs] : arrived(subscriber.messages())) {
    std::uint64_t highest = 0;
    for (const std::uint64_t seq : seqs) {
      EXPECT_LE(seq, highest + 1) << device << ": something came before what was sent before it";
      highest = std::max(highest, seq);
    }
    EXPECT_EQ(highest, fed.at(device));
  }
}

}  // namespace fieldgate::mqtt
