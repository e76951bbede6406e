// SPDX-License-Identifier: Apache-2.0
//
// What a frame takes of the heap on its way from the socket into the log, counted at the
// heap itself: nothing of its own. A turn takes a block for all that it found, and the log,
// as it is in the gateway, one place for that block.
#include "adapters/spool/memory_dead_letters.h"
#include "adapters/spool/memory_spool.h"
#include "gateway/net/tls_memory.h"
#include "gateway/uplink/uplink_log.h"
#include "tests/support/allocation_count.h"
#include "tests/support/shard_bench.h"
#include "tests/unit/net/tls_fixture.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fieldgate::test {
namespace {

// Before anything in this process uses OpenSSL.
const bool memory_served = serve_tls_memory();

// A device behind TLS, at the far end of a socket pair.
class TlsDevice {
 public:
  TlsDevice(ShardBench& bench, const TlsSite& site, const std::string& id) : bench_(bench), tls_(site.client()) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw std::runtime_error("socketpair");
    }
    fd_ = ends[0];
    bench_.shard().adopt(ends[1], {boost::asio::ip::address_v4::loopback(), 40'000});
    talk();
    tls_.write(
        "GET /v1/connect HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer for." +
        id + "\r\n\r\n");
    talk();
    v1::DeviceFrame frame;
    frame.mutable_hello()->set_device_id(id);
    frame.mutable_hello()->set_stream_id(1);
    frame.mutable_hello()->set_ack_stage(v1::ACK_STAGE_FORWARDED);
    put(frame);
    talk();
  }
  ~TlsDevice() { ::close(fd_); }
  TlsDevice(const TlsDevice&) = delete;
  TlsDevice& operator=(const TlsDevice&) = delete;

  // Each in a TLS record of its own; the shard does not run yet.
  void put_telemetry(int frames) {
    for (; frames > 0; --frames) put(TestDevice::make_telemetry(++seq_, 21.5));
    send();
  }
  // The shard has run: what it sent is read, so that it may send more.
  void read() {
    std::array<char, 65'536> buffer{};
    for (ssize_t n = 0; (n = ::recv(fd_, buffer.data(), buffer.size(), 0)) > 0;) {
      tls_.receive({buffer.data(), static_cast<std::size_t>(n)});
    }
  }

 private:
  void put(const v1::DeviceFrame& frame) { tls_.write(TestDevice::make_ws(0x82, frame.SerializeAsString())); }
  void send() {
    const std::string up = tls_.take();
    ASSERT_EQ(::send(fd_, up.data(), up.size(), MSG_NOSIGNAL), static_cast<ssize_t>(up.size()));
  }
  void talk() {
    for (int i = 0; i < 4; ++i) {
      send();
      bench_.run();
      read();
    }
  }

  ShardBench& bench_;
  MemoryTlsClient tls_;
  int fd_ = -1;
  std::uint64_t seq_ = 0;
};

class FrameMemory : public testing::Test {
 protected:
  static constexpr int k_devices = 20;

  void SetUp() override {
    if (!k_allocations_counted) GTEST_SKIP() << "a sanitizer's malloc is not counted";
    ASSERT_TRUE(memory_served);
    bench_.uplink.blocks.reserve(1'000);
    for (int i = 0; i < k_devices; ++i) {
      devices_.push_back(std::make_unique<TlsDevice>(bench_, site_, "dev-" + std::to_string(i)));
    }
    for (int i = 0; i < 3; ++i) {  // until all that stays has its size
      turn(k_devices, 4);
      acknowledge();
    }
  }

  // `frames` from each of `devices` are there at once. Allocations until they are in the log.
  std::size_t turn(int devices, int frames) {
    const std::size_t blocks = bench_.uplink.blocks.size();
    for (int i = 0; i < devices; ++i) devices_[static_cast<std::size_t>(i)]->put_telemetry(frames);
    const std::size_t counted = count();
    EXPECT_EQ(bench_.uplink.blocks.size(), blocks + 1);
    EXPECT_EQ(bench_.uplink.blocks.back()->size(), static_cast<std::size_t>(devices * frames));
    return counted;
  }
  // Allocations until what reached its stage has been acknowledged, as the number of frames asks for it.
  std::size_t acknowledge() {
    for (std::size_t i = staged_; i < bench_.uplink.blocks.size(); ++i) {
      bench_.shard().staged(AckStage::forwarded, bench_.uplink.blocks[i]);
    }
    staged_ = bench_.uplink.blocks.size();
    const std::size_t counted = count();
    for (const auto& device : devices_) device->read();
    return counted;
  }

  std::uint64_t acks_out() { return std::as_const(bench_.shard()).probe().acks_out.get(); }

  std::size_t count() {
    const std::size_t before = allocations();
    count_allocations(true);
    bench_.run();
    count_allocations(false);
    return allocations() - before;
  }

  const TlsMemoryKeeper keeper_;
  TlsSite site_;
  ShardBench bench_{1, [this](net::SessionConfig& config) {
                      config.tls = site_.load();
                      config.session.ack_every_frames = 4;
                      config.session.ack_every = std::chrono::hours(1);
                    }};
  std::vector<std::unique_ptr<TlsDevice>> devices_;
  std::size_t staged_ = 1;  // the first block is of presence
};

TEST_F(FrameMemory, IsTheTurnsBlockHoweverManyFramesItHas) {
  const std::size_t one = turn(1, 1);
  EXPECT_EQ(turn(k_devices, 1), one);
  EXPECT_EQ(turn(k_devices, 4), one);
  EXPECT_LE(one, 4U);  // the block, its two arrays, and the shard's wait for the next turn
}

// A lane that does nothing.
class StillLane final : public Lane {
 public:
  const std::string& name() const noexcept override { return name_; }
  bool required() const noexcept override { return true; }
  void start(LaneFeed&) override {}
  void notify() noexcept override {}
  void hold(bool) noexcept override {}
  LaneStatus status() const override { return {}; }
  void stop(std::chrono::milliseconds) override {}

 private:
  const std::string name_ = "still";
};

// The blocks' places come a few at a time: so over many blocks.
TEST_F(FrameMemory, IsInTheLogLessThanOneForABlockHoweverManyFramesItHas) {
  StillLane lane;
  spool::MemorySpool spool(64 << 20);
  spool::MemoryDeadLetters letters(1);
  uplink::UplinkLog log(spool, letters, {{&lane, {}, {}}}, {}, bench_.clock, bench_.log);
  ASSERT_TRUE(log.recover());
  log.start();
  RecordView record;
  record.device = "dev-1";
  for (const std::size_t frames : {1U, 100U}) {
    std::vector<std::shared_ptr<RecordBlock>> blocks;
    for (int i = 0; i < 200; ++i) {
      blocks.push_back(std::make_shared<RecordBlock>(0));
      for (std::size_t frame = 0; frame < frames; ++frame) blocks.back()->append(record);
    }
    const std::size_t before = allocations();
    count_allocations(true);
    for (auto& block : blocks) ASSERT_TRUE(log.submit(std::move(block)));
    count_allocations(false);
    EXPECT_LT(allocations() - before, 200U) << frames;
  }
  log.stop(std::chrono::milliseconds(0));
}

TEST_F(FrameMemory, IsNothingForAnAck) {
  turn(k_devices, 4);
  const std::uint64_t acks = acks_out();
  EXPECT_LE(acknowledge(), 1U);  // the shard's wait for the next turn
  EXPECT_EQ(acks_out(), acks + k_devices);
}

}  // namespace
}  // namespace fieldgate::test
