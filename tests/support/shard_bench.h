// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/wire/protobuf_wire.h"
#include "gateway/core/address_book.h"
#include "gateway/net/shard.h"
#include "tests/support/fakes.h"

#include "fieldgate/v1/device.pb.h"

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate::test {

// Shards on the test's own thread, with fakes for everything around them and a
// clock that the test turns. Devices are the far ends of socket pairs.
class ShardBench {
 public:
  explicit ShardBench(std::uint32_t shards = 1, std::function<void(net::SessionConfig&)> adjust = {},
                      std::shared_ptr<const LaneFilters> filters = nullptr, std::vector<PresenceView*> more_views = {});
  ~ShardBench();

  // Runs everything that is ready, on every shard, until nothing is.
  void run();
  // Turns the clock in steps of a second, with a tick of each shard at each.
  void pass(std::chrono::seconds time);
  // Every block in the log that has not been before reaches `stage`, in order.
  void stage_all(AckStage stage);
  // Of an earlier process, each at its home shard. Before any device.
  void restore(std::vector<RestoredDevice> devices);
  void level(UplinkLevel level);
  net::Shard& home(const std::string& device) { return *shards_[home_shard(device, shards_.size())]; }
  // What has become of it once all that is ready has run; nullopt: nothing yet.
  struct Sent {
    Delivery delivery = Delivery::offline;
    Epoch epoch;
  };
  std::optional<Sent> send(const std::string& device, DownMessage message);
  // Whether there was a connection to close.
  bool close(const std::string& device, EndReason reason);
  void watch(WatchSet devices);
  // Each session there is, on its shard.
  void with_sessions(const std::function<void(net::DeviceSession&)>& f);
  // What the flight recorder has on a device, oldest first.
  std::vector<TimelineEntry> timeline(const std::string& device) const;

  net::Shard& shard(std::uint32_t i = 0) { return *shards_[i]; }
  std::uint64_t ended(EndReason reason) const;

  FakeClock clock;
  SilentLog log;
  FakeUplink uplink;
  FakeFleet fleet;
  FakeAuthenticator authenticator;
  FakePresenceView presence;
  FakeAdmission admission;
  FakeRecorder recorder;
  FakeTap tap;

 private:
  LimitSettings limits_;
  wire::ProtobufWire wire_{limits_};
  AddressBook addresses_;
  std::atomic<std::uint32_t> connections_{1'000};  // adopted sockets were not counted in
  std::atomic<std::uint32_t> leaving_{0};
  std::array<std::size_t, 4> staged_blocks_{};  // by stage
  std::vector<std::unique_ptr<net::Shard>> shards_;
};

// A device written for tests: it does what it is told, right or wrong.
class TestDevice {
 public:
  explicit TestDevice(ShardBench& bench, std::uint32_t shard = 0, std::uint16_t port = 40'000);
  ~TestDevice();

  // --- bytes
  void send_raw(std::string_view bytes);
  // The same, before the gateway has a chance to see it.
  void slip_in(std::string_view bytes) const;
  void send_ws(std::uint8_t first_byte, std::string_view payload) { send_raw(make_ws(first_byte, payload)); }
  static std::string make_ws(std::uint8_t first_byte, std::string_view payload);
  void close();  // TCP end, no Close
  // The same, before the gateway has a chance to see it, or the bytes sent before.
  void break_off(std::string_view last_words = {});

  // --- WebSocket
  void upgrade(const std::string& id);
  void send(const v1::DeviceFrame& frame);
  void answer_pings(bool yes) { answer_pings_ = yes; }
  std::size_t pings() const { return pings_.size(); }
  void pong_last();
  std::optional<std::uint16_t> close_code();
  std::string http();  // all that came, unparsed, before the upgrade
  bool eof();

  // --- the contract
  // For Hello; the rest of it is the same each time.
  std::vector<std::string> capabilities;
  std::uint32_t receive_max_bytes = 0;
  void hello(const std::string& id, std::uint64_t stream = 1, v1::AckStage stage = v1::ACK_STAGE_FORWARDED,
             std::uint64_t oldest = 0, std::uint64_t last = 0);
  // upgrade, hello, and the Welcome that answers it.
  v1::Welcome connect(const std::string& id, std::uint64_t stream = 1, v1::AckStage stage = v1::ACK_STAGE_FORWARDED,
                      std::uint64_t oldest = 0, std::uint64_t last = 0);
  void telemetry(std::uint64_t seq, double value = 1.0);
  // The oldest frame from the gateway that was not taken yet.
  std::optional<v1::GatewayFrame> next();
  // The last Ack among all that came.
  std::uint64_t acked();
  // The same, once it is `through` at least: an Ack may wait for a timer of the shard's.
  std::uint64_t acked_in_time(std::uint64_t through);
  std::vector<v1::GatewayFrame> all();

  static v1::DeviceFrame make_telemetry(std::uint64_t seq, double value);

 private:
  void pump();

  ShardBench& bench_;
  int fd_;
  std::string in_;
  bool upgraded_ = false;
  bool eof_ = false;
  bool answer_pings_ = false;
  std::deque<v1::GatewayFrame> frames_;
  std::vector<std::string> pings_;
  std::optional<std::uint16_t> close_code_;
};

}  // namespace fieldgate::test
