// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_subscription.h"

#include "adapters/http/json_writer.h"
#include "adapters/http/stream_hub.h"

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
      given_at_(hub->clock_.now()) {}

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
  if (hub == nullptr || replay_) return;  // the history has it
  const std::size_t marker = missed_.count > 0 ? 256 : 0;
  if (bytes_ + event->text.size() + marker > hub->settings_.subscriber_bytes_max) {
    ++missed_.count;
    if (missed_.from == 0) missed_.from = event->number;
    missed_.to = event->number;
    hub->probe_.stream_missed.add();
    return;
  }
  if (missed_.count > 0) {
    StreamEvent marked;
    marked.text = missed_text();
    bytes_ += marked.text.size();
    queue_.push_back(std::make_shared<const StreamEvent>(std::move(marked)));
  }
  bytes_ += event->text.size();
  queue_.push_back(event);
}

void StreamSubscription::lose(std::uint64_t count) { missed_.count += count; }

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
  if (replay_) gather_replay(out);
  const auto hub = hub_.lock();
  while (!queue_.empty() && out.size() < k_body_piece_bytes) {
    out += queue_.front()->text;
    bytes_ -= queue_.front()->text.size();
    queue_.pop_front();
    if (hub != nullptr) hub->probe_.stream_sent.add();
  }
  if (queue_.empty() && !replay_ && missed_.count > 0) out += missed_text();
  return out;
}

void StreamSubscription::gather_replay(std::string& out) {
  const auto hub = hub_.lock();
  if (hub == nullptr) return;
  if (!hub->covers(filter_, *replay_)) {
    // The history has moved on while this reader was slow.
    out += hub->note("reset", hub->last_);
    replay_.reset();
    return;
  }
  StreamHub::Walk walk(*hub, filter_, *replay_);
  while (const StreamEventPtr* event = walk.next()) {
    replay_ = (*event)->number;
    out += (*event)->text;
    hub->probe_.stream_sent.add();
    if (out.size() >= k_body_piece_bytes) return;
  }
  replay_.reset();
}

std::string StreamSubscription::missed_text() {
  const auto hub = hub_.lock();
  const Missed missed = std::exchange(missed_, {});
  if (hub == nullptr) return {};
  JsonWriter json;
  json.begin_object().field("count", missed.count);
  json.key("from");
  missed.from == 0 ? json.null() : json.value(hub->id_of(missed.from));
  json.key("to");
  missed.to == 0 ? json.null() : json.value(hub->id_of(missed.to));
  json.end_object();
  std::string text;
  if (missed.to != 0) text += "id: " + hub->id_of(missed.to) + "\n";
  return text + "event: missed\ndata: " + std::move(json).take() + "\n\n";
}

}  // namespace fieldgate::http
