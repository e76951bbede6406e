// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/connector.h"

#include "gateway/core/mutex.h"

#include <pthread.h>

#include <utility>

namespace fieldgate::mqtt {

struct Connector::Attempt {
  Mutex mutex;
  bool abandoned GUARDED_BY(mutex) = false;
  bool delivered GUARDED_BY(mutex) = false;
};

Connector::Connector(Deliver deliver)
    : deliver_(std::move(deliver)), abandoned_(std::make_shared<std::atomic<int>>(0)) {}

Connector::~Connector() { abandon(); }

bool Connector::start(ConnectPlan plan) {
  abandon();
  if (abandoned_->load() >= k_abandoned_max) return false;
  attempt_ = std::make_shared<Attempt>();
  helper_ = std::thread(
      [attempt = attempt_, number = ++attempts_, deliver = deliver_, count = abandoned_, plan = std::move(plan)] {
        pthread_setname_np(pthread_self(), "mqtt-connect");
        auto opened = std::make_shared<Opened>(Link::open(plan));
        const MutexLock lock(attempt->mutex);
        if (attempt->abandoned) {
          count->fetch_sub(1);
        } else {
          attempt->delivered = true;
          deliver(number, std::move(opened));
        }
      });
  return true;
}

bool Connector::finish(std::uint64_t attempt) {
  if (!attempt_ || attempt != attempts_) return false;
  attempt_.reset();
  helper_.join();
  return true;
}

void Connector::abandon() {
  if (!attempt_) return;
  bool delivered = false;
  {
    const MutexLock lock(attempt_->mutex);
    delivered = attempt_->delivered;
    if (!delivered) {
      attempt_->abandoned = true;
      abandoned_->fetch_add(1);
    }
  }
  attempt_.reset();
  if (delivered) {
    helper_.join();
  } else {
    // It cannot be woken from a system call, and nobody may wait for it.
    helper_.detach();
  }
}

}  // namespace fieldgate::mqtt
