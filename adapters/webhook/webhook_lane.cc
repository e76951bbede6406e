// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/webhook_lane.h"

#include "adapters/webhook/line.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/thread_scheduling.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <fstream>
#include <random>
#include <thread>
#include <utility>

namespace fieldgate::webhook {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;

constexpr std::size_t k_key_bytes_max = 4'096;

std::uint64_t seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

// What make_webhook_lane() has checked.
struct Checked {
  WebhookLaneSettings settings;
  NodeIdentity node;
  TargetUrl target;
  RequestWriter requests;
  AddressPolicy policy;
  std::set<unsigned> retry_statuses;
  std::unique_ptr<TlsClient> tls;
};

Result<std::string> read_key(const WebhookLaneSettings& settings) {
  if (settings.secret_file.empty()) return settings.secret.value;
  if (!settings.secret.value.empty()) {
    return make_error(Errc::invalid_argument, "secret and secret_file are both set: set one");
  }
  std::ifstream file(settings.secret_file);
  std::string line;
  if (!file || (!std::getline(file, line) && !file.eof())) {
    return make_error(Errc::not_found, "secret_file " + settings.secret_file + " cannot be read");
  }
  if (line.ends_with('\r')) line.pop_back();
  if (line.empty() || line.size() > k_key_bytes_max) {
    return make_error(Errc::invalid_argument, "secret_file " + settings.secret_file +
                                                  " must have the key as its first line, of at most " +
                                                  std::to_string(k_key_bytes_max) + " bytes");
  }
  return line;
}

Result<std::set<unsigned>> parse_statuses(const std::vector<std::string>& texts) {
  std::set<unsigned> statuses;
  for (const std::string& text : texts) {
    unsigned status = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), status);
    if (ec != std::errc() || end != text.data() + text.size() || status < 400 || status > 499) {
      return make_error(Errc::invalid_argument, "retry_statuses: " + text + " is not a status from 400 to 499");
    }
    statuses.insert(status);
  }
  return statuses;
}

class LaneImpl final : public Lane, private LineEnv::Events {
 public:
  LaneImpl(Checked checked, std::shared_ptr<NameSource> names, const Clock& clock, Log& log, WebhookLaneProbe& probe,
           DeadLetterStore& dead_letters)
      : checked_(std::move(checked)),
        clock_(clock),
        forwarder_({checked_.settings.payload, checked_.node.node, checked_.settings.connections,
                    checked_.settings.batch_records_max, checked_.settings.batch_bytes_max,
                    checked_.settings.batch_linger, clock, log, probe, dead_letters, checked_.settings.name,
                    checked_.node.boot_id + "." + checked_.settings.name + ".", checked_.target.display}),
        directory_({io_, std::move(names), checked_.policy, log, checked_.settings.name, checked_.target.host,
                    checked_.target.port, milliseconds(checked_.settings.connect_timeout) / 2}),
        env_{io_,
             checked_.settings,
             checked_.target,
             checked_.requests,
             checked_.retry_statuses,
             clock,
             log,
             probe,
             forwarder_,
             directory_,
             checked_.tls.get(),
             *this},
        stop_timer_(io_) {
    for (std::size_t i = 0; i < std::max<std::size_t>(checked_.settings.connections, 1); ++i) {
      lines_.push_back(std::make_unique<Line>(env_, i, seed(), i == 0));
    }
    status_.name = checked_.settings.name;
    status_.type = "webhook";
    status_.destination = checked_.target.display;
    status_.required = checked_.settings.required;
    status_.since_unix_ms = clock_.unix_ms();
  }
  ~LaneImpl() override { stop(milliseconds(0)); }

  const std::string& name() const noexcept override { return checked_.settings.name; }
  bool required() const noexcept override { return checked_.settings.required; }

  void start(LaneFeed& feed) override {
    forwarder_.attach(feed);
    notify();  // behind a hold() that came before
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "webhook-lane");
      let_work_gather();
      const auto work = asio::make_work_guard(io_);
      io_.run();
    });
  }

  void notify() noexcept override {
    if (notified_.exchange(true, std::memory_order_acq_rel)) return;
    asio::post(io_, [this] {
      notified_.store(false, std::memory_order_release);
      pump();
    });
  }

  void hold(bool held) noexcept override {
    asio::post(io_, [this, held] {
      forwarder_.hold(held);
      pump();
    });
  }

  LaneStatus status() const override {
    const MutexLock lock(status_mutex_);
    return status_;
  }

  void stop(milliseconds patience) override {
    if (thread_.joinable()) {
      asio::post(io_, [this, until = clock_.now() + patience] { begin_stop(until); });
      thread_.join();
    }
    const MutexLock lock(status_mutex_);
    set_state(LaneState::stopped);
  }

 private:
  // LineEnv::Events. A line calls from its own midst: what it causes comes later.
  void changed() override { notify(); }

  void failed(const std::string& error) override {
    const MutexLock lock(status_mutex_);
    status_.last_error = error;
  }

  void pump() {
    forwarder_.report();
    const bool read = forwarder_.fill();
    for (const auto& line : lines_) line->pump();
    forwarder_.report();
    refresh_state();
    if (read) notify();  // in turn with what the connections have to say
    if (stopping_) proceed_stop();
  }

  void refresh_state() {
    const auto any = [this](LaneState state) {
      return std::ranges::any_of(lines_, [state](const auto& line) { return line->state() == state; });
    };
    LaneState state = LaneState::connecting;
    for (const LaneState worse : {LaneState::paused, LaneState::backing_off, LaneState::running}) {
      if (!any(worse)) continue;
      state = worse;
      break;
    }
    const MutexLock lock(status_mutex_);
    set_state(state);
  }

  void set_state(LaneState state) REQUIRES(status_mutex_) {
    if (status_.state == state) return;
    status_.state = state;
    status_.since_unix_ms = clock_.unix_ms();
  }

  void begin_stop(Monotonic until) {
    stopping_ = true;
    forwarder_.hurry();
    for (const auto& line : lines_) line->stop_retrying();
    stop_timer_.expires_at(until);
    stop_timer_.async_wait([this](error_code cancelled) {
      if (!cancelled) finish();
    });
    pump();
  }

  // Over once no line has begun anything more.
  void proceed_stop() {
    const bool busy = std::ranges::any_of(lines_, [](const auto& line) { return line->busy(); });
    if (!busy && !notified_.load(std::memory_order_acquire)) finish();
  }

  void finish() {
    stop_timer_.cancel();
    for (const auto& line : lines_) line->close();
    io_.stop();
  }

  const Checked checked_;
  const Clock& clock_;

  // Any thread.
  std::atomic<bool> notified_{false};
  mutable Mutex status_mutex_;
  LaneStatus status_ GUARDED_BY(status_mutex_);

  // The lane's thread.
  asio::io_context io_{1};
  Forwarder forwarder_;
  Directory directory_;
  LineEnv env_;
  std::vector<std::unique_ptr<Line>> lines_;
  asio::steady_timer stop_timer_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Lane>> make_webhook_lane(WebhookLaneSettings settings, NodeIdentity node, const Clock& clock,
                                                Log& log, WebhookLaneProbe& probe, DeadLetterStore& dead_letters) {
  return make_webhook_lane(std::move(settings), std::move(node), clock, log, probe, dead_letters, system_names());
}

Result<std::unique_ptr<Lane>> make_webhook_lane(WebhookLaneSettings settings, NodeIdentity node, const Clock& clock,
                                                Log& log, WebhookLaneProbe& probe, DeadLetterStore& dead_letters,
                                                std::shared_ptr<NameSource> names) {
  if (!is_valid_name(node.node)) return make_error(Errc::invalid_argument, "the node's name is not a valid name");
  if (!is_valid_name(node.boot_id)) return make_error(Errc::invalid_argument, "the boot id is not a valid name");
  if (!is_valid_name(settings.name)) return make_error(Errc::invalid_argument, "the lane's name is not a valid name");
  auto target = TargetUrl::parse(settings.url);
  if (!target) return target.error();
  auto policy = AddressPolicy::make(settings.allowed_networks);
  if (!policy) return policy.error();
  auto statuses = parse_statuses(settings.retry_statuses);
  if (!statuses) return statuses.error();
  auto key = read_key(settings);
  if (!key) return key.error();
  auto requests = RequestWriter::make(*target, settings.payload, settings.headers, node.node, *std::move(key));
  if (!requests) return requests.error();
  std::unique_ptr<TlsClient> tls;
  if (target->tls) {
    tls = std::make_unique<TlsClient>(TlsClient::Files{settings.ca_file, settings.certificate_file, settings.key_file},
                                      settings.name, log);
    if (const auto loaded = tls->load(); !loaded) return loaded.error();
  }
  Checked checked{std::move(settings), std::move(node),      *std::move(target), *std::move(requests),
                  *std::move(policy),  *std::move(statuses), std::move(tls)};
  return std::unique_ptr<Lane>(
      std::make_unique<LaneImpl>(std::move(checked), std::move(names), clock, log, probe, dead_letters));
}

}  // namespace fieldgate::webhook
