// SPDX-License-Identifier: Apache-2.0
//
// The way of a record from the log to the broker and back, for callgrind: the real uplink
// log in memory and the real MQTT lane on its thread, over a socket to a broker that
// answers the same each time. Each round a block of records goes into the log, and the next
// when every record of it is told to its shard. The clock stands still and batches do not
// linger, so a round is always one turn that publishes and one that takes the PUBACKs.
//   valgrind --tool=callgrind --separate-threads=yes BINARY batch|topics RECORDS ROUNDS
// batch: a round's records in one batch; topics: each in a message of its own.
#include "adapters/mqtt/mqtt_lane.h"
#include "adapters/spool/memory_dead_letters.h"
#include "adapters/spool/memory_spool.h"
#include "gateway/uplink/uplink_log.h"
#include "tests/support/fakes.h"

#include "fieldgate/v1/device.pb.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace fieldgate::test {
namespace {

constexpr std::uint64_t k_log_bytes_max = 64 << 20;

// As much of an MQTT 5 broker as one lane needs that only publishes (MQTT 5.0, section 3).
// Blocks; one connection.
class Broker {
 public:
  Broker() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 1) != 0 || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port for the broker");
    }
    port_ = ntohs(address.sin_port);
  }
  ~Broker() {
    ::close(listener_);
    if (connection_ >= 0) ::close(connection_);
  }
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  std::uint16_t port() const noexcept { return port_; }

  // Nothing is retained here, so the lane has nothing to say but records.
  void accept() {
    connection_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection_ < 0) throw std::runtime_error("the lane does not come");
    while (next_type() != k_connect) {
    }
    constexpr std::string_view connack("\x20\x05\0\0\x02\x25\0", 7);
    send(connack);
  }

  // Once all are there, so that the lane finds the PUBACKs together.
  void take(std::size_t publishes) {
    std::string answer;
    for (std::size_t taken = 0; taken < publishes;) {
      if (next_type() != k_publish) continue;
      answer.append({'\x40', '\x02', static_cast<char>(id_ >> 8), static_cast<char>(id_ & 0xFF)});
      ++taken;
    }
    send(answer);
  }

 private:
  static constexpr unsigned k_connect = 1;
  static constexpr unsigned k_publish = 3;

  unsigned next_type() {
    while (true) {
      std::size_t body = 0;
      std::size_t head = 1;
      bool whole = false;
      for (unsigned shift = 0; head < in_.size() && !whole; shift += 7) {
        const auto byte = static_cast<unsigned char>(in_[head++]);
        body |= static_cast<std::size_t>(byte & 0x7F) << shift;
        whole = byte < 0x80;
      }
      if (whole && in_.size() >= head + body) {
        const unsigned type = static_cast<unsigned char>(in_[0]) >> 4;
        if (type == k_publish) id_ = u16_at(head + 2 + u16_at(head));  // after the topic
        in_.erase(0, head + body);
        return type;
      }
      std::array<char, 65'536> bytes{};
      const ssize_t n = ::recv(connection_, bytes.data(), bytes.size(), 0);
      if (n <= 0) throw std::runtime_error("the lane has gone");
      in_.append(bytes.data(), static_cast<std::size_t>(n));
    }
  }
  unsigned u16_at(std::size_t at) const {
    return static_cast<unsigned>(static_cast<unsigned char>(in_.at(at))) << 8 |
           static_cast<unsigned char>(in_.at(at + 1));
  }
  void send(std::string_view bytes) const {
    if (::send(connection_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("the lane does not read");
    }
  }

  int listener_;
  int connection_ = -1;
  std::uint16_t port_ = 0;
  unsigned id_ = 0;  // of the last PUBLISH
  std::string in_;
};

// A shard that only counts what is forwarded.
class CountingSink final : public StageSink {
 public:
  void staged(AckStage stage, RecordBlockPtr block) override {
    if (stage == AckStage::forwarded) forwarded_ += block->size();
  }
  void level_changed(UplinkLevel) override {}
  void await(std::uint64_t records) const {
    while (forwarded_ < records) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }

 private:
  std::atomic<std::uint64_t> forwarded_{0};
};

std::string telemetry() {
  v1::DeviceFrame frame;
  frame.set_seq(1'000);
  auto& sample = *frame.mutable_telemetry()->add_samples();
  sample.set_unix_ms(1'700'000'000'000);
  for (const char* name : {"temperature", "humidity", "pressure", "battery", "vibration", "current"}) {
    auto& metric = *sample.add_metrics();
    metric.set_name(name);
    metric.set_double_value(21.5);
  }
  return frame.SerializeAsString();
}

MqttLaneSettings lane_settings(std::uint16_t port, bool topics) {
  MqttLaneSettings settings;
  settings.port = port;
  settings.presence_retained = false;
  settings.batch_linger = std::chrono::milliseconds(0);
  settings.partitions = 1;
  settings.connect_timeout = std::chrono::minutes(2);
  settings.keep_alive = std::chrono::hours(1);
  if (topics) settings.routes = {{{"telemetry"}, RoutePayload::protobuf}};
  return settings;
}

void run(bool topics, std::size_t records, unsigned rounds) {
  FakeClock clock;
  SilentLog log;
  MqttLaneProbe probe;
  Broker broker;
  CountingSink sink;
  spool::MemorySpool spool(k_log_bytes_max);
  spool::MemoryDeadLetters letters(1'024);
  auto lane = mqtt::make_mqtt_lane(lane_settings(broker.port(), topics), {"bench", "bench", "1", 0}, clock, log, probe,
                                   letters);
  if (!lane) throw std::runtime_error(lane.error().detail);
  uplink::UplinkLog uplink(spool, letters, {{lane->get(), {}, {}}}, {}, clock, log);
  if (!uplink.recover()) throw std::runtime_error("the log cannot begin");
  uplink.attach(0, sink);
  uplink.start();
  broker.accept();

  const std::string payload = telemetry();
  std::vector<std::string> devices;
  for (std::size_t i = 0; i < records; ++i) devices.push_back("device-" + std::to_string(i));
  for (unsigned round = 1; round <= rounds; ++round) {
    auto block = std::make_shared<RecordBlock>(0);
    for (const std::string& device : devices) {
      RecordView record;
      record.device = device;
      record.stream = {7};
      record.seq = {1'000};
      record.received_unix_ms = clock.unix_ms();
      record.payload = std::as_bytes(std::span(payload));
      block->append(record);
    }
    block->seal();
    if (!uplink.submit(std::move(block))) throw std::runtime_error("the log is full");
    broker.take(topics ? records : 1);
    sink.await(std::uint64_t{round} * records);
  }
  uplink.stop(std::chrono::milliseconds(0));
  if (probe.batches.get() != (topics ? 0 : rounds)) throw std::runtime_error("not one batch a round");
}

}  // namespace
}  // namespace fieldgate::test

int main(int argc, char** argv) {
  const std::string_view what = argc == 4 ? argv[1] : "";
  const int records = argc == 4 ? std::atoi(argv[2]) : 0;
  const int rounds = argc == 4 ? std::atoi(argv[3]) : 0;
  if ((what != "batch" && what != "topics") || records < 1 || records > 100 || rounds < 1) {
    std::fputs("usage: fieldgate_bench_lane_path batch|topics RECORDS(1-100) ROUNDS\n", stderr);
    return 64;
  }
  try {
    fieldgate::test::run(what == "topics", static_cast<std::size_t>(records), static_cast<unsigned>(rounds));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fieldgate_bench_lane_path: %s\n", error.what());
    return 1;
  }
  return 0;
}
