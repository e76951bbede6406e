// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

namespace fieldgate::net {

// The descriptor of a device's connection, non-blocking; closed with it. Move-only.
class DeviceSocket {
 public:
  explicit DeviceSocket(int fd) noexcept : fd_(fd) {}
  DeviceSocket(DeviceSocket&& other) noexcept : fd_(std::exchange(other.fd_, k_none)) {}
  DeviceSocket& operator=(DeviceSocket&&) = delete;
  ~DeviceSocket() { close(); }

  int fd() const noexcept { return fd_; }
  // Repeats are no-ops.
  void close() noexcept;

 private:
  static constexpr int k_none = -1;
  int fd_;
};

}  // namespace fieldgate::net
