// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/directory.h"

#include "gateway/core/mutex.h"

#include <boost/asio/post.hpp>

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace fieldgate::webhook {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::size_t k_addresses_max = 32;

class SystemNames final : public NameSource {
 public:
  Result<Addresses> look_up(const std::string& host) override {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (status != 0) {
      return make_error(Errc::unavailable, status == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(status));
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
    Addresses addresses;
    for (const addrinfo* entry = found; entry != nullptr && addresses.size() < k_addresses_max;
         entry = entry->ai_next) {
      tcp::endpoint endpoint;
      if (entry->ai_addrlen > endpoint.capacity()) continue;
      std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
      addresses.push_back(endpoint.address());
    }
    if (addresses.empty()) return make_error(Errc::unavailable, "it has no address");
    return addresses;
  }
};

}  // namespace

std::shared_ptr<NameSource> system_names() { return std::make_shared<SystemNames>(); }

// What the helper and the owner share: the helper may outlive the owner.
struct Directory::Attempt {
  Mutex mutex;
  bool abandoned GUARDED_BY(mutex) = false;
  bool delivered GUARDED_BY(mutex) = false;
};

Directory::Directory(Parts parts) : parts_(std::move(parts)), timer_(parts_.io) {}

Directory::~Directory() { abandon(); }

void Directory::find(Found found) {
  error_code not_numeric;
  const auto address = asio::ip::make_address(parts_.host, not_numeric);
  if (!not_numeric) {
    asio::post(parts_.io, [result = check({address}), found = std::move(found)] { found(result); });
    return;
  }
  waiting_.push_back(std::move(found));
  if (!attempt_) start();
  if (waiting_.size() > 1) return;
  timer_.expires_after(parts_.patience);
  timer_.async_wait([this](error_code cancelled) {
    if (!cancelled) conclude(make_error(Errc::unavailable, "the look-up takes too long"));
  });
}

void Directory::start() {
  attempt_ = std::make_shared<Attempt>();
  helper_ = std::thread([this, attempt = attempt_, names = parts_.names, host = parts_.host] {
    auto found = names->look_up(host);
    const MutexLock lock(attempt->mutex);
    if (attempt->abandoned) return;  // and `this` may be gone
    attempt->delivered = true;
    asio::post(parts_.io, [this, attempt, found = std::move(found)]() mutable { finished(attempt, std::move(found)); });
  });
}

void Directory::finished(const std::shared_ptr<Attempt>& attempt, Result<Addresses> addresses) {
  if (attempt != attempt_) return;
  attempt_.reset();
  helper_.join();
  timer_.cancel();
  conclude(addresses);
}

// After a look-up, or for want of one; nobody may be waiting any more.
void Directory::conclude(const Result<Addresses>& addresses) {
  Result<std::vector<tcp::endpoint>> result = std::vector<tcp::endpoint>();
  if (addresses) {
    failing_ = false;
    result = check(*addresses);
    if (result) last_good_ = *addresses;
  } else if (last_good_.empty()) {
    result = make_error(Errc::unavailable, parts_.host + " cannot be resolved: " + addresses.error().detail);
  } else {
    if (!std::exchange(failing_, true)) {
      parts_.log.warn("webhook_look_up_failed", {{"lane", parts_.lane},
                                                 {"host", parts_.host},
                                                 {"error", addresses.error().detail},
                                                 {"effect", "the addresses that were good last are used"}});
    }
    result = check(last_good_);
  }
  for (const Found& found : std::exchange(waiting_, {})) found(result);
}

Result<std::vector<tcp::endpoint>> Directory::check(const Addresses& addresses) const {
  std::vector<tcp::endpoint> endpoints;
  std::string refused;
  for (const auto& address : addresses) {
    const std::string_view fault = parts_.policy.fault(address);
    if (fault.empty()) {
      endpoints.emplace_back(address, parts_.port);
    } else if (refused.empty()) {
      refused = address.to_string() + " (" + std::string(fault) + ")";
    }
  }
  if (!endpoints.empty()) return endpoints;
  return make_error(Errc::forbidden, parts_.host + " is at " + refused +
                                         ", which webhooks may not reach: if that is meant, put its network in "
                                         "allowed_networks");
}

void Directory::abandon() {
  if (!attempt_) return;
  bool delivered = false;
  {
    const MutexLock lock(attempt_->mutex);
    delivered = attempt_->delivered;
    attempt_->abandoned = true;
  }
  attempt_.reset();
  if (delivered) {
    helper_.join();
  } else {
    // It cannot be woken from a system call, and nobody may wait for it.
    helper_.detach();
  }
}

}  // namespace fieldgate::webhook
