// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/traffic/driver.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <sstream>

namespace fieldgate::bench {
namespace {

constexpr std::uint64_t k_input_token = ~std::uint64_t{0};
constexpr std::int64_t k_turn_us = 250'000;  // at the latest

}  // namespace

Driver::~Driver() {
  links_.clear();
  if (context_.epoll >= 0) ::close(context_.epoll);
}

sim::Outcome<void> Driver::open(const LinkSettings& settings, std::uint32_t first_index) {
  std::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  const auto colon = settings.server.rfind(':');
  if (colon == std::string::npos) return sim::Problem{"--server is to be ADDRESS:PORT"};
  context_.server.sin_family = AF_INET;
  context_.server.sin_port = htons(static_cast<std::uint16_t>(std::atoi(settings.server.c_str() + colon + 1)));
  const std::string host = settings.server.substr(0, colon);
  if (::inet_pton(AF_INET, host.c_str(), &context_.server.sin_addr) != 1 ||
      (ntohl(context_.server.sin_addr.s_addr) >> 24) != 127) {
    return sim::Problem{"--server is to be on 127.0.0.0/8, not " + settings.server};
  }
  sim::TlsSettings tls;
  tls.ca_file = settings.ca_file;
  tls.server_name = host;
  tls.resume = settings.tls_resume;
  if (!settings.pki.empty()) {
    const sim::PkiFiles files(settings.pki);
    tls.ca_file = files.ca();
    tls.authority_file = files.ca();
    tls.authority_key_file = files.ca_key();
    tls.device_key_file = files.device_key();
  }
  auto made = sim::TlsClient::make(tls);
  if (!made) return made.error();
  tls_ = std::move(*made);
  std::random_device random;
  context_.rng = sim::Rng((std::uint64_t{random()} << 32) | random());
  context_.epoll = ::epoll_create1(EPOLL_CLOEXEC);
  context_.host_header = settings.server;
  context_.path = settings.path;
  context_.subprotocol = settings.subprotocol;
  context_.token_seed = settings.token_seed;
  context_.id_prefix = settings.id_prefix;
  context_.first_source = settings.first_source;
  context_.source_addresses = std::max(1U, settings.source_addresses);
  context_.depth = settings.depth;
  context_.tls = tls_.get();
  context_.owner = this;
  first_index_ = first_index;
  for (std::uint32_t slot = 0; slot < count_; ++slot) {
    links_.push_back(std::make_unique<Link>(context_, first_index + slot));
  }
  due_at_.assign(count_, sim::k_never_us);
  ::fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = k_input_token;
  if (::epoll_ctl(context_.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0) {
    return sim::Problem{"standard input is to be a pipe"};
  }
  return {};
}

void Driver::run() {
  context_.now = sim::read_clocks();
  on_start();
  std::int64_t next = now_us();
  while (!ended_) {
    if (!due_.empty()) next = std::min(next, due_.top().at_us);
    const std::int64_t wait = std::clamp<std::int64_t>(next - sim::read_clocks().mono_us, 0, k_turn_us);
    take_events(static_cast<int>((wait + 999) / 1000));
    take_due();
    next = on_turn();
  }
}

void Driver::take_events(int timeout_ms) {
  std::array<epoll_event, 512> events;
  const int count = ::epoll_wait(context_.epoll, events.data(), static_cast<int>(events.size()), timeout_ms);
  context_.now = sim::read_clocks();
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    if (event.data.u64 == k_input_token) {
      ended_ = !take_input();
      continue;
    }
    Link& one = link(static_cast<std::uint32_t>(event.data.u64) - first_index_);
    if (one.generation() != static_cast<std::uint32_t>(event.data.u64 >> 32)) continue;
    context_.now = sim::read_clocks();
    one.on_events(event.events);
  }
}

void Driver::due(std::uint32_t slot, std::int64_t at_us) {
  due_at_[slot] = at_us;
  due_.push({at_us, slot});
}

void Driver::take_due() {
  context_.now = sim::read_clocks();
  while (!due_.empty() && due_.top().at_us <= now_us()) {
    const Due one = due_.top();
    due_.pop();
    if (due_at_[one.slot] != one.at_us) continue;
    due_at_[one.slot] = sim::k_never_us;
    on_due(one.slot);
  }
}

// False: the input has ended.
bool Driver::take_input() {
  std::array<char, 4096> bytes;
  ssize_t got = 0;
  while ((got = ::read(STDIN_FILENO, bytes.data(), bytes.size())) > 0) {
    input_.append(bytes.data(), static_cast<std::size_t>(got));
  }
  const bool more = got < 0 && errno == EAGAIN;
  for (std::size_t end = 0; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1)) {
    std::istringstream line(input_.substr(0, end));
    std::vector<std::string> words;
    for (std::string word; line >> word;) words.push_back(word);
    if (words.empty()) continue;
    std::printf("%s\n", on_command(words).c_str());
    std::fflush(stdout);
  }
  return more;
}

void JsonLine::key(std::string_view key) {
  if (text_.size() > 1) text_.push_back(',');
  text_.append("\"").append(key).append("\":");
}

void JsonLine::add(std::string_view name, std::uint64_t value) {
  key(name);
  text_.append(std::to_string(value));
}

void JsonLine::add_quantiles(const std::string& name, const sim::Histogram& of) {
  add(name + "_p50_ms", of.quantile_ms(0.5));
  add(name + "_p99_ms", of.quantile_ms(0.99));
  add(name + "_p999_ms", of.quantile_ms(0.999));
  add(name + "_max_ms", static_cast<double>(of.max_us()) / 1e3);
}

void JsonLine::add(std::string_view name, double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", value);
  key(name);
  text_.append(text);
}

}  // namespace fieldgate::bench
