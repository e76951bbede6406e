// SPDX-License-Identifier: Apache-2.0
#include "gateway/control_part.h"

#include "adapters/postgres/postgres_store.h"
#include "adapters/sqlite/sqlite_store.h"

#include <utility>

namespace fieldgate {
namespace {

Result<std::unique_ptr<DeviceStore>> make_store(const Settings& settings, const Clock& clock) {
  const StoreSettings& of = settings.store;
  if (of.kind == StoreKind::postgres) return postgres::make_postgres_store(of);
  return sqlite::make_sqlite_store(of.file.empty() ? settings.node.state_dir + "/fieldgate.db" : of.file, clock);
}

control::RegistryLimits registry_limits(const Settings& settings) {
  control::RegistryLimits limits;
  limits.labels_max = settings.limits.labels_max;
  return limits;
}

control::PresenceLimits presence_limits(const StoreSettings& store) {
  control::PresenceLimits limits;
  limits.lease = store.lease;
  limits.events_max = store.presence_events_max;
  limits.timeline_entries = store.timeline_entries;
  limits.shared = store.kind == StoreKind::postgres;
  return limits;
}

control::ReaperLimits reaper_limits(const StoreSettings& store) {
  control::ReaperLimits limits;
  limits.lease = store.lease;
  limits.timeline_entries = store.timeline_entries;
  return limits;
}

control::TimelineLimits timeline_limits(const StoreSettings& store) {
  control::TimelineLimits limits;
  limits.entries = store.timeline_entries;
  limits.refusals = store.refusals;
  return limits;
}

}  // namespace

Result<std::unique_ptr<ControlPart>> ControlPart::make(const Settings& settings, const NodeRow& node,
                                                       Borrowed borrowed) {
  if (settings.store.kind == StoreKind::none) return std::unique_ptr<ControlPart>();
  auto store = make_store(settings, borrowed.clock);
  if (!store) return store.error();
  std::unique_ptr<ControlPart> part(new ControlPart(settings, node, std::move(*store), borrowed));
  const auto opened = part->worker_.open();
  if (opened) return part;
  const bool may_come =
      settings.store.kind == StoreKind::postgres && opened.error().code == make_error_code(Errc::unavailable);
  if (!may_come) return opened.error();
  borrowed.log.warn("store_unavailable",
                    {{"error", opened.error().detail}, {"effect", "no device is let in until it can be reached"}});
  return part;
}

ControlPart::ControlPart(const Settings& settings, const NodeRow& node, std::unique_ptr<DeviceStore> store,
                         Borrowed borrowed)
    : node_(node.name),
      worker_(std::move(store), borrowed.clock, borrowed.log),
      registry_(worker_, borrowed.clock, borrowed.log, registry_limits(settings)),
      admission_(worker_, registry_, borrowed.clock, {settings.registry.auto_register, borrowed.floor}),
      presence_(worker_, node, borrowed.clock, borrowed.log, presence_limits(settings.store), membership_),
      follower_(worker_, node, borrowed.clock, borrowed.log, {}, membership_),
      reaper_(worker_, node, borrowed.clock, borrowed.log, reaper_limits(settings.store), membership_),
      timelines_(worker_, presence_, timeline_limits(settings.store), borrowed.log),
      commands_(worker_, borrowed.clock, borrowed.log, settings.commands, settings.store.commands_kept),
      twins_(worker_, borrowed.clock, settings.twins),
      teller_(worker_, node.boot_id, borrowed.clock),
      listener_(worker_, node.name, borrowed.clock, borrowed.log),
      lane_(worker_, borrowed.reader, borrowed.dead_letters, borrowed.clock, borrowed.log),
      shared_(settings.store.kind == StoreKind::postgres) {
  lane_.add(presence_);
  lane_.add(commands_);
  lane_.add(twins_);
}

ControlPart::~ControlPart() { stop(std::chrono::milliseconds(0)); }

ControlPorts ControlPart::ports() {
  return {&registry_,
          &commands_,
          &twins_,
          &timelines_,
          [this] { return status(); },
          shared_ ? &presence_ : nullptr,
          shared_ ? &listener_ : nullptr};
}

Result<void> ControlPart::start(control::ControlLinks links) {
  links.recorder = &timelines_;
  links.node = node_;
  if (shared_) {
    teller_.start(links);
    links.sinks.push_back(&teller_);
    listener_.start(links);
    links.sinks.push_back(&listener_);
  }
  if (auto read = registry_.start(links); !read) return read;
  if (shared_) {
    if (auto found = follower_.start(links, [this] { presence_.reconcile(); }); !found) return found;
  }
  if (auto told = presence_.start(links); !told) return told;
  if (shared_) {
    reaper_.start(links, [this](const DeviceId& id) {
      const DeviceEntry* entry = registry_.find(id);
      return entry != nullptr ? entry->labels : Labels{};
    });
  }
  twins_.start(links);
  commands_.start(std::move(links));
  worker_.start();
  started_ = true;
  return {};
}

void ControlPart::stop(std::chrono::milliseconds patience) {
  if (!std::exchange(started_, false)) return;
  presence_.stop(patience);
  timelines_.hand_in();
  worker_.stop(patience);
}

void ControlPart::changed(std::vector<DeviceSummary> devices) {
  commands_.devices_changed(devices);
  twins_.devices_changed(devices);
  presence_.changed(std::move(devices));
}

}  // namespace fieldgate
