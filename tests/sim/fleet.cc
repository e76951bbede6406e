// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/fleet.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

namespace fieldgate::sim {
namespace {

// Well below the 28,000 ports that one address has, since closed ones linger.
constexpr std::uint32_t k_devices_per_address = 8'000;

Outcome<GatewayAddress> resolve(const FleetSettings& settings) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(settings.port);
  const int result = ::getaddrinfo(settings.host.c_str(), port.c_str(), &hints, &found);
  if (result != 0) return Problem{"cannot resolve " + settings.host + ": " + ::gai_strerror(result)};
  // IPv4 where there is a choice: "localhost" has both, and a listener often one.
  const addrinfo* chosen = found;
  while (chosen->ai_family != AF_INET && chosen->ai_next != nullptr) chosen = chosen->ai_next;
  if (chosen->ai_family != AF_INET) chosen = found;
  GatewayAddress gateway;
  std::memcpy(&gateway.address, chosen->ai_addr, chosen->ai_addrlen);
  gateway.address_bytes = chosen->ai_addrlen;
  ::freeaddrinfo(found);
  const bool six = settings.host.find(':') != std::string::npos;
  gateway.host_header = (six ? "[" + settings.host + "]" : settings.host) + ":" + port;
  const auto& four = reinterpret_cast<const sockaddr_in&>(gateway.address);
  const bool loopback = gateway.address.ss_family == AF_INET && (ntohl(four.sin_addr.s_addr) >> 24) == 127;
  const unsigned wanted =
      settings.source_addresses != 0 ? settings.source_addresses : 1 + settings.count / k_devices_per_address;
  gateway.source_addresses = loopback ? std::clamp(wanted, 1U, 250U) : 1;
  return gateway;
}

}  // namespace

Outcome<std::unique_ptr<Fleet>> Fleet::make(const FleetSettings& settings) {
  std::unique_ptr<Fleet> fleet(new Fleet);
  auto gateway = resolve(settings);
  if (!gateway) return gateway.error();
  fleet->gateway_ = *gateway;
  TlsSettings tls = settings.tls;
  tls.server_name = settings.host;
  std::random_device random;
  const std::uint32_t workers = std::clamp(settings.threads, 1U, std::max(1U, settings.count));
  for (std::uint32_t i = 0; i < workers; ++i) {
    std::unique_ptr<TlsClient> client;
    if (!settings.plain) {
      auto made = TlsClient::make(tls);
      if (!made) return made.error();
      client = std::move(*made);
    }
    WorkerSettings share;
    const auto part = [&](std::uint32_t n) {
      return static_cast<std::uint32_t>(std::uint64_t{settings.count} * n / workers);
    };
    share.first = part(i);
    share.count = part(i + 1) - share.first;
    share.connects_per_second = settings.connects_per_second / workers;
    share.closes_per_second /= workers;
    const std::uint64_t seed = (std::uint64_t{random()} << 32) | random();
    fleet->workers_.push_back(
        std::make_unique<Worker>(fleet->gateway_, settings.devices, share, std::move(client), seed));
    fleet->workers_.back()->io().token_seed = settings.token_seed;
  }
  return fleet;
}

Fleet::~Fleet() {
  order(Order::quit);
  join();
}

void Fleet::start() {
  for (auto& worker : workers_) {
    threads_.emplace_back([&one = *worker] { one.run(); });
  }
}

void Fleet::order(Order order) {
  for (auto& worker : workers_) worker->order(order);
}

Snapshot Fleet::snapshot() const {
  Snapshot all;
  for (const auto& worker : workers_) all.merge(worker->snapshot());
  return all;
}

void Fleet::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

Ledger Fleet::ledger() const {
  Ledger all;
  for (const auto& worker : workers_) all.append(worker->ledger());
  return all;
}

}  // namespace fieldgate::sim
