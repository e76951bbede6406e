// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/registry_desk.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/admission.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace fieldgate::control {

struct AdmissionLimits {
  bool auto_register = false;
  Epoch floor{};                     // epochs are above this: those of a time without a store
  std::size_t waiting_max = 65'536;  // beyond it: no_epoch at once
};

// Lets devices in that the registry knows, each with an epoch from the store. What
// waits goes there in one batch, between two transactions. No store: no epoch, at
// once; nobody waits for an outage to end.
// Thread: any. Borrows: worker, registry, clock; all outlive the worker's stop().
class AdmissionDesk final : public Admission {
 public:
  static constexpr std::size_t k_claims_per_job = 1'000;

  AdmissionDesk(StoreWorker& worker, RegistryDesk& registry, const Clock& clock, AdmissionLimits limits);

  void admit(const DeviceId& id, const DeviceProfile& profile, Answer answer) override;
  void renew(const DeviceId& id, Epoch lost, Answer answer) override;

 private:
  struct Waiting {
    DeviceId id;
    std::optional<DeviceProfile> profile;  // none: it stays as it is
    std::optional<Epoch> lost;             // of a connection that goes on
    Answer answer;
  };
  struct Batch;

  void enter(Waiting device);
  void send();
  Result<void> claim(DeviceStore& store, Batch& batch) const;
  void answer_all(Batch& batch, const Result<void>& outcome);

  StoreWorker& worker_;
  RegistryDesk& registry_;
  const Clock& clock_;
  const AdmissionLimits limits_;
  // The store thread's: above every epoch given here. A store that was set back (another
  // server took over without its last transactions) would give them a second time.
  Epoch floor_;

  Mutex mutex_;
  std::vector<Waiting> waiting_ GUARDED_BY(mutex_);
  std::size_t inside_ GUARDED_BY(mutex_) = 0;  // not answered yet
};

}  // namespace fieldgate::control
