// SPDX-License-Identifier: Apache-2.0
//
// The part of PresenceLog that answers: who came and went, which nodes there are, and the kick
// of a device that another node has.
#include "gateway/control/presence_log.h"

#include <memory>
#include <optional>
#include <utility>

namespace fieldgate::control {

void PresenceLog::kick(const DeviceId& id, Reply<bool> reply) {
  auto node = std::make_shared<std::string>();
  const auto end = [this, id, node](DeviceStore& store) -> Result<bool> {
    node->clear();
    auto rows = store.presence_of({&id, 1});
    if (!rows) return rows.error();
    if (rows->empty() || !rows->front().online || rows->front().node == node_.name) return false;
    const PresenceRow& row = rows->front();
    *node = row.node;
    PresenceEvent event{id, row.epoch, false, row.node, row.boot_id, clock_.unix_ms()};
    event.reason = to_string(EndReason::kicked);
    auto added = store.add_presence({&event, 1});
    if (!added) return added.error();
    return *added > 0;
  };
  ask<bool>(end, [this, node, reply = std::move(reply)](Result<bool> ended) {
    if (ended && *ended && links_.peers != nullptr) links_.peers->tell(*node, k_peer_presence_look, {});
    reply(std::move(ended));
  });
}

// --- questions

void PresenceLog::presence(const DeviceId& id, std::uint64_t before, std::size_t limit,
                           Reply<std::vector<PresenceEvent>> reply) {
  ask<std::vector<PresenceEvent>>(
      [id, before, limit](DeviceStore& store) { return store.device_presence(id, before, limit); }, std::move(reply));
}

void PresenceLog::nodes(Reply<std::vector<NodeRow>> reply) {
  ask<std::vector<NodeRow>>([](DeviceStore& store) { return store.nodes(); }, std::move(reply));
}

template <class T>
void PresenceLog::ask(std::function<Result<T>(DeviceStore&)> question, Reply<T> reply) {
  auto found = std::make_shared<T>();
  const bool taken = worker_.submit(
      [question = std::move(question), found](DeviceStore& store) -> Result<void> {
        auto answer = question(store);
        if (!answer) return answer.error();
        *found = *std::move(answer);
        return {};
      },
      [found, reply](const Result<void>& outcome) {
        if (!outcome) return reply(outcome.error());
        reply(std::move(*found));
      });
  if (taken) return;
  worker_.post([reply] { reply(make_error(Errc::unavailable, "too much waits for the store: try again later")); });
}

}  // namespace fieldgate::control
