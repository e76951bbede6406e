// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/object.hpp>

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::webhook {

// tests/support/webhook_target.py as a process of its own; there is what it can do.
// It ends with this object, and with the test process whatever becomes of it.
// Thread: one. Errors: throws, so that the test fails.
class TargetProcess {
 public:
  // Further arguments of the script.
  explicit TargetProcess(const std::vector<std::string>& arguments = {});
  ~TargetProcess();
  TargetProcess(const TargetProcess&) = delete;
  TargetProcess& operator=(const TargetProcess&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  // A JSON object.
  void behave(std::string_view behaviour) const { control("POST", "/behave", behaviour); }
  // "down", "up", "mute", "loud", "cut".
  void tell(std::string_view what) const { control("POST", "/" + std::string(what), {}); }

  // Requests that were read whole, in order.
  std::vector<boost::json::object> got() const;
  struct Counts {
    std::uint64_t requests = 0;
    std::uint64_t connections = 0;
    std::uint64_t open = 0;
  };
  Counts counts() const;

 private:
  std::string control(std::string_view method, const std::string& path, std::string_view body) const;

  pid_t pid_ = -1;
  int input_ = -1;
  std::uint16_t port_ = 0;
  std::uint16_t control_port_ = 0;
};

}  // namespace fieldgate::webhook
