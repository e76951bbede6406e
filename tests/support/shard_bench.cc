// SPDX-License-Identifier: Apache-2.0
#include "tests/support/shard_bench.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <stdexcept>

namespace fieldgate::test {

ShardBench::ShardBench(std::uint32_t shards, std::function<void(net::SessionConfig&)> adjust,
                       std::shared_ptr<const LaneFilters> filters, std::vector<PresenceView*> more_views) {
  auto config = std::make_shared<net::SessionConfig>();
  config->node = "node-1";
  config->boot_id = "boot-1";
  config->shards = shards;
  if (adjust) adjust(*config);
  std::vector<PresenceView*> views = std::move(more_views);
  views.push_back(&presence);
  const net::ShardEnv env{{clock, log, wire_, authenticator, uplink, fleet, std::move(views), admission,
                           std::move(filters), &recorder, &tap},
                          addresses_,
                          connections_,
                          leaving_};
  std::vector<net::Shard*> all;
  for (std::uint32_t i = 0; i < shards; ++i) {
    shards_.push_back(std::make_unique<net::Shard>(i, env, config));
    all.push_back(shards_.back().get());
  }
  for (auto& shard : shards_) shard->link(all);
}

ShardBench::~ShardBench() = default;

void ShardBench::run() {
  for (std::size_t ran = 1; ran > 0;) {
    ran = 0;
    for (auto& shard : shards_) {
      shard->io().restart();
      ran += shard->io().poll();
    }
  }
}

void ShardBench::pass(std::chrono::seconds time) {
  run();
  for (std::int64_t i = 0; i < time.count(); ++i) {
    clock.advance(std::chrono::seconds(1));
    for (auto& shard : shards_) shard->tick();
    run();
  }
}

void ShardBench::stage_all(AckStage stage) {
  run();
  for (std::size_t& next = staged_blocks_[static_cast<std::size_t>(stage)]; next < uplink.blocks.size(); ++next) {
    const auto& block = uplink.blocks[next];
    shards_[block->shard()]->staged(stage, block);
  }
  run();
}

void ShardBench::restore(std::vector<RestoredDevice> devices) {
  std::vector<std::vector<RestoredDevice>> homes(shards_.size());
  for (auto& device : devices) homes[home_shard(device.id, homes.size())].push_back(std::move(device));
  for (std::size_t i = 0; i < homes.size(); ++i) shards_[i]->restore(std::move(homes[i]));
}

void ShardBench::level(UplinkLevel level) {
  for (auto& shard : shards_) shard->level_changed(level);
  run();
}

std::optional<ShardBench::Sent> ShardBench::send(const std::string& device, DownMessage message) {
  auto answers = std::make_shared<std::vector<Sent>>();
  home(device).send_down(DeviceId::parse(device).value(), std::move(message),
                         [answers](Delivery delivery, Epoch epoch) {
                           answers->push_back({delivery, epoch});
                         });
  run();
  EXPECT_LE(answers->size(), 1U);
  return answers->empty() ? std::nullopt : std::optional(answers->front());
}

bool ShardBench::close(const std::string& device, EndReason reason) {
  auto answers = std::make_shared<std::vector<bool>>();
  home(device).close_device(DeviceId::parse(device).value(), reason, [answers](bool was) { answers->push_back(was); });
  run();
  EXPECT_EQ(answers->size(), 1U);
  return !answers->empty() && answers->front();
}

void ShardBench::watch(WatchSet devices) {
  const auto set = std::make_shared<const WatchSet>(std::move(devices));
  for (auto& shard : shards_) shard->watch(set);
  run();
}

void ShardBench::with_sessions(const std::function<void(net::DeviceSession&)>& f) {
  for (auto& shard : shards_) {
    for (std::uint32_t slot = 0; slot < 1'000; ++slot) {
      for (std::uint32_t generation = 1; generation < 10; ++generation) shard->with_session({slot, generation}, f);
    }
  }
  run();
}

std::vector<TimelineEntry> ShardBench::timeline(const std::string& device) const {
  std::vector<TimelineEntry> found;
  std::ranges::copy_if(recorder.entries, std::back_inserter(found),
                       [&](const TimelineEntry& entry) { return entry.device.str() == device; });
  return found;
}

std::uint64_t ShardBench::ended(EndReason reason) const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += std::as_const(*shard).probe().ends[static_cast<std::size_t>(reason)].get();
  return sum;
}

TestDevice::TestDevice(ShardBench& bench, std::uint32_t shard, std::uint16_t port) : bench_(bench) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error("socketpair");
  }
  fd_ = ends[0];
  bench_.shard(shard).adopt(ends[1], {boost::asio::ip::address_v4::loopback(), port});
  bench_.run();
}

TestDevice::~TestDevice() { close(); }

void TestDevice::close() {
  break_off();
  bench_.run();
}

void TestDevice::break_off(std::string_view last_words) {
  if (!last_words.empty()) static_cast<void>(::send(fd_, last_words.data(), last_words.size(), MSG_NOSIGNAL));
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void TestDevice::send_raw(std::string_view bytes) {
  slip_in(bytes);
  bench_.run();
}

void TestDevice::slip_in(std::string_view bytes) const {
  // The far end may have closed already; then there is nobody to tell.
  static_cast<void>(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

std::string TestDevice::make_ws(std::uint8_t first_byte, std::string_view payload) {
  std::string out(1, static_cast<char>(first_byte));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 0xFF);
  }
  const std::string mask = "\x11\x22\x33\x44";
  out += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ mask[i % 4]);
  return out;
}

void TestDevice::upgrade(const std::string& id) {
  send_raw(
      "GET /v1/connect HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer for." +
      id + "\r\n\r\n");
  pump();
  const std::size_t end = in_.find("\r\n\r\n");
  if (in_.starts_with("HTTP/1.1 101") && end != std::string::npos) {
    in_.erase(0, end + 4);
    upgraded_ = true;
  }
}

void TestDevice::send(const v1::DeviceFrame& frame) { send_ws(0x82, frame.SerializeAsString()); }

void TestDevice::pong_last() {
  pump();
  if (!pings_.empty()) send_ws(0x8A, pings_.back());
}

std::string TestDevice::http() {
  pump();
  return in_;
}

bool TestDevice::eof() {
  pump();
  return eof_;
}

std::optional<std::uint16_t> TestDevice::close_code() {
  pump();
  return close_code_;
}

void TestDevice::hello(const std::string& id, std::uint64_t stream, v1::AckStage stage, std::uint64_t oldest,
                       std::uint64_t last) {
  v1::DeviceFrame frame;
  auto* hello = frame.mutable_hello();
  hello->set_device_id(id);
  hello->set_stream_id(stream);
  hello->set_ack_stage(stage);
  hello->set_oldest_seq(oldest);
  hello->set_last_seq(last);
  hello->set_firmware_version("1.2.3");
  (*hello->mutable_labels())["site"] = "north";
  for (const std::string& capability : capabilities) hello->add_capabilities(capability);
  hello->set_receive_max_bytes(receive_max_bytes);
  send(frame);
}

v1::Welcome TestDevice::connect(const std::string& id, std::uint64_t stream, v1::AckStage stage, std::uint64_t oldest,
                                std::uint64_t last) {
  upgrade(id);
  hello(id, stream, stage, oldest, last);
  const auto frame = next();
  EXPECT_TRUE(frame && frame->has_welcome()) << "no Welcome; Close code " << close_code_.value_or(0);
  return frame ? frame->welcome() : v1::Welcome();
}

v1::DeviceFrame TestDevice::make_telemetry(std::uint64_t seq, double value) {
  v1::DeviceFrame frame;
  frame.set_seq(seq);
  auto* metric = frame.mutable_telemetry()->add_samples()->add_metrics();
  metric->set_name("temperature");
  metric->set_double_value(value);
  return frame;
}

void TestDevice::telemetry(std::uint64_t seq, double value) { send(make_telemetry(seq, value)); }

std::optional<v1::GatewayFrame> TestDevice::next() {
  pump();
  if (frames_.empty()) return std::nullopt;
  v1::GatewayFrame frame = std::move(frames_.front());
  frames_.pop_front();
  return frame;
}

std::vector<v1::GatewayFrame> TestDevice::all() {
  pump();
  std::vector<v1::GatewayFrame> taken(frames_.begin(), frames_.end());
  frames_.clear();
  return taken;
}

std::uint64_t TestDevice::acked() {
  std::uint64_t through = 0;
  for (const auto& frame : all()) {
    if (frame.has_ack()) through = frame.ack().through();
  }
  return through;
}

std::uint64_t TestDevice::acked_in_time(std::uint64_t through) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::uint64_t last = 0;
  while (last < through && std::chrono::steady_clock::now() < patience) last = std::max(last, acked());
  return last;
}

void TestDevice::pump() {
  bench_.run();
  std::array<char, 65'536> buffer{};
  for (ssize_t n = 0; fd_ >= 0 && (n = ::recv(fd_, buffer.data(), buffer.size(), 0)) >= 0;) {
    if (n == 0) {
      eof_ = true;
      break;
    }
    in_.append(buffer.data(), static_cast<std::size_t>(n));
    bench_.run();
  }
  while (upgraded_ && in_.size() >= 2) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(in_[i]); };
    std::size_t header = 2;
    std::size_t length = byte(1);
    if (length == 126) {
      if (in_.size() < 4) return;
      header = 4;
      length = (std::size_t{byte(2)} << 8) | byte(3);
    }
    if (in_.size() < header + length) return;
    const std::string payload = in_.substr(header, length);
    const unsigned opcode = byte(0) & 0x0F;
    in_.erase(0, header + length);
    if (opcode == 2) {
      EXPECT_TRUE(frames_.emplace_back().ParseFromString(payload));
    } else if (opcode == 8 && payload.size() >= 2) {
      close_code_ = static_cast<std::uint16_t>((static_cast<unsigned char>(payload[0]) << 8) |
                                               static_cast<unsigned char>(payload[1]));
    } else if (opcode == 9) {
      pings_.push_back(payload);
      if (answer_pings_) send_ws(0x8A, payload);
    }
  }
}

}  // namespace fieldgate::test
