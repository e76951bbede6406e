// SPDX-License-Identifier: Apache-2.0
//
// The device path of a gateway, one thread, for callgrind: a real shard with real
// sessions, TLS, reader and uplink log; devices at the far ends of socket pairs. What it
// does is the same each time: a clock that stands still, Acks by number, a lane that is
// done at once. Only gateway_turn() is counted, so neither devices nor lane are; what it
// takes of the heap is printed.
//   valgrind --tool=callgrind --toggle-collect=gateway_turn BINARY CASE ROUNDS
// CASE: single, segment, record: so many rounds of a pack from each device; metrics_60,
// metrics_500: as single, in frames of so many metrics; handshake: so many devices come, say
// Hello, and go.
#include "adapters/spool/memory_dead_letters.h"
#include "adapters/spool/memory_spool.h"
#include "adapters/wire/protobuf_wire.h"
#include "gateway/core/address_book.h"
#include "gateway/net/shard.h"
#include "gateway/net/tls_memory.h"
#include "gateway/uplink/uplink_log.h"
#include "tests/support/allocation_count.h"
#include "tests/support/fakes.h"
#include "tests/support/memory_tls_client.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

#include "fieldgate/v1/device.pb.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Not inlined and not renamed, for callgrind is told to count it alone.
extern "C" [[gnu::noinline]] void gateway_turn(boost::asio::io_context& io) {
  fieldgate::test::count_allocations(true);
  io.restart();
  while (io.poll() > 0) {
  }
  fieldgate::test::count_allocations(false);
}

namespace fieldgate::test {
namespace {

constexpr unsigned k_devices = 20;
constexpr unsigned k_pack = 8;
constexpr std::uint64_t k_log_bytes_max = 64 << 20;

// Forwards what there is when it is told to.
class InstantLane final : public Lane {
 public:
  const std::string& name() const noexcept override { return name_; }
  bool required() const noexcept override { return true; }
  void start(LaneFeed& feed) override {
    feed_ = &feed;
    next_ = feed.start();
  }
  void notify() noexcept override {}
  void hold(bool) noexcept override {}
  LaneStatus status() const override { return {}; }
  void stop(std::chrono::milliseconds) override {}

  void forward() {
    while (const RecordBlockPtr block = feed_->read(next_)) {
      LaneOutcome outcome;
      outcome.forwarded = block->size();
      next_ = {block->last_position().value + 1};
      feed_->completed(block->last_position(), outcome);
    }
  }

 private:
  const std::string name_ = "instant";
  LaneFeed* feed_ = nullptr;
  LogPosition next_;
};

class Bench {
 public:
  Bench() : uplink_(spool_, letters_, {{&lane_, {}, {}}}, {}, clock_, log_) {
    const Identity identity = authority_.server();
    DeviceTlsSettings tls;
    tls.certificate_file = files_.write("server.pem", identity.certificate);
    tls.key_file = files_.write("key.pem", identity.key);
    tls.client_ca_file = files_.write("ca.pem", authority_.certificate());
    auto config = std::make_shared<net::SessionConfig>();
    config->node = "bench";
    config->boot_id = "bench";
    config->tls = TlsContext::load(tls, nullptr).value();
    // Nothing is to be limited, and Acks are to come by number alone.
    config->limits.frames_burst = 1'000'000'000;
    config->limits.bytes_burst = std::uint64_t{1} << 40;
    config->session.ack_every = seconds(60);
    const net::ShardEnv env{
        {clock_, log_, wire_, authenticator_, uplink_, fleet_, {}, admission_}, addresses_, open_, leaving_};
    shard_ = std::make_unique<net::Shard>(0, env, config);
    shard_->link({shard_.get()});
    if (!uplink_.recover()) throw std::runtime_error("the log cannot begin");
    uplink_.attach(0, *shard_);
    uplink_.start();
  }

  // Until neither side has anything to say; the records are forwarded meanwhile.
  void settle() {
    gateway_turn(shard_->io());
    lane_.forward();
    gateway_turn(shard_->io());
  }

  int adopt() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw std::runtime_error("no socket pair");
    }
    shard_->adopt(ends[1], {boost::asio::ip::address_v4::loopback(), 40'000});
    return ends[0];
  }

  const Authority& authority() const { return authority_; }

 private:
  TempDir files_;
  Authority authority_;
  FakeClock clock_;
  SilentLog log_;
  FakeFleet fleet_;
  FakeAuthenticator authenticator_;
  FakeAdmission admission_;
  AddressBook addresses_;
  std::atomic<std::uint32_t> open_{1'000'000};  // adopted sockets were not counted in
  std::atomic<std::uint32_t> leaving_{0};
  wire::ProtobufWire wire_{LimitSettings{}};
  spool::MemorySpool spool_{k_log_bytes_max};
  spool::MemoryDeadLetters letters_{1'024};
  InstantLane lane_;
  uplink::UplinkLog uplink_;
  std::unique_ptr<net::Shard> shard_;
};

void append_ws(std::string& out, std::string_view payload) {
  constexpr std::string_view mask = "\x11\x22\x33\x44";
  out += '\x82';
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 0xFF);
  }
  out += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ mask[i % 4]);
}

MemoryTlsClient::Options trusting(const Authority& authority) {
  MemoryTlsClient::Options options;
  options.ca = authority.certificate();
  return options;
}

class Device {
 public:
  Device(Bench& bench, unsigned number) : bench_(bench), fd_(bench.adopt()), tls_(trusting(bench.authority())) {
    const std::string id = "device-" + std::to_string(number);
    while (!tls_.established()) exchange();
    tls_.write(
        "GET /v1/connect HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer for." +
        id + "\r\n\r\n");
    exchange();
    v1::DeviceFrame frame;
    frame.mutable_hello()->set_device_id(id);
    frame.mutable_hello()->set_stream_id(number + 1);
    frame.mutable_hello()->set_ack_stage(v1::ACK_STAGE_FORWARDED);
    std::string hello;
    append_ws(hello, frame.SerializeAsString());
    tls_.write(hello);
    exchange();
    if (tls_.plaintext().find("bench") == std::string::npos) throw std::runtime_error("no Welcome");
  }
  ~Device() { ::close(fd_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // The same work for the gateway each time: only the sequence number changes.
  void send(unsigned frames, bool one_record, unsigned metrics) {
    std::string plain;
    for (unsigned i = 0; i < frames; ++i) {
      append_ws(plain, telemetry(metrics));
      if (one_record) continue;
      tls_.write(plain);
      plain.clear();
    }
    if (!plain.empty()) tls_.write(plain);
    put(tls_.take());
  }

  // Acks; nobody looks at them.
  void drain() {
    std::array<char, 16'384> bytes{};
    while (::recv(fd_, bytes.data(), bytes.size(), 0) > 0) {
    }
  }

 private:
  std::string telemetry(unsigned metrics) {
    constexpr std::array names = {"temperature", "humidity", "pressure", "battery", "vibration", "current"};
    v1::DeviceFrame frame;
    frame.set_seq(++sequence_);
    auto& sample = *frame.mutable_telemetry()->add_samples();
    sample.set_unix_ms(1'700'000'000'000);
    for (unsigned i = 0; i < metrics; ++i) {
      auto& metric = *sample.add_metrics();
      metric.set_name(names[i % names.size()]);
      if (i >= names.size()) metric.mutable_name()->append("-" + std::to_string(i));
      metric.set_double_value(static_cast<double>(sequence_));
    }
    return frame.SerializeAsString();
  }

  void put(std::string_view bytes) {
    if (bytes.empty()) return;
    if (::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("the socket pair is full");
    }
  }

  void exchange() {
    put(tls_.take());
    bench_.settle();
    std::array<char, 16'384> bytes{};
    const ssize_t n = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (n == 0) throw std::runtime_error("the gateway ended the connection");
    if (n > 0) tls_.receive({bytes.data(), static_cast<std::size_t>(n)});
    put(tls_.take());
    bench_.settle();
  }

  Bench& bench_;
  const int fd_;
  MemoryTlsClient tls_;
  std::uint64_t sequence_ = 999;  // of two bytes on the wire for long
};

void run(std::string_view what, unsigned rounds) {
  Bench bench;
  if (what == "handshake") {
    for (unsigned i = 0; i < rounds; ++i) {
      {
        const Device device(bench, i);
      }
      bench.settle();
    }
    return;
  }
  unsigned metrics = 6;
  if (what == "metrics_60" || what == "metrics_500") {
    metrics = what == "metrics_60" ? 60 : 500;
  } else if (what != "single" && what != "segment" && what != "record") {
    throw std::runtime_error("no such case");
  }
  const unsigned frames = what == "segment" || what == "record" ? k_pack : 1;
  std::vector<std::unique_ptr<Device>> devices;
  for (unsigned i = 0; i < k_devices; ++i) devices.push_back(std::make_unique<Device>(bench, i));
  for (unsigned round = 0; round < rounds; ++round) {
    for (const auto& device : devices) device->send(frames, what == "record", metrics);
    bench.settle();
    for (const auto& device : devices) device->drain();
  }
}

}  // namespace
}  // namespace fieldgate::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: fieldgate_bench_device_path single|segment|record|metrics_60|metrics_500|handshake ROUNDS\n",
               stderr);
    return 64;
  }
  // As main() and a shard's thread have it.
  if (!fieldgate::serve_tls_memory()) {
    std::fputs("fieldgate_bench_device_path: OpenSSL was used before main()\n", stderr);
    return 1;
  }
  const fieldgate::TlsMemoryKeeper tls_memory;
  try {
    fieldgate::test::run(argv[1], static_cast<unsigned>(std::atoi(argv[2])));
    std::printf("allocations=%zu\n", fieldgate::test::allocations());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fieldgate_bench_device_path: %s\n", error.what());
    return 1;
  }
  return 0;
}
