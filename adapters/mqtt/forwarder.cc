// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/forwarder.h"

#include "adapters/mqtt/reasons.h"

#include <algorithm>

namespace fieldgate::mqtt {
namespace {

// Room between the orders of two messages, for the pieces of a batch that is
// split: more than a batch has records.
constexpr std::uint64_t k_order_step = std::uint64_t{1} << 20;

}  // namespace

Forwarder::Forwarder(Parts parts) : parts_(std::move(parts)), batcher_(parts_.batch, parts_.topics) {}

void Forwarder::attach(LaneFeed& feed) {
  feed_ = &feed;
  next_ = feed.start();
}

void Forwarder::connected(std::size_t window, std::size_t batch_bytes_max) {
  window_ = window;
  batcher_.set_bytes_max(batch_bytes_max);
  // A new connection may have other rights: try at once.
  if (mode_ == Mode::paused) mode_ = Mode::probing;
}

void Forwarder::disconnected(std::vector<Message> unacknowledged) {
  in_flight_ = 0;
  for (Message& message : unacknowledged) put_back(std::move(message));
}

std::optional<Message> Forwarder::take(Monotonic now) {
  if (feed_ == nullptr || held_) return std::nullopt;
  if (mode_ == Mode::paused) {
    // What is still on its way is waited for, so that the refused go in order.
    if (now < resume_at_ || in_flight_ > 0) return std::nullopt;
    mode_ = Mode::probing;
  }
  if (mode_ == Mode::probing && in_flight_ > 0) return std::nullopt;
  fill(now);
  if (outbox_.empty()) {
    auto batch = hurry_ ? batcher_.take_oldest() : batcher_.take_due(now);
    if (batch) enqueue(*std::move(batch));
  }
  if (outbox_.empty()) return std::nullopt;
  ++in_flight_;
  return pop();
}

void Forwarder::fill(Monotonic now) {
  unix_ms_ = parts_.clock.unix_ms();
  while (outbox_.size() < window_ && outbox_bytes_ < k_outbox_bytes_max) {
    if (!block_) {
      if (ledger_full()) {
        // Of what is filtered nobody hears later: its blocks are done with now.
        report();
        if (ledger_full()) return;
      }
      block_ = feed_->read(next_);
      if (!block_) return;
      const std::uint64_t first = block_->first_position().value;
      index_ = next_.value > first ? static_cast<std::uint32_t>(next_.value - first) : 0;
      block_number_ = ledger_.add(block_, index_);
      next_ = {block_->last_position().value + 1};
    }
    if (index_ == block_->size()) {
      block_.reset();
      continue;
    }
    const RecordRef ref{block_number_, index_++};
    route(ledger_.record(ref), ref, now);
  }
}

void Forwarder::route(const RecordView& record, RecordRef ref, Monotonic now) {
  const LaneFeed::Fate fate = feed_->fate(record);
  const auto payload = parts_.routes[record.kind];
  if (fate == LaneFeed::Fate::expire) {
    ledger_.done(ref, BlockLedger::Fate::expired);
  } else if (fate == LaneFeed::Fate::filter || !payload) {
    ledger_.done(ref, BlockLedger::Fate::filtered);
  } else if (*payload == RoutePayload::batch) {
    // It has waited since it was received; the wall clock may have been set meanwhile.
    const std::chrono::milliseconds age(unix_ms_ - record.received_unix_ms);
    const auto waited = std::clamp(age, std::chrono::milliseconds(0), parts_.batch.linger);
    if (auto closed = batcher_.add(record, ref, now - waited)) enqueue(*std::move(closed));
  } else {
    route_alone(record, ref, *payload == RoutePayload::json);
  }
}

void Forwarder::route_alone(const RecordView& record, RecordRef ref, bool json) {
  auto topic = parts_.topics.record(record);
  if (!topic) return bury(ref, {}, k_topic_name_invalid, "not sent: the record's name cannot be part of a topic");
  Message message;
  if (json) {
    if (!json_.write(record, message.payload)) {
      return bury(ref, *topic, k_payload_format_invalid, "not sent: the frame cannot be written as JSON");
    }
    message.format = PayloadFormat::json;
  } else {
    message.payload.assign(reinterpret_cast<const char*>(record.payload.data()), record.payload.size());
  }
  message.topic = *std::move(topic);
  message.properties = {{"device", std::string(record.device)},
                        {"stream", std::to_string(record.stream.value)},
                        {"seq", std::to_string(record.seq.value)},
                        {"received", std::to_string(record.received_unix_ms)}};
  message.records.push_back(ref);
  enqueue(std::move(message));
}

void Forwarder::enqueue(Message message) {
  message.order = orders_;
  orders_ += k_order_step;
  outbox_bytes_ += message.payload.size();
  outbox_.push_back(std::move(message));
}

void Forwarder::put_back(Message message) {
  outbox_bytes_ += message.payload.size();
  const auto at = std::ranges::lower_bound(outbox_, message.order, {}, &Message::order);
  outbox_.insert(at, std::move(message));
}

Message Forwarder::pop() {
  Message message = std::move(outbox_.front());
  outbox_.pop_front();
  outbox_bytes_ -= message.payload.size();
  return message;
}

void Forwarder::acknowledged(Message message) {
  --in_flight_;
  if (mode_ == Mode::probing) {
    mode_ = Mode::running;
    parts_.pause.reset();
    parts_.log.info("mqtt_lane_resumed", {{"lane", parts_.lane}});
  }
  const std::int64_t now_ms = parts_.clock.unix_ms();
  for (const RecordRef ref : message.records) {
    const std::int64_t age_ms = now_ms - ledger_.record(ref).received_unix_ms;
    parts_.probe.record_time.observe(static_cast<std::uint64_t>(std::max<std::int64_t>(age_ms, 0)) * 1'000);
    ledger_.done(ref, BlockLedger::Fate::forwarded);
  }
  if (message.is_batch) {
    parts_.probe.batches.add();
    parts_.probe.batch_records.add(message.records.size());
  }
}

std::string Forwarder::refused(Message message, std::uint8_t reason, Monotonic now) {
  --in_flight_;
  parts_.probe.refusals[reason].add();
  if (classify_refusal(reason) == Refusal::of_message) {
    split(std::move(message), reason);
    return {};
  }
  std::string error = "the broker refused a message on " + message.topic + ": " + describe_refusal(reason);
  put_back(std::move(message));
  if (mode_ != Mode::paused) {
    const auto delay = parts_.pause.next();
    mode_ = Mode::paused;
    resume_at_ = now + delay;
    parts_.log.error("mqtt_lane_paused",
                     {{"lane", parts_.lane}, {"error", error}, {"retry_ms", static_cast<std::int64_t>(delay.count())}});
  }
  return error;
}

void Forwarder::split(Message message, std::uint8_t reason) {
  if (message.records.size() == 1) {
    return bury(message.records.front(), message.topic, reason, describe_refusal(reason));
  }
  const std::size_t half = message.records.size() / 2;
  const std::span<const RecordRef> refs(message.records);
  const auto record_of = [this](RecordRef ref) { return ledger_.record(ref); };
  Message first = batcher_.rebuild(message.topic, refs.first(half), record_of);
  Message second = batcher_.rebuild(message.topic, refs.subspan(half), record_of);
  first.order = message.order;
  second.order = message.order + half;
  put_back(std::move(second));
  put_back(std::move(first));
}

void Forwarder::bury(RecordRef ref, const std::string& topic, std::uint8_t reason, std::string detail) {
  const RecordView record = ledger_.record(ref);
  DeadLetter letter = DeadLetter::of(record);
  letter.lane = parts_.lane;
  letter.refused_unix_ms = parts_.clock.unix_ms();
  letter.target = topic;
  letter.reason = reason_name(reason);
  std::ranges::replace(letter.reason, ' ', '_');
  letter.detail = std::move(detail);
  parts_.log.error("mqtt_dead_letter", {{"lane", parts_.lane},
                                        {"device", record.device},
                                        {"stream", record.stream.value},
                                        {"seq", record.seq.value},
                                        {"kind", to_string(record.kind)},
                                        {"topic", std::string_view(topic)},
                                        {"reason", std::string_view(letter.reason)},
                                        {"error", std::string_view(letter.detail)}});
  // Before the record is done with: so the letter is kept before its place in the log
  // is given up.
  parts_.dead_letters.add(std::move(letter));
  ledger_.done(ref, BlockLedger::Fate::dead_lettered);
}

std::optional<Monotonic> Forwarder::wake_at() const {
  if (held_) return std::nullopt;
  if (mode_ == Mode::paused) return in_flight_ > 0 ? std::nullopt : std::optional(resume_at_);
  if (mode_ == Mode::probing) return std::nullopt;
  return batcher_.due();
}

void Forwarder::report() {
  if (const auto completion = ledger_.take_completed()) feed_->completed(completion->through, completion->outcome);
}

}  // namespace fieldgate::mqtt
