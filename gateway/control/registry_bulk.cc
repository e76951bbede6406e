// SPDX-License-Identifier: Apache-2.0
//
// The part of RegistryDesk that takes many entries at once.
#include "gateway/control/random_id.h"
#include "gateway/control/registry_desk.h"
#include "gateway/control/registry_edit.h"

#include <algorithm>
#include <utility>

namespace fieldgate::control {

struct RegistryDesk::Bulk {
  std::vector<Item> items;
  std::string by;
  Reply<std::vector<Result<DeviceEntry>>> reply;
  std::vector<std::vector<std::string>> credential_ids{};  // one for each credential of each item
  std::vector<std::optional<Result<DeviceEntry>>> outcomes{};
  std::size_t begin = 0;  // of the present step
  std::size_t end = 0;
  std::optional<std::size_t> culprit{};                             // the item that the last run came to grief over
  std::vector<std::pair<std::size_t, Result<DeviceEntry>>> done{};  // by the last run
  std::vector<RegistryChange> news{};                               // of these
};

void RegistryDesk::put_all(std::vector<Item> items, std::string by, Reply<std::vector<Result<DeviceEntry>>> reply) {
  auto bulk = std::make_shared<Bulk>(Bulk{std::move(items), std::move(by), std::move(reply)});
  bulk->outcomes.resize(bulk->items.size());
  for (const Item& item : bulk->items) {
    auto& ids = bulk->credential_ids.emplace_back(item.credentials.size());
    std::ranges::generate(ids, random_id);
  }
  bulk->end = std::min(k_put_all_step, bulk->items.size());
  put_step(std::move(bulk));
}

void RegistryDesk::put_step(std::shared_ptr<Bulk> bulk) {
  const bool taken = worker_.submit([this, bulk](DeviceStore& store) { return put_items(store, *bulk); },
                                    [this, bulk](const Result<void>& outcome) { settle_step(bulk, outcome); });
  if (taken) return;
  answer_later([this, bulk] {
    settle_step(bulk, make_error(Errc::unavailable, "too much waits for the store: try again later"));
  });
}

Result<DeviceEntry> RegistryDesk::edited_item(const DeviceEntry* current, const Bulk& bulk, std::size_t at) const {
  const Item& item = bulk.items[at];
  const std::int64_t now = clock_.unix_ms();
  auto entry = edited(item.id, current, item.patch, item.mode, limits_.labels_max, now);
  if (!entry) return entry;
  for (std::size_t i = 0; i < item.credentials.size(); ++i) {
    const auto same = [&](const DeviceCredential& c) {
      return c.kind == item.credentials[i].kind && c.sha256 == item.credentials[i].sha256;
    };
    if (std::ranges::any_of(entry->credentials, same)) continue;
    auto added = control::add_credential(*entry, item.credentials[i], bulk.credential_ids[at][i], now);
    if (!added) return added.error();
  }
  return entry;
}

// One step, but for what is refused already. What changes nothing is left as it is.
Result<void> RegistryDesk::put_items(DeviceStore& store, Bulk& bulk) {
  bulk.culprit.reset();
  bulk.done.clear();
  bulk.news.clear();
  for (std::size_t at = bulk.begin; at < bulk.end; ++at) {
    if (bulk.outcomes[at]) continue;
    bulk.culprit = at;
    auto current = store.device(bulk.items[at].id);
    if (!current) return current.error();
    auto entry = edited_item(*current ? &**current : nullptr, bulk, at);
    if (!entry) {
      bulk.done.emplace_back(at, entry.error());
      continue;
    }
    if (*current && is_same(*entry, **current)) {
      bulk.done.emplace_back(at, **std::move(current));
      continue;
    }
    auto put = store.put_device(*entry, *current ? (*current)->revision : 0);
    if (!put) return put.error();
    bulk.news.push_back({put->id, put->revision, *put});
    bulk.done.emplace_back(at, *std::move(put));
  }
  bulk.culprit.reset();
  return {};
}

void RegistryDesk::settle_step(const std::shared_ptr<Bulk>& bulk, const Result<void>& outcome) {
  if (!outcome && outcome.error().code != Errc::unavailable && bulk->culprit) {
    // The store refuses that one: the rest of the step once more, without it.
    bulk->outcomes[*bulk->culprit] = outcome.error();
    return put_step(bulk);
  }
  if (!outcome) {
    for (std::size_t at = bulk->begin; at < bulk->items.size(); ++at) {
      if (!bulk->outcomes[at]) bulk->outcomes[at] = outcome.error();
    }
    bulk->end = bulk->items.size();
  } else {
    for (auto& [at, entry] : bulk->done) bulk->outcomes[at] = std::move(entry);
    changed(std::move(bulk->news), bulk->by);
  }
  if (bulk->end < bulk->items.size()) {
    bulk->begin = bulk->end;
    bulk->end = std::min(bulk->begin + k_put_all_step, bulk->items.size());
    return put_step(bulk);
  }
  std::vector<Result<DeviceEntry>> results;
  results.reserve(bulk->outcomes.size());
  for (auto& item : bulk->outcomes) results.push_back(*std::move(item));
  bulk->reply(std::move(results));
}

}  // namespace fieldgate::control
