// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

namespace fieldgate::test {

// Passes TCP connections from a loopback port of its own on to another, until it
// is cut: a machine that dies, as both sides see it.
// Thread: any; it has one of its own.
class TcpProxy {
 public:
  explicit TcpProxy(std::uint16_t to);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  // Resets every connection and takes no more.
  void cut();

 private:
  void run();

  std::uint16_t to_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> cut_{false};
  std::vector<std::pair<int, int>> pairs_;  // the thread's
  std::thread thread_;
};

}  // namespace fieldgate::test
