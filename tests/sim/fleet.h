// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/worker.h"

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace fieldgate::sim {

struct FleetSettings {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8443;
  bool plain = false;
  TlsSettings tls;
  std::string token_seed;
  DeviceSettings devices;
  std::uint32_t count = 100;
  unsigned threads = 1;
  double connects_per_second = 500;
  unsigned source_addresses = 0;  // 0: as many as the number of devices calls for
};

// All devices of this process, on their threads.
// Thread: one at a time.
class Fleet {
 public:
  // Resolves the gateway's name and reads the credentials. `settings` must
  // outlive the fleet.
  static Outcome<std::unique_ptr<Fleet>> make(const FleetSettings& settings);
  // Cuts off what is left.
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  void start();
  void order(Order order);
  Snapshot snapshot() const;
  // Returns when every device has finished.
  void join();
  // After join() only.
  Ledger ledger() const;

 private:
  Fleet() = default;

  GatewayAddress gateway_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace fieldgate::sim
