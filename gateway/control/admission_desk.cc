// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admission_desk.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace fieldgate::control {

struct AdmissionDesk::Batch {
  std::vector<Waiting> devices;
  // What the last run of the job has found.
  std::vector<ClaimOutcome> outcomes{};
  std::vector<RegistryChange> registered{};
};

AdmissionDesk::AdmissionDesk(StoreWorker& worker, RegistryDesk& registry, const Clock& clock, AdmissionLimits limits)
    : worker_(worker), registry_(registry), clock_(clock), limits_(limits), floor_(limits.floor) {}

void AdmissionDesk::admit(const DeviceId& id, const DeviceProfile& profile, Answer answer) {
  enter({id, profile, std::nullopt, std::move(answer)});
}

void AdmissionDesk::renew(const DeviceId& id, Epoch lost, Answer answer) {
  enter({id, std::nullopt, lost, std::move(answer)});
}

void AdmissionDesk::enter(Waiting device) {
  bool first = false;
  bool taken = false;
  if (worker_.available()) {
    const MutexLock lock(mutex_);
    if (inside_ < limits_.waiting_max) {
      taken = true;
      ++inside_;
      first = waiting_.empty();
      waiting_.push_back(device);
    }
  }
  if (!taken) return device.answer(EndReason::no_epoch);
  // A worker that has stopped takes no post: then what waits here is answered now.
  if (first && !worker_.post([this] { send(); })) send();
}

// In the order in which they came, for the worker keeps the order of its jobs.
void AdmissionDesk::send() {
  std::vector<Waiting> waiting;
  {
    const MutexLock lock(mutex_);
    waiting.swap(waiting_);
  }
  for (std::size_t at = 0; at < waiting.size(); at += k_claims_per_job) {
    auto batch = std::make_shared<Batch>();
    const std::size_t count = std::min(k_claims_per_job, waiting.size() - at);
    const auto begin = waiting.begin() + static_cast<std::ptrdiff_t>(at);
    batch->devices.assign(std::move_iterator(begin), std::move_iterator(begin + static_cast<std::ptrdiff_t>(count)));
    const bool taken = registry_.loaded() &&
                       worker_.submit([this, batch](DeviceStore& store) { return claim(store, *batch); },
                                      [this, batch](const Result<void>& outcome) { answer_all(*batch, outcome); });
    if (!taken) answer_all(*batch, make_error(Errc::unavailable, "the registry has not been read, or too much waits"));
  }
}

Result<void> AdmissionDesk::claim(DeviceStore& store, Batch& batch) const {
  batch.registered.clear();
  const std::int64_t now = clock_.unix_ms();
  std::vector<ClaimRequest> requests;
  requests.reserve(batch.devices.size());
  for (const Waiting& device : batch.devices) {
    requests.push_back({device.id, floor_, now, limits_.auto_register, device.lost});
  }
  auto outcomes = store.claim(requests);
  if (!outcomes) return outcomes.error();
  batch.outcomes = *std::move(outcomes);
  std::vector<ProfileUpdate> profiles;
  for (std::size_t i = 0; i < batch.devices.size(); ++i) {
    const auto* grant = std::get_if<ClaimGrant>(&batch.outcomes[i]);
    if (grant == nullptr) continue;
    const Waiting& device = batch.devices[i];
    if (device.profile) profiles.push_back({device.id, grant->epoch, device.profile->firmware, device.profile->labels});
    if (!grant->registered_now) continue;
    auto entry = store.device(device.id);
    if (!entry) return entry.error();
    if (*entry) batch.registered.push_back({device.id, (*entry)->revision, *std::move(entry)});
  }
  return store.set_profiles(profiles);
}

void AdmissionDesk::answer_all(Batch& batch, const Result<void>& outcome) {
  {
    const MutexLock lock(mutex_);
    inside_ -= batch.devices.size();
  }
  if (outcome && !batch.registered.empty()) registry_.changed(std::move(batch.registered), "auto_register");
  for (std::size_t i = 0; i < batch.devices.size(); ++i) {
    const Waiting& device = batch.devices[i];
    if (!outcome) {
      device.answer(EndReason::no_epoch);
    } else if (const auto* reason = std::get_if<EndReason>(&batch.outcomes[i])) {
      device.answer(*reason);
    } else {
      const Epoch epoch = std::get<ClaimGrant>(batch.outcomes[i]).epoch;
      floor_ = std::max(floor_, epoch);
      const DeviceEntry* entry = registry_.find(device.id);
      device.answer(Admitted{epoch, entry != nullptr ? entry->labels : Labels{}});
    }
  }
}

}  // namespace fieldgate::control
