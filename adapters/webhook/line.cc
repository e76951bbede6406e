// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/line.h"

#include <algorithm>
#include <utility>

namespace fieldgate::webhook {
namespace {

using std::chrono::milliseconds;

}  // namespace

Line::Line(LineEnv& env, std::size_t number, std::uint64_t seed, bool eager)
    : env_(env),
      number_(number),
      backoff_(env.settings.backoff_min, env.settings.backoff_max, seed),
      timer_(env.io),
      eager_(eager) {}

void Line::pump() {
  if (busy()) return;
  const bool failing = state_ == LaneState::backing_off || state_ == LaneState::paused;
  if (last_tries_ && failing) return;
  const Monotonic now = env_.clock.now();
  const Monotonic from = std::max(retry_at_, env_.not_before);
  if (now < from) return wake_at(from);
  Batch* batch = env_.forwarder.take(number_);
  if (batch != nullptr || eager_) {
    if (!connection_ || !connection_->usable()) return connect();
    if (batch != nullptr) return send(*batch);
  }
  if (const auto due = env_.forwarder.due(number_)) wake_at(*due);
}

void Line::wake_at(Monotonic at) {
  timer_.expires_at(at);
  timer_.async_wait([this](error_code cancelled) {
    if (!cancelled) env_.events.changed();
  });
}

void Line::close() {
  timer_.cancel();
  if (connection_) connection_->close();
}

// The address is looked up, checked and used once: nothing is resolved in between.
void Line::connect() {
  phase_ = Phase::connecting;
  connect_by_ = env_.clock.now() + env_.settings.connect_timeout;
  if (connection_) connection_->close();
  connection_.reset();
  env_.directory.find([this, attempt = ++connects_](Result<std::vector<boost::asio::ip::tcp::endpoint>> endpoints) {
    if (attempt == connects_) connect_to(std::move(endpoints));
  });
}

void Line::connect_to(Result<std::vector<boost::asio::ip::tcp::endpoint>> endpoints) {
  if (!endpoints) return connected(endpoints.error());
  // So that lines, and attempts, do not all begin with the same address.
  auto& list = *endpoints;
  std::ranges::rotate(list, list.begin() + static_cast<std::ptrdiff_t>((connects_ - 1) % list.size()));
  connection_ = Connection::make(env_.io, env_.probe.responses);
  const auto left = std::chrono::duration_cast<milliseconds>(connect_by_ - env_.clock.now());
  connection_->open({std::move(list), env_.tls != nullptr ? env_.tls->context() : nullptr, env_.target.host}, left,
                    [this](Result<void> result) { connected(std::move(result)); });
}

void Line::connected(Result<void> result) {
  phase_ = Phase::free;
  if (!result) {
    env_.probe.connect_failures.add();
    try_again(LaneState::backing_off, "cannot connect: " + result.error().detail, milliseconds(0));
    return env_.events.changed();
  }
  env_.probe.connects.add();
  fresh_ = true;
  if (std::exchange(eager_, false)) succeeded();
  env_.events.changed();
}

void Line::send(Batch& batch) {
  phase_ = Phase::sending;
  if (batch.attempts++ > 0) env_.probe.retries.add();
  in_flight_ = GaugeHold(env_.probe.in_flight);
  env_.probe.bytes.add(batch.body->size());
  sent_at_ = env_.clock.now();
  connection_->exchange(env_.requests.head(batch.id, batch.attempts, *batch.body, env_.clock.unix_ms() / 1'000),
                        batch.body, env_.settings.request_timeout,
                        [this](Result<Answer> result) { concluded(std::move(result)); });
}

void Line::concluded(Result<Answer> result) {
  phase_ = Phase::free;
  in_flight_.reset();
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(env_.clock.now() - sent_at_);
  env_.probe.request_time.observe(static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0)));
  if (result) {
    answered(*result);
  } else {
    unanswered(result.error());
  }
  env_.events.changed();
}

void Line::unanswered(const Error& error) {
  const bool timed_out = error.code == Errc::timed_out;
  const auto outcome = timed_out ? WebhookOutcome::timed_out : WebhookOutcome::broken;
  env_.probe.requests[static_cast<std::size_t>(outcome)].add();
  // The target had given up the idle connection just then: that is no failure of
  // the target, and the next connection shows whether there is one.
  const bool stale = error.code == Errc::closed && !fresh_;
  if (stale && !std::exchange(tried_afresh_, true)) return;
  try_again(LaneState::backing_off, error.detail, milliseconds(0));
}

void Line::answered(const Answer& answer) {
  fresh_ = false;
  const Judgement judgement = judge(answer, env_.retry_statuses);
  env_.probe.requests[static_cast<std::size_t>(judgement.outcome)].add();
  if (judgement.outcome == WebhookOutcome::accepted) {
    env_.forwarder.accepted(number_);
    return succeeded();
  }
  if (judgement.outcome == WebhookOutcome::refused) {
    env_.forwarder.refused(number_, answer);
    env_.events.failed(judgement.error);
    return succeeded();
  }
  const auto wait = parse_retry_after(answer.retry_after, env_.clock.unix_ms() / 1'000);
  const auto at_least = std::min<milliseconds>(wait.value_or(std::chrono::seconds(0)), env_.settings.backoff_max);
  if (judgement.outcome == WebhookOutcome::throttled) {
    env_.not_before = std::max(env_.not_before, env_.clock.now() + at_least);
  }
  const bool denied = judgement.outcome == WebhookOutcome::denied || judgement.outcome == WebhookOutcome::redirected;
  try_again(denied ? LaneState::paused : LaneState::backing_off, judgement.error, at_least);
}

void Line::succeeded() {
  backoff_.reset();
  retry_at_ = {};
  tried_afresh_ = false;
  const LaneState before = std::exchange(state_, LaneState::running);
  if (before == LaneState::running) return;
  env_.log.info("webhook_line_running",
                {{"lane", env_.settings.name}, {"line", number_}, {"target", env_.target.display}});
}

void Line::try_again(LaneState state, const std::string& error, milliseconds at_least) {
  const milliseconds delay = std::max(backoff_.next(), at_least);
  retry_at_ = env_.clock.now() + delay;
  state_ = state;
  tried_afresh_ = false;
  env_.events.failed(error);
  env_.log.warn("webhook_failed", {{"lane", env_.settings.name},
                                   {"line", number_},
                                   {"target", env_.target.display},
                                   {"error", error},
                                   {"retry_ms", delay.count()}});
}

}  // namespace fieldgate::webhook
