// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace fieldgate {

// Tells the service manager how this process is, by the protocol of sd_notify(3): a
// datagram to the socket that NOTIFY_SOCKET names. Without one nothing is told.
// Thread: one. Never waits; what cannot be sent is not sent.
class ServiceManager {
 public:
  // `environment`: of the process. `pid`: its own, which WATCHDOG_PID must be, if there is one.
  ServiceManager(const std::map<std::string, std::string>& environment, int pid);
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  void ready();
  // Followed by ready(), whatever came of it.
  void reloading();
  // `patience`: how much longer it will take at most.
  void stopping(std::chrono::milliseconds patience);
  void status(std::string_view text);  // for people, one line
  // As often as the watchdog wants it at least; more often does no harm. Without one, nothing is told.
  void alive();

 private:
  void tell(std::string_view lines) const;

  int socket_ = -1;
  std::string address_;  // sockaddr_un
  bool watched_ = false;
};

}  // namespace fieldgate
