// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/tell_owner.h"

#include "gateway/ports/peers.h"

#include <memory>
#include <optional>
#include <utility>

namespace fieldgate::control {

void tell_owner(StoreWorker& worker, const ControlLinks& links, std::string_view kind, const DeviceId& device,
                std::function<void()> nowhere) {
  auto row = std::make_shared<std::optional<PresenceRow>>();
  worker.submit(
      [device, row](DeviceStore& store) -> Result<void> {
        row->reset();
        auto rows = store.presence_of({&device, 1});
        if (!rows) return rows.error();
        if (!rows->empty()) *row = std::move(rows->front());
        return {};
      },
      [&links, kind, device, row, nowhere = std::move(nowhere)](const Result<void>& outcome) {
        if (!outcome) return;
        const bool elsewhere = *row && (*row)->online && (*row)->node != links.node;
        if (!elsewhere) return nowhere();
        if (links.peers != nullptr) links.peers->tell((*row)->node, kind, device.str());
      });
}

}  // namespace fieldgate::control
