// SPDX-License-Identifier: Apache-2.0
//
// The part of Gateway that passes on to the shards what other nodes of the fleet do: see Owners.
#include "gateway/net/gateway.h"
#include "gateway/net/shard.h"

#include <utility>

namespace fieldgate::net {

template <class T, class F>
void Gateway::to_homes(std::vector<T> all, F f) {
  std::vector<std::vector<T>> homes(shards_.size());
  for (T& one : all) homes[home_index(one.device)].push_back(std::move(one));
  for (std::size_t i = 0; i < homes.size(); ++i) {
    if (homes[i].empty()) continue;
    shards_[i]->post([s = shards_[i].get(), f, its = std::move(homes[i])] { f(*s, its); });
  }
}

void Gateway::superseded(std::vector<Standing> by, const std::string& node) {
  to_homes(std::move(by), [node](Shard& shard, const std::vector<Standing>& its) { shard.superseded(its, node); });
}

void Gateway::renew(std::vector<Standing> lost, std::function<void(Standing)> failed) {
  to_homes(std::move(lost), [failed = std::move(failed)](Shard& shard, const std::vector<Standing>& its) {
    for (const Standing& one : its) shard.renew(one, failed);
  });
}

void Gateway::end(const Standing& connection, EndReason reason) {
  Shard* home = home_of(connection.device);
  home->post([home, connection, reason] { home->end_connection(connection, reason); });
}

void Gateway::list(std::function<void(std::vector<DeviceSummary>)> some) {
  for (const auto& shard : shards_) shard->post([s = shard.get(), some] { s->list(0, some); });
}

void Gateway::compare(std::vector<Standing> believed, std::function<void(std::vector<DeviceSummary>)> otherwise) {
  to_homes(std::move(believed), [otherwise = std::move(otherwise)](Shard& shard, const std::vector<Standing>& its) {
    shard.compare(its, otherwise);
  });
}

void Gateway::tell_lost(std::vector<LostConnection> lost) {
  to_homes(std::move(lost), [](Shard& shard, const std::vector<LostConnection>& its) { shard.tell_lost(its); });
}

}  // namespace fieldgate::net
