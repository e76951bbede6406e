// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/traffic/hostile.h"

#include <algorithm>
#include <cmath>

namespace fieldgate::bench {
namespace {

constexpr std::size_t k_chunk_bytes = 16'000;
constexpr int k_questions = 20;  // in a chunk; four chunks a second are below what a device may send
// A record of 512 bytes is announced, and its first bytes come.
constexpr std::string_view k_half_hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
constexpr std::string_view k_half_request = "GET /v1/connect HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
// An unfinished binary frame of one byte, and an empty continuation of it; masked with zeros.
constexpr std::string_view k_first_fragment("\x02\x81\0\0\0\0x", 7);
constexpr std::string_view k_empty_fragment("\x00\x80\0\0\0\0", 6);
// A binary frame of 2^40 bytes, masked with zeros.
constexpr std::string_view k_oversize("\x82\xff\0\0\x01\0\0\0\0\0\0\0\0\0", 14);

std::int64_t to_us(double seconds) { return static_cast<std::int64_t>(std::llround(seconds * 1e6)); }

}  // namespace

const std::map<std::string, Harm>& harms() {
  static const std::map<std::string, Harm> k_harms = {
      {"silent_tcp", Harm::silent_tcp},         {"half_hello", Harm::half_hello},
      {"half_request", Harm::half_request},     {"no_hello", Harm::no_hello},
      {"message_flood", Harm::message_flood},   {"ping_flood", Harm::ping_flood},
      {"fragment_flood", Harm::fragment_flood}, {"oversize", Harm::oversize},
      {"reconnect_loop", Harm::reconnect_loop}, {"slow_reader", Harm::slow_reader}};
  return k_harms;
}

Hostile::Hostile(const HostileSettings& settings)
    : Driver(settings.clients), settings_(settings), welcomed_(settings.clients), chunk_(make_chunk()) {}

Depth Hostile::depth() const noexcept {
  return settings_.harm == Harm::silent_tcp || settings_.harm == Harm::half_hello ? Depth::tcp : Depth::websocket;
}

// What a flooding client sends again and again: whole WebSocket frames, but for the oversize one.
std::string Hostile::make_chunk() {
  std::string chunk;
  if (settings_.harm == Harm::slow_reader) {
    up_.mutable_time_request()->set_token(1);
    up_.SerializeToString(&packet_);
    for (int i = 0; i < k_questions; ++i) sim::ws_append_frame(chunk, sim::WsOpcode::binary, packet_, 0);
    return chunk;
  }
  while (chunk.size() < k_chunk_bytes) {
    switch (settings_.harm) {
      case Harm::message_flood: {
        // One number for all: duplicates are frames as well. And nothing that the consumer would take for a device's.
        up_.Clear();
        up_.set_seq(1);
        v1::Metric& metric = *up_.mutable_telemetry()->add_samples()->add_metrics();
        metric.set_name("flood");
        metric.set_string_value(std::string(100, 'x'));
        up_.SerializeToString(&packet_);
        sim::ws_append_frame(chunk, sim::WsOpcode::binary, packet_, 0);
        break;
      }
      case Harm::ping_flood: sim::ws_append_frame(chunk, sim::WsOpcode::ping, "are you there?", 0); break;
      case Harm::fragment_flood: chunk.append(k_empty_fragment); break;
      case Harm::oversize: chunk.append(k_oversize); break;
      default: return chunk;  // does not flood
    }
  }
  return chunk;
}

std::string Hostile::on_command(const std::vector<std::string>& words) {
  JsonLine line;
  if (words[0] == "go") {
    for (std::uint32_t slot = 0; slot < count(); ++slot) back(slot);
  }
  line.add("connects", connects_);
  line.add("opens", opens_);
  line.add("thrown_out", thrown_out_);
  line.add("bytes", bytes_);
  connects_ = opens_ = thrown_out_ = bytes_ = 0;
  return line.text();
}

void Hostile::back(std::uint32_t slot) {
  welcomed_[slot] = false;
  due(slot, now_us() + rng().up_to(to_us(settings_.back_within)));
}

void Hostile::on_due(std::uint32_t slot) {
  if (!link(slot).idle()) return send_chunk(slot);
  ++connects_;
  link(slot).connect();
}

void Hostile::on_lost(Link& lost) {
  ++thrown_out_;
  back(slot_of(lost));
}

bool Hostile::on_secured(Link& secured) {
  if (settings_.harm != Harm::half_request) return true;
  ++opens_;
  secured.send_bytes(k_half_request);
  due(slot_of(secured), now_us() + sim::k_second_us);
  return false;
}

void Hostile::on_open(Link& opened) {
  ++opens_;
  if (settings_.harm == Harm::half_hello) opened.send_bytes(k_half_hello);
  if (depth() == Depth::tcp || settings_.harm == Harm::no_hello) return;
  send_hello(opened);
}

void Hostile::send_hello(Link& to) {
  up_.Clear();
  v1::Hello& hello = *up_.mutable_hello();
  hello.set_device_id(context().device_id(to.index()));
  hello.set_stream_id(std::max<std::uint64_t>(1, rng().next()));
  hello.add_capabilities("time");
  up_.SerializeToString(&packet_);
  to.send(sim::WsOpcode::binary, packet_);
}

void Hostile::on_frame(Link& from, sim::WsOpcode, std::string_view) {
  const std::uint32_t slot = slot_of(from);
  if (welcomed_[slot]) return;
  welcomed_[slot] = true;
  if (settings_.harm == Harm::reconnect_loop) {
    welcomed_[slot] = false;
    from.cut(true);
    ++connects_;
    return from.connect();
  }
  if (settings_.harm == Harm::slow_reader) from.stop_reading();
  if (settings_.harm == Harm::fragment_flood) from.send_bytes(k_first_fragment);
  if (!chunk_.empty()) due(slot, now_us());
}

std::int64_t Hostile::chunk_every_us() const noexcept {
  if (settings_.harm == Harm::half_request) return sim::k_second_us;
  if (settings_.harm == Harm::slow_reader) return sim::k_second_us / 4;
  return to_us(1 / settings_.chunks_per_second);
}

void Hostile::send_chunk(std::uint32_t slot) {
  if (!link(slot).congested()) {
    const std::string_view what = settings_.harm == Harm::half_request ? std::string_view("x") : chunk_;
    bytes_ += what.size();
    link(slot).send_bytes(what);
  }
  due(slot, now_us() + chunk_every_us());
}

}  // namespace fieldgate::bench
