// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_hub.h"

#include "adapters/http/json_writer.h"
#include "adapters/http/stream_subscription.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace fieldgate::http {
namespace {

// Events of one moment are sent together. With a thousand readers each sending costs
// the machine some ten milliseconds, and devices come first.
constexpr milliseconds k_pause{20};
constexpr std::size_t k_subscribers_per_ms = 5;
constexpr milliseconds k_watch_pause{100};
constexpr seconds k_records_linger{30};
constexpr seconds k_changes_linger{120};
// The name of what no device is named for.
const std::string k_all_devices;
constexpr std::string_view k_retry = "retry: 2000\n";

void drop(std::vector<StreamSubscription*>& from, const StreamSubscription* what) { std::erase(from, what); }

}  // namespace

StreamHub::StreamHub(const ApiStreamSettings& settings, std::string node, std::string boot_id, std::weak_ptr<Loop> loop,
                     LabelsOf labels, Watch watch, const Clock& clock, HttpProbe& probe, WatchChanges watch_changes)
    : settings_(settings),
      node_(std::move(node)),
      boot_id_(std::move(boot_id)),
      prefix_(node_ + "." + boot_id_ + "."),
      loop_(std::move(loop)),
      labels_of_(std::move(labels)),
      watch_(std::move(watch)),
      watch_changes_(std::move(watch_changes)),
      clock_(clock),
      probe_(probe),
      fleet_events_((settings.history_events + 1) / 2, settings.history_bytes_max / 2),
      record_events_(settings.history_events / 2, settings.history_bytes_max / 2),
      records_(k_records_linger),
      commands_(k_changes_linger),
      twins_(k_changes_linger) {}

Result<std::shared_ptr<BodySource>> StreamHub::subscribe(const StreamRequest& request, std::string token,
                                                         std::int64_t expires_unix_ms) {
  if (subscriptions_.size() >= settings_.subscribers_max) {
    return make_error(Errc::full, "all " + std::to_string(settings_.subscribers_max) + " streams are in use");
  }
  std::optional<std::uint64_t> after;
  std::string lead(k_retry);
  if (request.last_event_id.empty()) {
    lead += note("hello", last_);
  } else {
    lead += note("hello", std::nullopt);
    after = number_of(request.last_event_id);
    if (after && !covers(request.filter, *after)) after.reset();
    if (!after) lead += note("reset", last_);
  }
  auto subscription = std::make_shared<StreamSubscription>(shared_from_this(), request.filter, std::move(token),
                                                           expires_unix_ms, after, std::move(lead));
  add(*subscription);
  return std::static_pointer_cast<BodySource>(std::move(subscription));
}

void StreamHub::publish(StreamKind kind, std::string_view device, std::string json) {
  // What a device reports of itself may be spread over lines: blanks to JSON, but an end to SSE.
  std::replace_if(
      json.begin(), json.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  auto event = std::make_shared<StreamEvent>();
  event->kind = kind;
  event->number = ++last_;
  event->device = device;
  const std::string id = id_of(event->number);
  event->text.reserve(id.size() + json.size() + 40);
  event->text.append("id: ").append(id).append("\nevent: ").append(to_string(kind));
  event->text.append("\ndata: ").append(json).append("\n\n");
  probe_.stream_events.add();
  const StreamEventPtr shared = std::move(event);
  (is_record(kind) ? record_events_ : fleet_events_).add(shared);

  std::optional<Labels> labels;
  const auto offer = [&](const std::vector<StreamSubscription*>& to) {
    for (StreamSubscription* subscription : to) {
      if (matches(subscription->filter(), *shared, labels)) subscription->take(shared);
    }
  };
  if (device.empty()) {
    offer(subscriptions_);
  } else {
    if (!is_record(kind)) offer(of_all_);
    if (const auto named = of_device_.find(shared->device); named != of_device_.end()) offer(named->second);
  }
  schedule_flush();
}

bool StreamHub::matches(const StreamFilter& filter, const StreamEvent& event, std::optional<Labels>& labels) const {
  if (!filter.wants(event.kind)) return false;
  if (event.device.empty()) return true;
  if (!filter.wants_device(event.device)) return false;
  if (filter.labels.empty()) return true;
  if (!labels) labels = labels_of_(event.device);
  return filter.wants_labels(*labels);
}

void StreamHub::lost(StreamKinds kinds, std::uint64_t count) {
  if (count == 0) return;
  ++last_;  // the gap has a number: who was told of what comes before it comes back to a reset
  if ((kinds & k_record_stream_kinds) != 0) record_events_.forget(last_);
  if ((kinds & ~k_record_stream_kinds) != 0) fleet_events_.forget(last_);
  for (StreamSubscription* subscription : subscriptions_) {
    if ((subscription->filter().kinds & kinds) == 0) continue;
    subscription->lose(count, false);
    probe_.stream_missed.add(count);
  }
  schedule_flush();
}

void StreamHub::missed_changes(std::uint64_t count, bool uncounted) {
  if (count == 0 && !uncounted) return;
  ++last_;  // as above, for those alone that want any of it
  commands_.gap(last_);
  twins_.gap(last_);
  for (StreamSubscription* subscription : subscriptions_) {
    const StreamFilter& filter = subscription->filter();
    if (!filter.wants(StreamKind::command) && !filter.wants(StreamKind::twin)) continue;
    subscription->lose(count, uncounted);
    probe_.stream_missed.add(count);
  }
  schedule_flush();
}

void StreamHub::tick() {
  const Monotonic now = clock_.now();
  bool ended = false;
  for (StreamWatch* watch : {&records_, &commands_, &twins_}) ended = watch->end(now) || ended;
  if (ended) schedule_watch();
  const std::int64_t unix_ms = clock_.unix_ms();
  for (StreamSubscription* subscription : subscriptions_) {
    if (subscription->expired(unix_ms)) {
      subscription->end();
    } else {
      subscription->keep_alive(now, settings_.keep_alive);
    }
  }
}

void StreamHub::recheck(const std::function<bool(std::string_view token)>& still_valid) {
  for (StreamSubscription* subscription : subscriptions_) {
    if (!still_valid(subscription->token())) subscription->end();
  }
}

milliseconds StreamHub::pause() const noexcept {
  return k_pause + milliseconds(subscriptions_.size() / k_subscribers_per_ms);
}

std::string StreamHub::note(std::string_view event, std::optional<std::uint64_t> number) const {
  JsonWriter json;
  json.begin_object().field("node", node_).field("boot_id", boot_id_).end_object();
  std::string text;
  if (number) text.append("id: ").append(id_of(*number)).append("\n");
  return text.append("event: ").append(event).append("\ndata: ").append(std::move(json).take()).append("\n\n");
}

std::optional<std::uint64_t> StreamHub::number_of(std::string_view id) const {
  if (!id.starts_with(prefix_)) return std::nullopt;
  id.remove_prefix(prefix_.size());
  std::uint64_t number = 0;
  const auto [end, ec] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (ec != std::errc() || end != id.data() + id.size() || number > last_) return std::nullopt;
  return number;
}

std::uint64_t StreamHub::given_up(const StreamFilter& filter) const noexcept {
  const bool fleet = (filter.kinds & ~k_record_stream_kinds) != 0;
  return std::max(fleet ? fleet_events_.given_up() : 0, filter.wants_records() ? record_events_.given_up() : 0);
}

std::uint64_t StreamHub::count(const StreamFilter& filter, std::uint64_t number) const {
  Walk walk(*this, filter, number);
  std::uint64_t n = 0;
  while (walk.next() != nullptr) ++n;
  return n;
}

template <class Visit>
void StreamHub::each_watch(const StreamFilter& filter, Visit&& visit) {
  if (filter.wants_records()) {
    for (const std::string& device : filter.devices) visit(records_, device);
  }
  if (!watch_changes_) return;
  for (auto& [kind, watch] : {std::pair(StreamKind::command, &commands_), std::pair(StreamKind::twin, &twins_)}) {
    if (!filter.wants(kind)) continue;
    if (filter.devices.empty()) visit(*watch, k_all_devices);
    for (const std::string& device : filter.devices) visit(*watch, device);
  }
}

bool StreamHub::covers(const StreamFilter& filter, std::uint64_t number) {
  bool all = number >= given_up(filter);
  each_watch(filter, [&](const StreamWatch& watch, const std::string& name) {
    all = all && (watch.covers(name, number) || (&watch != &records_ && watch.covers(k_all_devices, number)));
  });
  return all;
}

void StreamHub::add(StreamSubscription& subscription) {
  heard_ = true;
  subscriptions_.push_back(&subscription);
  const StreamFilter& filter = subscription.filter();
  if (filter.devices.empty()) of_all_.push_back(&subscription);
  for (const std::string& device : filter.devices) of_device_[device].push_back(&subscription);
  bool any = false;
  each_watch(filter, [&](StreamWatch& watch, const std::string& name) { any = watch.hold(name, last_) || any; });
  if (any) schedule_watch();
}

void StreamHub::remove(StreamSubscription& subscription) {
  drop(subscriptions_, &subscription);
  const StreamFilter& filter = subscription.filter();
  if (filter.devices.empty()) drop(of_all_, &subscription);
  for (const std::string& device : filter.devices) {
    const auto at = of_device_.find(device);
    drop(at->second, &subscription);
    if (at->second.empty()) of_device_.erase(at);
  }
  const Monotonic now = clock_.now();
  each_watch(filter, [now](StreamWatch& watch, const std::string& name) { watch.release(name, now); });
}

void StreamHub::schedule_flush() {
  const std::shared_ptr<Loop> loop = loop_.lock();
  if (loop == nullptr || subscriptions_.empty() || std::exchange(flush_due_, true)) return;
  loop->after(pause(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->flush();
  });
}

void StreamHub::flush() {
  flush_due_ = false;
  for (StreamSubscription* subscription : subscriptions_) subscription->pump();
}

void StreamHub::schedule_watch() {
  const std::shared_ptr<Loop> loop = loop_.lock();
  if (loop == nullptr || std::exchange(watch_due_, true)) return;
  loop->after(k_watch_pause, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->tell_watch();
  });
}

void StreamHub::tell_watch() {
  watch_due_ = false;
  auto devices = std::make_shared<WatchSet>();
  records_.each([&](const std::string& device) {
    if (auto id = DeviceId::parse(device)) devices->insert(*std::move(id));
  });
  watch_(devices->empty() ? nullptr : std::move(devices));
  if (!watch_changes_) return;
  auto changes = std::make_shared<const ChangeWatch>(ChangeWatch{scope_of(commands_), scope_of(twins_)});
  watch_changes_(changes->commands.none() && changes->twins.none() ? nullptr : std::move(changes));
}

ChangeScope StreamHub::scope_of(const StreamWatch& watch) {
  ChangeScope scope;
  scope.all = watch.has(k_all_devices);
  if (scope.all) return scope;
  watch.each([&](const std::string& device) {
    if (auto id = DeviceId::parse(device)) scope.devices.insert(*std::move(id));
  });
  return scope;
}

const StreamEventPtr* StreamHub::Walk::next() {
  for (;;) {
    const bool fleet = fleet_ != hub_.fleet_events_.end();
    const bool records = records_ != hub_.record_events_.end();
    if (!fleet && !records) return nullptr;
    auto& from = fleet && (!records || (*fleet_)->number < (*records_)->number) ? fleet_ : records_;
    const StreamEventPtr* event = &*from++;
    std::optional<Labels> labels;
    if (hub_.matches(filter_, **event, labels)) return event;
  }
}

}  // namespace fieldgate::http
