// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/traffic/sink.h"

#include "tests/bench/traffic/driver.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fieldgate::bench {
namespace {

// Metric.name "sent_us" and the tag of its double, as FrameFactory writes them.
constexpr std::string_view k_sent = "\x0a\x07sent_us\x11";
constexpr std::string_view k_probe = "bench/probe";
constexpr std::string_view k_replies = "bench/replies/";
constexpr std::string_view k_final = "\"final\":true";
constexpr std::string_view k_succeeded = "\"state\":\"succeeded\"";
constexpr std::int64_t k_patience_us = 10 * sim::k_second_us;

}  // namespace

Sink::~Sink() {
  if (fd_ >= 0) ::close(fd_);
}

void Sink::Beat::set(double per_second, std::int64_t now_us) {
  interval_us = per_second > 0 ? 1e6 / per_second : 0;
  next_us = static_cast<double>(now_us) + interval_us;
}

bool Sink::Beat::take(std::int64_t now_us) {
  if (interval_us <= 0 || next_us > static_cast<double>(now_us)) return false;
  next_us = std::max(next_us + interval_us, static_cast<double>(now_us - sim::k_second_us));
  return true;
}

sim::Outcome<void> Sink::open() {
  std::signal(SIGPIPE, SIG_IGN);
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in broker{};
  broker.sin_family = AF_INET;
  broker.sin_port = htons(settings_.port);
  broker.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&broker), sizeof broker) != 0) {
    return sim::Problem{"no broker on port " + std::to_string(settings_.port) + ": " + std::strerror(errno)};
  }
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd_, F_SETFL, O_NONBLOCK);
  mqtt_append_connect(out_, Mqtt::v5, settings_.client_id, 0);
  std::vector<std::string> filters = settings_.filters;
  filters.emplace_back(k_probe);
  filters.push_back(std::string(k_replies) + "+");
  for (const std::string& filter : filters) mqtt_append_subscribe(out_, Mqtt::v5, next_id(), filter);
  now_ = sim::read_clocks();
  const std::int64_t until = now_.mono_us + k_patience_us;
  while (subscribed_ < filters.size()) {
    if (!receive(50) || now_.mono_us > until) refused_ = "the broker does not take the subscriptions";
    if (!refused_.empty()) return sim::Problem{refused_};
  }
  since_us_ = now_.mono_us;
  return {};
}

sim::Outcome<void> Sink::run() {
  ::fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  std::puts("{\"ready\":1}");
  std::fflush(stdout);
  while (take_input()) {
    while (probe_.take(now_.mono_us)) publish_probe();
    while (command_.take(now_.mono_us)) publish_command();
    double next = static_cast<double>(now_.mono_us) + 50'000;
    for (const Beat* beat : {&probe_, &command_}) {
      if (beat->interval_us > 0) next = std::min(next, beat->next_us);
    }
    const double wait_us = std::max(0.0, next - static_cast<double>(now_.mono_us));
    if (!receive(static_cast<int>((wait_us + 999) / 1000))) return sim::Problem{"the broker hung up"};
    if (!refused_.empty()) return sim::Problem{refused_};
  }
  return {};
}

// ------------------------------------------------------------ the broker's stream

bool Sink::receive(int wait_ms) {
  flush();
  std::array<pollfd, 2> fds{};
  fds[0] = {fd_, static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT), 0};
  fds[1] = {STDIN_FILENO, POLLIN, 0};
  ::poll(fds.data(), fds.size(), wait_ms);
  now_ = sim::read_clocks();
  if ((fds[0].revents & ~POLLOUT) == 0) return true;
  const ssize_t got = ::recv(fd_, bytes_.data(), bytes_.size(), 0);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (got > 0) {
    now_ = sim::read_clocks();
    bytes_in_ += static_cast<std::uint64_t>(got);
    if (!decoder_.feed({bytes_.data(), static_cast<std::size_t>(got)}, *this)) return false;
  }
  flush();
  return true;
}

void Sink::flush() {
  while (!out_.empty()) {
    const ssize_t sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    out_.erase(0, static_cast<std::size_t>(sent));
  }
}

void Sink::on_packet(const MqttPacket& packet) {
  if (packet.reason >= 0x80) refused_ = "the broker refuses, with reason " + std::to_string(packet.reason);
  if (packet.type == MqttType::connack) connected_ = true;
  if (packet.type == MqttType::suback) ++subscribed_;
  if (packet.type == MqttType::publish) on_publish(packet);
}

void Sink::on_publish(const MqttPacket& packet) {
  if (packet.qos > 0) mqtt_append_puback(out_, packet.id);
  if (packet.topic == k_probe) {
    std::int64_t at = 0;
    if (packet.payload.size() < sizeof at) return;
    std::memcpy(&at, packet.payload.data(), sizeof at);
    ++probes_.back;
    probes_.us.add(now_.mono_us - at);
  } else if (packet.topic.starts_with(k_replies)) {
    if (packet.payload.find(k_final) == std::string_view::npos) return;
    const std::size_t number = std::strtoul(std::string(packet.topic.substr(k_replies.size())).c_str(), nullptr, 10);
    if (number >= asked_us_.size() || packet.payload.find(k_succeeded) == std::string_view::npos) {
      ++refused_commands_;
      return;
    }
    ++commands_.back;
    commands_.us.add(now_.mono_us - asked_us_[number]);
  } else {
    ++messages_;
    scan(packet.payload, now_.wall_us);
  }
}

void Sink::scan(std::string_view payload, std::int64_t wall_us) {
  while (true) {
    const void* found = ::memmem(payload.data(), payload.size(), k_sent.data(), k_sent.size());
    if (found == nullptr) return;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - payload.data()) + k_sent.size();
    if (payload.size() < at + sizeof(double)) return;
    double sent = 0;
    std::memcpy(&sent, payload.data() + at, sizeof sent);
    ++records_;
    lap_us_.add(wall_us - static_cast<std::int64_t>(sent));
    payload.remove_prefix(at + sizeof sent);
  }
}

// ------------------------------------------------------------ what it publishes

std::uint16_t Sink::next_id() noexcept { return id_ = static_cast<std::uint16_t>(id_ == 0xffff ? 1 : id_ + 1); }

void Sink::publish_probe() {
  std::array<char, 120> payload{};
  const std::int64_t now = sim::read_clocks().mono_us;
  std::memcpy(payload.data(), &now, sizeof now);
  mqtt_append_publish(out_, Mqtt::v5, {.topic = k_probe, .payload = {payload.data(), payload.size()}, .id = next_id()});
  ++probes_.sent;
  flush();
}

void Sink::publish_command() {
  char device[32];
  std::snprintf(device, sizeof device, "%s%06u", settings_.id_prefix.c_str(),
                static_cast<unsigned>(settings_.first_index + turn_));
  turn_ = (turn_ + 1) % settings_.devices;
  const std::string number = std::to_string(asked_us_.size());
  const std::string reply = std::string(k_replies) + number;
  const std::string topic = settings_.topic_prefix + "/devices/" + device + "/commands/ping";
  // Not to be taken for a repetition of an earlier run's.
  const std::string correlation = number + "-" + std::to_string(now_.wall_us);
  asked_us_.push_back(sim::read_clocks().mono_us);
  mqtt_append_publish(
      out_, Mqtt::v5,
      {.topic = topic, .payload = "{}", .id = next_id(), .response_topic = reply, .correlation = correlation});
  ++commands_.sent;
  flush();
}

// ------------------------------------------------------------ what it is told

bool Sink::take_input() {
  std::array<char, 4096> bytes;
  ssize_t got = 0;
  while ((got = ::read(STDIN_FILENO, bytes.data(), bytes.size())) > 0) {
    input_.append(bytes.data(), static_cast<std::size_t>(got));
  }
  const bool more = got < 0 && errno == EAGAIN;
  for (std::size_t end = 0; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1)) {
    const std::string line = input_.substr(0, end);
    const std::size_t space = line.find(' ');
    const double number = space == std::string::npos ? 0 : std::atof(line.c_str() + space);
    std::printf("%s\n", on_command(line.substr(0, space), number).c_str());
    std::fflush(stdout);
  }
  return more;
}

std::string Sink::on_command(const std::string& word, double number) {
  now_ = sim::read_clocks();
  if (word == "mark") return mark();
  if (word == "lap") return lap();
  if (word == "probe") {
    probe_.set(number, now_.mono_us);
  } else if (word == "command") {
    command_.set(number, now_.mono_us);
  } else {
    return R"({"error":"mark, lap, probe N or command N"})";
  }
  return R"({"ok":1})";
}

std::string Sink::lap() {
  JsonLine line;
  line.add("lap_records", lap_us_.count());
  line.add_quantiles("lap_latency", lap_us_);
  latency_us_.merge(lap_us_);
  lap_us_ = {};
  return line.text();
}

std::string Sink::mark() {
  JsonLine line;
  line.add("seconds", static_cast<double>(now_.mono_us - since_us_) / 1e6);
  line.add("messages", messages_);
  line.add("records", records_);
  line.add("bytes", bytes_in_);
  line.add("lap_records", lap_us_.count());
  line.add_quantiles("lap_latency", lap_us_);
  latency_us_.merge(lap_us_);
  line.add_quantiles("latency", latency_us_);
  line.add("probes", probes_.sent);
  line.add("probes_back", probes_.back);
  line.add_quantiles("probe", probes_.us);
  line.add("commands", commands_.sent);
  line.add("commands_back", commands_.back);
  line.add("commands_refused", refused_commands_);
  line.add_quantiles("command", commands_.us);
  since_us_ = now_.mono_us;
  messages_ = records_ = bytes_in_ = refused_commands_ = 0;
  latency_us_ = {};
  lap_us_ = {};
  probes_ = {};
  commands_ = {};
  return line.text();
}

}  // namespace fieldgate::bench
