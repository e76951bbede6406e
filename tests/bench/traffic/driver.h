// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/traffic/link.h"
#include "tests/sim/histogram.h"

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::bench {

// How to get to the server, and with what.
struct LinkSettings {
  std::string server = "127.0.0.1:8443";  // loopback only
  std::string path = "/v1/connect";
  std::string subprotocol = "fieldgate.v1";
  std::string ca_file;
  std::string pki;  // set: devices show certificates signed by its authority
  std::string token_seed;
  std::string id_prefix = "sim-";
  unsigned first_source = 0;
  unsigned source_addresses = 4;
  bool tls_resume = false;
  Depth depth = Depth::websocket;
};

// One thread with one epoll: many links, lines on standard input that say what to do, and things that are due.
// A line is answered by one line of JSON on standard output; the end of the input ends the run.
class Driver : public LinkOwner {
 public:
  explicit Driver(std::uint32_t links) : count_(links) {}
  ~Driver() override;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // `first_index`: the number of the first device.
  sim::Outcome<void> open(const LinkSettings& settings, std::uint32_t first_index);
  void run();

 protected:
  // Before the first turn.
  virtual void on_start() = 0;
  // At each turn; returns when the next thing is due besides what was filed with due().
  virtual std::int64_t on_turn() = 0;
  virtual void on_due(std::uint32_t slot) = 0;
  // Words of a line; what is returned is the answer.
  virtual std::string on_command(const std::vector<std::string>& words) = 0;

  // on_due(slot) at `at_us`, instead of what was filed for it before.
  void due(std::uint32_t slot, std::int64_t at_us);
  // It waits for nothing.
  void not_due(std::uint32_t slot) { due_at_[slot] = sim::k_never_us; }
  Link& link(std::uint32_t slot) { return *links_[slot]; }
  std::uint32_t slot_of(const Link& link) const noexcept { return link.index() - first_index_; }
  std::uint32_t count() const noexcept { return count_; }
  LinkContext& context() noexcept { return context_; }
  std::int64_t now_us() const noexcept { return context_.now.mono_us; }
  sim::Rng& rng() noexcept { return context_.rng; }

 private:
  struct Due {
    std::int64_t at_us;
    std::uint32_t slot;
    bool operator>(const Due& other) const noexcept { return at_us > other.at_us; }
  };

  void take_events(int timeout_ms);
  void take_due();
  bool take_input();

  const std::uint32_t count_;
  std::uint32_t first_index_ = 1;
  std::unique_ptr<sim::TlsClient> tls_;
  LinkContext context_;
  std::vector<std::unique_ptr<Link>> links_;
  // Lazy: a slot may be here more than once; only the entry at due_at_[slot] counts.
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::vector<std::int64_t> due_at_;
  std::string input_;
  bool ended_ = false;
};

// {"key":value,...} of figures; the caller makes sure of the keys.
class JsonLine {
 public:
  void add(std::string_view key, std::uint64_t value);
  void add(std::string_view key, double value);
  // NAME_p50_ms, NAME_p99_ms, NAME_p999_ms, NAME_max_ms.
  void add_quantiles(const std::string& name, const sim::Histogram& of);
  std::string text() const { return text_ + "}"; }

 private:
  void key(std::string_view key);
  std::string text_ = "{";
};

}  // namespace fieldgate::bench
