// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/registry_desk.h"

#include "gateway/control/random_id.h"
#include "gateway/control/registry_edit.h"

#include <algorithm>
#include <utility>

namespace fieldgate::control {
namespace {

Error not_registered(const DeviceId& id) {
  return make_error(Errc::not_found, "device " + id.str() + " is not in the registry");
}

Error too_busy() { return make_error(Errc::unavailable, "too much waits for the store: try again later"); }

Error other_revision(std::uint64_t is) {
  return make_error(Errc::conflict, "the entry has changed meanwhile: it has revision " + std::to_string(is));
}

}  // namespace

struct RegistryDesk::Page {
  std::vector<RegistryChange> changes;
  RegistryMarks marks{};
};

RegistryDesk::RegistryDesk(StoreWorker& worker, const Clock& clock, Log& log, RegistryLimits limits)
    : worker_(worker), clock_(clock), log_(log), limits_(limits), looks_(worker, [this](const NudgeBox::Nudges&) {
        if (worker_.available()) poll();
      }) {}

Result<void> RegistryDesk::start(ControlLinks links) {
  links_ = std::move(links);
  while (worker_.available() && !loaded_) {
    Page page;
    auto read = worker_.run_now([&](DeviceStore& store) { return read_page(store, revision_, page); });
    if (!read && read.error().code != Errc::unavailable) return read;
    if (read) polled(std::move(page));
  }
  worker_.on_available([this] {
    if (!loaded_) poll();
  });
  if (links_.peers != nullptr) {
    links_.peers->serve(k_peer_registry_look, [this](PeerMessage message, const Peers::Answer&) {
      looks_.nudge({}, std::move(message.from));
    });
  }
  worker_.after(limits_.poll, [this] { poll_again(); });
  worker_.after(limits_.trim, [this] { trim(); });
  return {};
}

// --- Registry: any thread

// Answers on the store's thread, also where nothing is asked of the store. A gateway
// that has stopped answers nobody.
void RegistryDesk::answer_later(std::function<void()> answer) { worker_.post(std::move(answer)); }

void RegistryDesk::get(const DeviceId& id, Reply<DeviceEntry> reply) {
  auto found = std::make_shared<std::optional<DeviceEntry>>();
  const bool taken = worker_.submit(
      [id, found](DeviceStore& store) -> Result<void> {
        auto entry = store.device(id);
        if (!entry) return entry.error();
        *found = *std::move(entry);
        return {};
      },
      [id, found, reply](const Result<void>& outcome) {
        if (!outcome) return reply(outcome.error());
        if (!*found) return reply(not_registered(id));
        reply(std::move(**found));
      });
  if (!taken) answer_later([reply] { reply(too_busy()); });
}

void RegistryDesk::put(const DeviceId& id, DevicePatch patch, PutMode mode, std::optional<std::uint64_t> expected,
                       std::string by, Reply<DeviceEntry> reply) {
  edit(
      id, expected,
      [this, id, patch = std::move(patch), mode](const DeviceEntry* current) {
        return edited(id, current, patch, mode, limits_.labels_max, clock_.unix_ms());
      },
      std::move(by), std::move(reply));
}

void RegistryDesk::add_credential(const DeviceId& id, NewCredential credential, std::string by,
                                  Reply<DeviceCredential> reply) {
  std::string credential_id = random_id();
  edit(
      id, std::nullopt,
      [this, id, credential_id, credential = std::move(credential)](const DeviceEntry* current) -> Result<DeviceEntry> {
        if (current == nullptr) return not_registered(id);
        DeviceEntry entry = *current;
        auto added = control::add_credential(entry, credential, credential_id, clock_.unix_ms());
        if (!added) return added.error();
        return entry;
      },
      std::move(by),
      [credential_id, reply = std::move(reply)](Result<DeviceEntry> entry) {
        if (!entry) return reply(entry.error());
        for (DeviceCredential& added : entry->credentials) {
          if (added.id == credential_id) return reply(std::move(added));
        }
        reply(make_error(Errc::internal, "the credential was added and is not there"));
      });
}

void RegistryDesk::remove_credential(const DeviceId& id, const std::string& credential_id, std::string by,
                                     Reply<bool> reply) {
  edit(
      id, std::nullopt,
      [this, id, credential_id](const DeviceEntry* current) -> Result<DeviceEntry> {
        if (current == nullptr) return not_registered(id);
        DeviceEntry entry = *current;
        entry.updated_unix_ms = clock_.unix_ms();
        if (std::erase_if(entry.credentials, [&](const auto& c) { return c.id == credential_id; }) == 0) {
          return make_error(Errc::not_found, "device " + id.str() + " has no such credential");
        }
        return entry;
      },
      std::move(by),
      [reply = std::move(reply)](const Result<DeviceEntry>& entry) {
        if (!entry) return reply(entry.error());
        reply(true);
      });
}

void RegistryDesk::list(std::string after, std::size_t limit, Reply<std::vector<DeviceEntry>> reply) {
  answer_later([this, after = std::move(after), limit, reply = std::move(reply)] {
    if (!loaded_) return reply(make_error(Errc::unavailable, "the registry has not been read yet: try again later"));
    reply(view_.list(after, limit));
  });
}

void RegistryDesk::remove(const DeviceId& id, std::optional<std::uint64_t> expected, std::string by,
                          Reply<std::uint64_t> reply) {
  auto gone = std::make_shared<std::optional<RegistryChange>>();
  const bool taken = worker_.submit(
      [id, expected, gone](DeviceStore& store) -> Result<void> {
        auto change = store.delete_device(id, expected);
        if (!change) return change.error();
        *gone = *std::move(change);
        return {};
      },
      [this, id, gone, by, reply](const Result<void>& outcome) {
        if (!outcome) return reply(outcome.error());
        if (!*gone) return reply(not_registered(id));
        const std::uint64_t revision = (*gone)->revision;
        changed({**gone}, by);
        reply(revision);
      });
  if (!taken) answer_later([reply] { reply(too_busy()); });
}

// --- one entry: read, changed, written, in one transaction

struct RegistryDesk::Change {
  DeviceId id;
  std::optional<std::uint64_t> expected;
  Edit edit;
  std::string by;
  Reply<DeviceEntry> reply;
  std::size_t attempts = 0;
  // What the last run of the job has found.
  std::optional<Error> refusal{};
  std::optional<DeviceEntry> entry{};
  bool raced = false;  // written meanwhile by another node
};

void RegistryDesk::edit(const DeviceId& id, std::optional<std::uint64_t> expected, Edit edit, std::string by,
                        Reply<DeviceEntry> reply) {
  attempt(std::make_shared<Change>(Change{id, expected, std::move(edit), std::move(by), std::move(reply)}));
}

void RegistryDesk::attempt(std::shared_ptr<Change> change) {
  ++change->attempts;
  const bool taken = worker_.submit(
      [change](DeviceStore& store) -> Result<void> {
        change->refusal.reset();
        change->entry.reset();
        change->raced = false;
        auto current = store.device(change->id);
        if (!current) return current.error();
        const std::uint64_t revision = *current ? (*current)->revision : 0;
        if (change->expected && *change->expected != revision) {
          change->refusal = *current ? other_revision(revision) : not_registered(change->id);
          return {};
        }
        auto entry = change->edit(*current ? &**current : nullptr);
        if (!entry) {
          change->refusal = entry.error();
          return {};
        }
        auto put = store.put_device(*entry, revision);
        if (!put) {
          change->raced = put.error().code == Errc::conflict;
          return put.error();
        }
        change->entry = *std::move(put);
        return {};
      },
      [this, change](const Result<void>& outcome) { settle(change, outcome); });
  if (!taken) answer_later([change] { change->reply(too_busy()); });
}

void RegistryDesk::settle(const std::shared_ptr<Change>& change, const Result<void>& outcome) {
  if (!outcome) {
    const bool again = change->raced && !change->expected && change->attempts < k_put_attempts_max;
    if (again) return attempt(change);
    return change->reply(outcome.error());
  }
  if (change->refusal) return change->reply(*change->refusal);
  changed({{change->id, change->entry->revision, *change->entry}}, change->by);
  change->reply(*std::move(change->entry));
}

// --- the store's thread

void RegistryDesk::poll_again() {
  if (loaded_) recheck(view_.take_expired(clock_.unix_ms()));
  if (worker_.available()) poll();
  worker_.after(limits_.poll, [this] { poll_again(); });
}

void RegistryDesk::poll() {
  if (std::exchange(polling_, true)) return;
  auto page = std::make_shared<Page>();
  const bool taken =
      worker_.submit([from = revision_, page](DeviceStore& store) { return read_page(store, from, *page); },
                     [this, page](const Result<void>& outcome) {
                       polling_ = false;
                       if (!outcome) return;
                       const bool begun = revision_ == 0;
                       const bool full = page->changes.size() == k_page;
                       polled(std::move(*page));
                       if (full || (revision_ == 0 && !begun)) poll();
                     });
  if (!taken) polling_ = false;
}

Result<void> RegistryDesk::read_page(DeviceStore& store, std::uint64_t after, Page& page) {
  auto changes = store.registry_changes(after, k_page);
  if (!changes) return changes.error();
  const auto marks = store.registry_marks();
  if (!marks) return marks.error();
  page = {*std::move(changes), *marks};
  return {};
}

void RegistryDesk::polled(Page page) {
  if (revision_ == 0) {
    floor_ = page.marks.trimmed;
    // From 0 no deletions are read: what is known already is held against all there is.
    anew_ = loaded_;
  }
  const bool set_back = page.marks.newest < known_;
  const bool missed = revision_ > 0 && page.marks.trimmed > std::max(revision_, floor_);
  if (set_back || missed) return begin_anew(page.marks);
  const bool last = page.changes.size() < k_page;
  if (!page.changes.empty()) {
    revision_ = page.changes.back().revision;
    for (RegistryChange& change : page.changes) {
      change.anew = anew_;
      if (anew_ && change.entry) seen_.insert(change.id.str());
      if (anew_ && !change.entry) seen_.erase(change.id.str());
    }
    changed(std::move(page.changes), {});
  }
  if (last && anew_) end_anew();
  if (!last || loaded_) return;
  loaded_ = true;
  view_.take_expired(clock_.unix_ms());  // nobody is connected yet by what had expired before
  log_.info("registry_loaded", {{"devices", view_.size()}, {"revision", revision_}});
}

// What is known stays in use until it is known better.
void RegistryDesk::begin_anew(const RegistryMarks& marks) {
  log_.warn("registry_read_anew",
            {{"known", known_},
             {"newest", marks.newest},
             {"why", marks.newest < known_ ? "the store was set back: restored from a copy, or failed over to one "
                                             "that lags behind"
                                           : "deletions were forgotten before they were read here"}});
  anew_told_ = loaded_;
  seen_.clear();
  revision_ = known_ = 0;
}

void RegistryDesk::end_anew() {
  std::vector<RegistryChange> gone;
  for (DeviceId& id : view_.missing_from(seen_)) gone.push_back({std::move(id), revision_, std::nullopt, true});
  anew_ = false;
  seen_.clear();
  changed(std::move(gone), {});
  if (!std::exchange(anew_told_, false)) return;
  log_.info("registry_loaded", {{"devices", view_.size()}, {"revision", revision_}});
}

// Deletions that every node has long read, a portion at a time.
void RegistryDesk::trim() {
  auto count = std::make_shared<std::size_t>(0);
  const auto again = [this](std::chrono::milliseconds delay) { worker_.after(delay, [this] { trim(); }); };
  const bool taken =
      worker_.available() && worker_.submit(
                                 [count, keep = limits_.deletions_kept](DeviceStore& store) -> Result<void> {
                                   const auto done = store.trim_deletions(keep, k_trim_step);
                                   if (!done) return done.error();
                                   *count = *done;
                                   return {};
                                 },
                                 [this, count, again](const Result<void>& outcome) {
                                   const bool more = outcome && *count == k_trim_step;
                                   again(more ? limits_.poll : limits_.trim);
                                 });
  if (!taken) again(limits_.trim);
}

void RegistryDesk::changed(std::vector<RegistryChange> changes, const std::string& by) {
  std::vector<std::pair<std::optional<DeviceEntry>, RegistryChange>> news;
  std::vector<RegistryChange> told;
  for (RegistryChange& change : changes) {
    known_ = std::max(known_, change.revision);
    RegistryView::Change applied = view_.apply(change);
    if (!applied.news) continue;
    told.push_back(change);
    news.emplace_back(std::move(applied.before), std::move(change));
  }
  if (news.empty()) return;
  // The sinks first: what is asked below is answered by what they know.
  for (ControlSink* sink : links_.sinks) sink->registry_changed(told);
  std::vector<DeviceId> affected;
  for (const auto& [before, change] : news) {
    take_effect(before ? &*before : nullptr, change, affected);
    if (!by.empty()) write_down(before ? &*before : nullptr, change, by);
  }
  recheck(std::move(affected));
  if (!by.empty()) tell_nodes();
}

// They would find out with their next poll; this is sooner.
void RegistryDesk::tell_nodes() {
  if (links_.peers == nullptr || telling_) return;
  auto nodes = std::make_shared<std::vector<NodeRow>>();
  telling_ = worker_.submit(
      [nodes](DeviceStore& store) -> Result<void> {
        auto found = store.nodes();
        if (!found) return found.error();
        *nodes = *std::move(found);
        return {};
      },
      [this, nodes](const Result<void>& outcome) {
        telling_ = false;
        if (!outcome) return;
        for (const NodeRow& node : *nodes) {
          if (node.live && node.name != links_.node) links_.peers->tell(node.name, k_peer_registry_look, {});
        }
      });
}

void RegistryDesk::take_effect(const DeviceEntry* before, const RegistryChange& change,
                               std::vector<DeviceId>& affected) {
  if (links_.downlink == nullptr) return;
  const auto close = [&](EndReason reason) { links_.downlink->close(change.id, reason, [](bool) {}); };
  if (!change.entry) return close(EndReason::credential_revoked);
  if (!change.entry->enabled) {
    if (before == nullptr || before->enabled) close(EndReason::device_disabled);
    return;
  }
  static const std::vector<DeviceCredential> none;
  if ((before != nullptr ? before->credentials : none) != change.entry->credentials) affected.push_back(change.id);
}

void RegistryDesk::write_down(const DeviceEntry* before, const RegistryChange& change, const std::string& by) {
  if (links_.recorder == nullptr || !change.entry) return;  // a timeline goes with its entry
  for (const std::string& what : changes_between(before, &*change.entry)) {
    links_.recorder->record(
        {change.id, TimelineKind::registry, clock_.unix_ms(), {}, {{"what", what}, {"by", by.substr(0, 256)}}});
  }
}

void RegistryDesk::recheck(std::vector<DeviceId> devices) {
  if (!devices.empty() && links_.downlink != nullptr) links_.downlink->recheck(std::move(devices));
}

}  // namespace fieldgate::control
