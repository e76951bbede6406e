// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/traffic/fleet.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace fieldgate::bench {
namespace {

constexpr unsigned k_frames_per_turn = 512;
constexpr std::int64_t k_behind_us = sim::k_second_us;  // what is later than this is not made up for

std::int64_t to_us(double seconds) { return static_cast<std::int64_t>(std::llround(seconds * 1e6)); }

struct Peak {
  std::size_t per_second = 0;
  std::int64_t end_us = 0;  // when it was reached
};

// The most in any one second that begins at `from_us` or later. `times` rises.
Peak peak_of(const std::vector<std::int64_t>& times, std::int64_t from_us) {
  Peak peak;
  const auto begin = std::lower_bound(times.begin(), times.end(), from_us);
  for (auto first = begin, last = begin; last != times.end(); ++last) {
    while (*last - *first >= sim::k_second_us) ++first;
    const auto count = static_cast<std::size_t>(last - first + 1);
    if (count > peak.per_second) peak = {count, *last};
  }
  return peak;
}

}  // namespace

Fleet::Fleet(const FleetSettings& settings)
    : Driver(settings.devices),
      settings_(settings),
      factory_(settings.shape),
      devices_(settings.devices),
      window_(settings.window) {}

// ------------------------------------------------------------ connections

void Fleet::on_start() {
  stats_.since_us = now_us();
  const double rate = settings_.connects_per_second;
  for (std::uint32_t slot = 0; slot < count(); ++slot) due(slot, now_us() + (rate <= 0 ? 0 : to_us(slot / rate)));
}

void Fleet::on_due(std::uint32_t slot) {
  Device& device = devices_[slot];
  if (device.phase == Phase::connecting || device.phase == Phase::greeted) {
    link(slot).cut(true);  // no answer in time
    return on_lost(link(slot));
  }
  if (device.phase != Phase::waiting) return;
  if (settings_.connecting_max > 0 && connecting_ >= settings_.connecting_max) {
    device.phase = Phase::queued;
    queue_.push_back(slot);
    return;
  }
  connect(slot);
}

void Fleet::connect(std::uint32_t slot) {
  Device& device = devices_[slot];
  device.phase = Phase::connecting;
  ++connecting_;
  ++stats_.connects;
  due(slot, now_us() + to_us(settings_.connect_timeout));
  link(slot).connect();
}

void Fleet::leave_connecting(Device& device) {
  if (device.phase == Phase::connecting || device.phase == Phase::greeted) --connecting_;
  if (device.phase == Phase::online) --online_;
}

void Fleet::later(std::uint32_t slot, std::int64_t within_us) {
  devices_[slot].phase = Phase::waiting;
  due(slot, now_us() + rng().up_to(within_us));
}

void Fleet::on_lost(Link& lost) {
  const std::uint32_t slot = slot_of(lost);
  Device& device = devices_[slot];
  if (device.phase == Phase::waiting) return;
  ++(device.phase == Phase::online ? stats_.lost_online : stats_.lost_connecting);
  leave_connecting(device);
  const double within =
      std::min(settings_.backoff_max, settings_.backoff_base * std::exp2(std::min(device.attempts, 30U)));
  const std::int64_t told_us = device.goodbye_within_us;
  device.goodbye_within_us = 0;
  ++device.attempts;
  later(slot, told_us > 0 ? told_us : to_us(within));
}

void Fleet::on_open(Link& opened) {
  const std::uint32_t slot = slot_of(opened);
  Device& device = devices_[slot];
  ++stats_.opens;
  if (cut_ > 0) opened_us_.push_back(now_us() - cut_us_);
  device.phase = Phase::greeted;
  device.stream = std::max<std::uint64_t>(1, rng().next());
  device.seed = sim::check_seed(context().device_id(opened.index()), device.stream);
  device.sent = device.acked = 0;
  greet(opened, device);
}

void Fleet::greet(Link& opened, Device& device) {
  packet_.clear();
  if (settings_.protocol == Protocol::mqtt) {
    device.decoder = std::make_unique<MqttDecoder>(Mqtt::v311);
    mqtt_append_connect(packet_, Mqtt::v311, context().device_id(opened.index()),
                        static_cast<std::uint16_t>(settings_.heartbeat_seconds));
  } else {
    up_.Clear();
    v1::Hello& hello = *up_.mutable_hello();
    hello.set_device_id(context().device_id(opened.index()));
    hello.set_stream_id(device.stream);
    hello.set_ack_stage(settings_.stage);
    hello.set_heartbeat_seconds(settings_.heartbeat_seconds);
    if (settings_.commands) hello.add_capabilities("command");
    up_.SerializeToString(&packet_);
  }
  opened.send(sim::WsOpcode::binary, packet_);
}

void Fleet::welcomed(std::uint32_t slot, std::uint32_t credit) {
  Device& device = devices_[slot];
  ++stats_.welcomes;
  if (cut_ > 0) welcomed_us_.push_back(now_us() - cut_us_);
  leave_connecting(device);
  ++online_;
  not_due(slot);
  device.phase = Phase::online;
  device.attempts = 0;
  device.credit = credit;
  if (saturate_) top_up(slot);
}

// ------------------------------------------------------------ what the server says

void Fleet::on_frame(Link& from, sim::WsOpcode opcode, std::string_view payload) {
  const std::uint32_t slot = slot_of(from);
  if (opcode != sim::WsOpcode::binary) {
    if (opcode == sim::WsOpcode::text) ++stats_.faults;
    return;
  }
  if (settings_.protocol == Protocol::fieldgate) return on_gateway_frame(slot, payload);
  Packets packets(*this, slot);
  if (!devices_[slot].decoder->feed(payload, packets)) ++stats_.faults;
}

void Fleet::on_packet(std::uint32_t slot, const MqttPacket& packet) {
  Device& device = devices_[slot];
  if (packet.reason >= 0x80) ++stats_.faults;
  if (packet.type == MqttType::connack && device.phase == Phase::greeted) {
    welcomed(slot, settings_.window);
  } else if (packet.type == MqttType::puback) {
    // A broker acknowledges in the order of arrival (MQTT 3.1.1, section 4.6).
    if (packet.id != static_cast<std::uint16_t>(1 + device.acked % 65'535)) ++stats_.faults;
    acknowledge(slot, device.acked + 1);
  }
}

void Fleet::on_gateway_frame(std::uint32_t slot, std::string_view payload) {
  Device& device = devices_[slot];
  if (!down_.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    ++stats_.faults;
    return;
  }
  switch (down_.kind_case()) {
    case v1::GatewayFrame::kWelcome:
      if (down_.welcome().ack_stage() != settings_.stage) ++stats_.faults;
      return welcomed(slot, down_.welcome().credit().frames());
    case v1::GatewayFrame::kAck: return acknowledge(slot, down_.ack().through());
    case v1::GatewayFrame::kThrottle:
      device.credit = down_.throttle().credit().frames();
      if (saturate_) top_up(slot);
      return;
    case v1::GatewayFrame::kCommand: return answer(slot, down_.command());
    case v1::GatewayFrame::kGoodbye:
      ++stats_.goodbyes;
      device.goodbye_within_us = std::int64_t{down_.goodbye().reconnect_after_ms()} * 1000;
      return;
    case v1::GatewayFrame::kReject: ++stats_.faults; return;
    default: return;
  }
}

// Both answers in one record: the device is at once done.
void Fleet::answer(std::uint32_t slot, const v1::Command& command) {
  ++stats_.commands;
  Link& to = link(slot);
  to.cork();
  for (int i = 0; i < 2; ++i) {
    up_.Clear();
    up_.set_seq(devices_[slot].sent + 1);
    if (i == 0) {
      up_.mutable_command_ack()->set_id(command.id());
    } else {
      up_.mutable_command_result()->set_id(command.id());
      up_.mutable_command_result()->set_outcome(v1::CommandResult::OUTCOME_SUCCEEDED);
    }
    up_.SerializeToString(&frame_);
    send_data(slot, frame_);
  }
  to.uncork();
}

void Fleet::acknowledge(std::uint32_t slot, std::uint64_t through) {
  Device& device = devices_[slot];
  if (through > device.sent) {
    ++stats_.faults;
    return;
  }
  for (; device.acked < through; ++device.acked) {
    stats_.ack_us.add(now_us() - device.sent_us[(device.acked + 1) % device.sent_us.size()]);
    ++stats_.acked;
  }
  if (saturate_) top_up(slot);
}

// ------------------------------------------------------------ sending

bool Fleet::room(std::uint32_t slot, std::uint32_t frames) {
  const Device& device = devices_[slot];
  return device.phase == Phase::online && !link(slot).congested() &&
         device.sent + frames - device.acked <= std::min(device.credit, window_);
}

void Fleet::send_one(std::uint32_t slot) {
  Device& device = devices_[slot];
  factory_.telemetry(device.seed, device.sent + 1, sim::read_clocks().wall_us, rng(), frame_);
  ++stats_.sent;
  if (settings_.protocol == Protocol::fieldgate) return send_data(slot, frame_);
  topic_.assign(settings_.topic_prefix).append("/devices/").append(context().device_id(link(slot).index()));
  topic_.append("/telemetry");
  packet_.clear();
  const auto id = static_cast<std::uint16_t>(1 + device.sent % 65'535);
  mqtt_append_publish(packet_, Mqtt::v311, {.topic = topic_, .payload = frame_, .id = id});
  send_data(slot, packet_);
}

void Fleet::send_data(std::uint32_t slot, std::string_view frame) {
  Device& device = devices_[slot];
  // Answers to commands may exceed the window by a few.
  if (device.sent_us.empty()) device.sent_us.resize(settings_.window + 16);
  ++device.sent;
  device.sent_us[device.sent % device.sent_us.size()] = now_us();
  link(slot).send(sim::WsOpcode::binary, frame);
}

void Fleet::top_up(std::uint32_t slot) {
  while (room(slot, settings_.per_record)) {
    if (settings_.per_record > 1) link(slot).cork();
    for (std::uint32_t i = 0; i < settings_.per_record; ++i) send_one(slot);
    if (settings_.per_record > 1) link(slot).uncork();
  }
}

std::int64_t Fleet::on_turn() {
  while (!queue_.empty() && connecting_ < settings_.connecting_max) {
    const std::uint32_t slot = queue_.front();
    queue_.pop_front();
    if (devices_[slot].phase == Phase::queued) connect(slot);
  }
  if (interval_us_ <= 0) return sim::k_never_us;
  const auto now = static_cast<double>(now_us());
  next_us_ = std::max(next_us_, now - static_cast<double>(k_behind_us));
  for (unsigned made = 0; made < k_frames_per_turn && next_us_ <= now; ++made) {
    const std::uint32_t slot = turn_;
    turn_ = (turn_ + 1) % count();
    stats_.late_us.add(static_cast<std::int64_t>(now - next_us_));
    next_us_ += interval_us_ * settings_.per_record;
    if (!room(slot, settings_.per_record)) {
      stats_.withheld += settings_.per_record;
      continue;
    }
    if (settings_.per_record > 1) link(slot).cork();
    for (std::uint32_t i = 0; i < settings_.per_record; ++i) send_one(slot);
    if (settings_.per_record > 1) link(slot).uncork();
  }
  return static_cast<std::int64_t>(next_us_);
}

// ------------------------------------------------------------ what it is told

void Fleet::cut(std::uint32_t devices, std::int64_t within_us) {
  context().now = sim::read_clocks();
  cut_us_ = now_us();
  cut_ = std::min(devices, count());
  opened_us_.clear();
  welcomed_us_.clear();
  for (std::uint32_t slot = 0; slot < cut_; ++slot) {
    link(slot).cut(true);
    leave_connecting(devices_[slot]);
    devices_[slot].attempts = 0;
    later(slot, within_us);
  }
}

std::string Fleet::on_command(const std::vector<std::string>& words) {
  const auto number = [&words](std::size_t at) { return at < words.size() ? std::atof(words[at].c_str()) : 0.0; };
  if (words[0] == "rate") {
    saturate_ = false;
    window_ = settings_.window;
    interval_us_ = number(1) > 0 ? 1e6 / number(1) : 0;
    next_us_ = static_cast<double>(now_us());
  } else if (words[0] == "max") {
    saturate_ = true;
    interval_us_ = 0;
    window_ = number(1) > 0 ? std::min(settings_.window, static_cast<std::uint32_t>(number(1))) : settings_.window;
    for (std::uint32_t slot = 0; slot < count(); ++slot) top_up(slot);
  } else if (words[0] == "cut") {
    cut(static_cast<std::uint32_t>(number(1)), to_us(number(2) / 1e3));
  } else if (words[0] == "watch") {
    cut(0, 0);
    cut_ = count();
  } else if (words[0] == "mark") {
    return mark();
  } else if (words[0] == "returns") {
    return returns(to_us(number(1)));
  } else if (words[0] != "online") {
    return R"({"error":"rate N, max [WINDOW], cut N MS, watch, mark, returns [S] or online"})";
  }
  JsonLine line;
  line.add("online", std::uint64_t{online_});
  return line.text();
}

std::string Fleet::mark() {
  context().now = sim::read_clocks();
  JsonLine line;
  line.add("seconds", static_cast<double>(now_us() - stats_.since_us) / 1e6);
  line.add("online", std::uint64_t{online_});
  line.add("sent", stats_.sent);
  line.add("acked", stats_.acked);
  line.add("withheld", stats_.withheld);
  line.add("connects", stats_.connects);
  line.add("opens", stats_.opens);
  line.add("welcomes", stats_.welcomes);
  line.add("lost_connecting", stats_.lost_connecting);
  line.add("lost_online", stats_.lost_online);
  line.add("goodbyes", stats_.goodbyes);
  line.add("commands", stats_.commands);
  line.add("faults", stats_.faults);
  line.add("ack_count", stats_.ack_us.count());
  line.add_quantiles("ack", stats_.ack_us);
  line.add("late_count", stats_.late_us.count());
  line.add_quantiles("late", stats_.late_us);
  stats_ = {};
  stats_.since_us = now_us();
  return line.text();
}

std::string Fleet::returns(std::int64_t first_us) {
  JsonLine line;
  line.add("cut", std::uint64_t{cut_});
  line.add("back", std::uint64_t{welcomed_us_.size()});
  for (const auto& [name, part] : {std::pair{"t50_s", 0.5}, {"t90_s", 0.9}, {"t99_s", 0.99}, {"t100_s", 1.0}}) {
    const auto rank = static_cast<std::size_t>(std::ceil(part * cut_));
    if (rank > 0 && rank <= welcomed_us_.size()) line.add(name, static_cast<double>(welcomed_us_[rank - 1]) / 1e6);
  }
  const Peak peak = peak_of(opened_us_, 0);
  line.add("peak_per_s", std::uint64_t{peak.per_second});
  line.add("peak_at_s", static_cast<double>(peak.end_us) / 1e6);
  line.add("peak_later_per_s", std::uint64_t{peak_of(opened_us_, first_us).per_second});
  return line.text();
}

}  // namespace fieldgate::bench
