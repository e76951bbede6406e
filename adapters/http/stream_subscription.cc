// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_subscription.h"

#include "adapters/http/json_writer.h"
#include "adapters/http/stream_hub.h"

#include <algorithm>
#include <utility>

namespace fieldgate::http {

StreamSubscription::StreamSubscription(std::shared_ptr<StreamHub> hub, StreamFilter filter, std::string token,
                                       std::int64_t expires_unix_ms, std::optional<std::uint64_t> replay_after,
                                       std::string lead)
    : hub_(hub),
      filter_(std::move(filter)),
      token_(std::move(token)),
      expires_unix_ms_(expires_unix_ms),
      hold_(hub->probe_.stream_subscribers),
      lead_(std::move(lead)),
      replay_(replay_after),
      given_at_(hub->clock_.now()) {
  if (replay_) behind_ = hub->count(filter_, *replay_);
}

StreamSubscription::~StreamSubscription() {
  if (const auto hub = hub_.lock()) hub->remove(*this);
}

void StreamSubscription::next(Give give) {
  give_ = std::move(give);
  const auto hub = hub_.lock();
  if (hub == nullptr) end();
  // What is about to be sent to all goes out in one.
  if (hub != nullptr && !hub->flush_due_) pump();
}

void StreamSubscription::take(const StreamEventPtr& event) {
  const auto hub = hub_.lock();
  if (hub == nullptr) return;
  if (!replay_ && bytes_ + event->text.size() > hub->settings_.subscriber_bytes_max) replay_ = event->number - 1;
  if (replay_) {
    ++behind_;
    return;
  }
  if (has_lost()) {
    StreamEvent said;
    said.text = lost_text();
    bytes_ += said.text.size();
    queue_.push_back(std::make_shared<const StreamEvent>(std::move(said)));
  }
  bytes_ += event->text.size();
  queue_.push_back(event);
}

void StreamSubscription::pump() {
  if (!give_) return;
  std::string bytes = gather();
  if (!bytes.empty() || ended_) give(std::move(bytes));
}

void StreamSubscription::keep_alive(Monotonic now, milliseconds every) {
  if (give_ && now - given_at_ >= every) give(":\n\n");
}

void StreamSubscription::end() {
  ended_ = true;
  pump();
}

void StreamSubscription::give(std::string bytes) {
  if (const auto hub = hub_.lock()) given_at_ = hub->clock_.now();
  std::exchange(give_, nullptr)({std::move(bytes), ended_ ? BodyPiece::Then::end : BodyPiece::Then::more});
}

std::string StreamSubscription::gather() {
  std::string out = std::exchange(lead_, {});
  const auto hub = hub_.lock();
  if (hub == nullptr) return out;
  while (!queue_.empty() && out.size() < k_body_piece_bytes) {
    out += queue_.front()->text;
    bytes_ -= queue_.front()->text.size();
    queue_.pop_front();
    hub->probe_.stream_sent.add();
  }
  if (!queue_.empty()) return out;
  if (has_lost()) out += lost_text();
  if (replay_) gather_replay(*hub, out);
  return out;
}

void StreamSubscription::gather_replay(StreamHub& hub, std::string& out) {
  out += missed_in_history(hub);
  StreamHub::Walk walk(hub, filter_, *replay_);
  while (out.size() < k_body_piece_bytes) {
    const StreamEventPtr* event = walk.next();
    if (event == nullptr) {
      replay_.reset();
      behind_ = 0;
      return;
    }
    replay_ = (*event)->number;
    --behind_;
    out += (*event)->text;
    hub.probe_.stream_sent.add();
  }
}

// Said before what is left, although some of that may be older than some of what is gone:
// the two halves of the history do not forget alike.
std::string StreamSubscription::missed_in_history(StreamHub& hub) {
  const std::uint64_t gone = hub.given_up(filter_);
  if (gone <= std::max(*replay_, told_)) return {};
  const std::uint64_t count = behind_ - hub.count(filter_, *replay_);
  const std::uint64_t from = std::max(*replay_, told_) + 1;
  told_ = gone;
  if (count == 0) return {};
  behind_ -= count;
  hub.probe_.stream_missed.add(count);
  JsonWriter json;
  json.begin_object().field("count", count).field("from", hub.id_of(from)).field("to", hub.id_of(gone)).end_object();
  return "event: missed\ndata: " + std::move(json).take() + "\n\n";
}

std::string StreamSubscription::lost_text() {
  JsonWriter json;
  json.begin_object().key("count");
  const std::uint64_t count = std::exchange(lost_, 0);
  std::exchange(uncounted_, false) ? json.null() : json.value(count);
  json.key("from").null().key("to").null().end_object();
  return "event: missed\ndata: " + std::move(json).take() + "\n\n";
}

}  // namespace fieldgate::http
