// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/northbound/backoff.h"
#include "adapters/webhook/connection.h"
#include "adapters/webhook/directory.h"
#include "adapters/webhook/forwarder.h"
#include "adapters/webhook/request.h"
#include "adapters/webhook/target_url.h"
#include "adapters/webhook/tls_client.h"

#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>

namespace fieldgate::webhook {

// What the lines of one lane have in common. Thread: the lane's.
struct LineEnv {
  // Something has changed: records are done with, or a line's condition is another.
  class Events {
   public:
    virtual ~Events() = default;
    virtual void changed() = 0;
    virtual void failed(const std::string& error) = 0;
  };

  boost::asio::io_context& io;
  const WebhookLaneSettings& settings;
  const TargetUrl& target;
  const RequestWriter& requests;
  const std::set<unsigned>& retry_statuses;
  const Clock& clock;
  Log& log;
  WebhookLaneProbe& probe;
  Forwarder& forwarder;
  Directory& directory;
  TlsClient* tls;  // nullptr: plain
  Events& events;
  Monotonic not_before{};  // no request sooner: the target asked for that
};

// One keep-alive connection of a lane with at most one request on it: connects,
// sends the line's batches, and tries again what has not succeeded.
// Thread: the lane's. Borrows: `env`, which outlives this.
class Line {
 public:
  // `eager`: connects though there is nothing to send, so that a target that cannot
  // be reached shows at once.
  Line(LineEnv& env, std::size_t number, std::uint64_t seed, bool eager);

  // Begins whatever there is to begin now.
  void pump();
  // From now on nothing is tried again.
  void stop_retrying() noexcept { last_tries_ = true; }
  void close();

  bool busy() const noexcept { return phase_ != Phase::free; }
  // connecting: nothing has succeeded or failed yet.
  LaneState state() const noexcept { return state_; }

 private:
  enum class Phase : std::uint8_t { free, connecting, sending };

  void connect();
  void connect_to(Result<std::vector<boost::asio::ip::tcp::endpoint>> endpoints);
  void connected(Result<void> result);
  void send(Batch& batch);
  void concluded(Result<Answer> result);
  void unanswered(const Error& error);
  void answered(const Answer& answer);
  void succeeded();
  void try_again(LaneState state, const std::string& error, std::chrono::milliseconds at_least);
  void wake_at(Monotonic at);

  LineEnv& env_;
  const std::size_t number_;
  northbound::Backoff backoff_;
  boost::asio::steady_timer timer_;
  Phase phase_ = Phase::free;
  LaneState state_ = LaneState::connecting;
  bool eager_;
  bool last_tries_ = false;
  Monotonic retry_at_{};

  std::shared_ptr<Connection> connection_;
  std::uint64_t connects_ = 0;  // attempts: what an earlier one brings is stale
  Monotonic connect_by_{};
  bool fresh_ = true;          // nothing was answered on this connection yet
  bool tried_afresh_ = false;  // this batch was repeated at once already
  Monotonic sent_at_{};
  GaugeHold in_flight_;
};

}  // namespace fieldgate::webhook
