// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/request_gate.h"
#include "adapters/http/stream_hub.h"
#include "tests/support/http_fakes.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

// A hub, and those who read from it.
namespace fieldgate::http {

using test::FakeClock;

// Timers run when the test says so.
class ManualLoop final : public Loop {
 public:
  void post(std::function<void()> fn) override { timers_.push_back(std::move(fn)); }
  void after(milliseconds, std::function<void()> fn) override { timers_.push_back(std::move(fn)); }
  void run() {
    for (const auto& fn : std::exchange(timers_, {})) fn();
  }

 private:
  std::vector<std::function<void()>> timers_;
};

struct Event {
  std::string id;
  std::string name;
  boost::json::value data;
};

// Reads as a browser does; asks for the next piece once it is told to.
class Reader {
 public:
  explicit Reader(std::shared_ptr<BodySource> source) : source_(std::move(source)) { ask(); }

  void ask() {
    source_->next([this](BodyPiece piece) {
      text += piece.bytes;
      pieces += 1;
      ended = piece.then == BodyPiece::Then::end;
      if (greedy && !ended) ask();
    });
  }
  void leave() { source_.reset(); }

  std::vector<Event> events() const {
    std::vector<Event> out;
    std::size_t at = 0;
    for (std::size_t end; (end = text.find("\n\n", at)) != std::string::npos; at = end + 2) {
      Event event;
      for (std::size_t line = at; line < end;) {
        const std::size_t stop = std::min(text.find('\n', line), end);
        const std::string one = text.substr(line, stop - line);
        if (one.starts_with("id: ")) event.id = one.substr(4);
        if (one.starts_with("event: ")) event.name = one.substr(7);
        if (one.starts_with("data: ")) event.data = boost::json::parse(one.substr(6));
        line = stop + 1;
      }
      if (!event.name.empty()) out.push_back(std::move(event));
    }
    return out;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const Event& event : events()) out.push_back(event.name);
    return out;
  }
  // The numbers in `data` of events of that name.
  std::vector<std::int64_t> numbers(std::string_view name) const {
    std::vector<std::int64_t> out;
    for (const Event& event : events()) {
      if (event.name == name) out.push_back(event.data.at("n").to_number<std::int64_t>());
    }
    return out;
  }

  bool greedy = true;  // asks for more at once
  bool ended = false;
  int pieces = 0;
  std::string text;

 private:
  std::shared_ptr<BodySource> source_;
};

class StreamHubTest : public testing::Test {
 protected:
  void make(const std::function<void(ApiStreamSettings&)>& change = {}) {
    if (change) change(settings);
    hub = std::make_shared<StreamHub>(
        settings, "edge-1", "b00t", loop, [this](std::string_view device) { return labels[std::string(device)]; },
        [this](WatchSetPtr devices) { watched.push_back(std::move(devices)); }, clock, probe,
        other_nodes ? [this](ChangeWatchPtr what) { changes = std::move(what); } : StreamHub::WatchChanges());
  }
  StreamRequest request(const std::string& query, const std::string& last_event_id = {}) {
    Request r;
    r.target = *parse_target("/api/v1/stream" + (query.empty() ? "" : "?" + query));
    if (!last_event_id.empty()) r.head.headers.emplace_back("last-event-id", last_event_id);
    auto read = read_stream_request(r, settings.devices_max);
    if (const auto* fault = std::get_if<ParameterFault>(&read)) throw std::runtime_error(fault->detail);
    return std::get<StreamRequest>(read);
  }
  std::shared_ptr<BodySource> subscribe(const std::string& query, const std::string& last_event_id = {}) {
    auto source = hub->subscribe(request(query, last_event_id), "token", 0);
    return source ? *source : nullptr;
  }
  void publish(StreamKind kind, std::string_view device, int n) {
    hub->publish(kind, device, "{\"n\":" + std::to_string(n) + "}");
  }
  void presence(int from, int to, std::string_view device = "d") {
    for (int n = from; n <= to; ++n) publish(StreamKind::presence, device, n);
  }
  void pass(milliseconds time) { clock.set(clock.unix_ms() + time.count()); }
  std::vector<std::int64_t> range(std::int64_t from, std::int64_t to) {
    std::vector<std::int64_t> out;
    for (; from <= to; ++from) out.push_back(from);
    return out;
  }
  std::set<std::string> watched_now() const {
    std::set<std::string> out;
    if (watched.empty() || watched.back() == nullptr) return out;
    for (const DeviceId& id : *watched.back()) out.insert(id.str());
    return out;
  }

  std::shared_ptr<ManualLoop> loop = std::make_shared<ManualLoop>();
  ApiStreamSettings settings;
  FakeClock clock;
  HttpProbe probe;
  std::map<std::string, Labels> labels;
  std::vector<WatchSetPtr> watched;
  bool other_nodes = false;
  ChangeWatchPtr changes;  // of other nodes, that are wanted
  std::shared_ptr<StreamHub> hub;
};

}  // namespace fieldgate::http
