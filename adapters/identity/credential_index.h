// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/identity/sha256.h"
#include "gateway/core/device_entry.h"
#include "gateway/core/ids.h"
#include "gateway/core/mutex.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace fieldgate {

// The registry's credentials, as far as it takes to know a device by them.
// Thread: any. Nobody waits but for a few instructions: what is read stands in many
//         parts with a lock each. Changes of one device come one after the other.
// Bounds: those of the registry. About 280 bytes for a device with one token, nothing
//         for one without credentials.
class CredentialIndex {
 public:
  // From now on, the device has the credentials of `change.entry`, and no others.
  void apply(const RegistryChange& change);

  struct Token {
    DeviceId device;
    std::int64_t expires_unix_ms = 0;  // 0: never; otherwise it may have passed
  };
  // Whose token has that hash.
  std::optional<Token> token(const Sha256& hash) const;

  // What the registry says of a certificate for a device.
  enum class Pin : std::uint8_t {
    none,     // that any will do: the device has none of its own
    fits,     // that it is one of the device's
    expired,  // that it was one
    other,    // that others are
  };
  Pin pin(std::string_view device, const Sha256& certificate, std::int64_t now_unix_ms) const;

 private:
  struct Credential {
    Sha256 sha256;
    std::int64_t expires_unix_ms;
    CredentialKind kind;
  };
  // Never changed, only replaced.
  struct Device {
    DeviceId id;
    std::vector<Credential> credentials;
  };
  using DevicePtr = std::shared_ptr<const Device>;
  struct TokenPlace {
    DevicePtr device;
    std::size_t at;  // in its credentials
    const Sha256& sha256() const noexcept { return device->credentials[at].sha256; }
  };

  struct HashDevice {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const noexcept { return std::hash<std::string_view>()(id); }
    std::size_t operator()(const DevicePtr& device) const noexcept { return (*this)(device->id.str()); }
  };
  struct SameDevice {
    using is_transparent = void;
    static std::string_view key(std::string_view id) noexcept { return id; }
    static std::string_view key(const DevicePtr& device) noexcept { return device->id.str(); }
    bool operator()(const auto& a, const auto& b) const noexcept { return key(a) == key(b); }
  };
  struct HashToken {
    using is_transparent = void;
    std::size_t operator()(const Sha256& hash) const noexcept { return HashOfSha256()(hash); }
    std::size_t operator()(const TokenPlace& token) const noexcept { return (*this)(token.sha256()); }
  };
  struct SameToken {
    using is_transparent = void;
    static const Sha256& key(const Sha256& hash) noexcept { return hash; }
    static const Sha256& key(const TokenPlace& token) noexcept { return token.sha256(); }
    bool operator()(const auto& a, const auto& b) const noexcept { return key(a) == key(b); }
  };

  static constexpr std::size_t k_parts = 64;
  struct Devices {
    mutable Mutex mutex;
    std::unordered_set<DevicePtr, HashDevice, SameDevice> all GUARDED_BY(mutex);
  };
  struct Tokens {
    mutable Mutex mutex;
    std::unordered_set<TokenPlace, HashToken, SameToken> all GUARDED_BY(mutex);
  };

  static std::size_t part_of(std::string_view device) noexcept { return HashDevice()(device) % k_parts; }
  // Another byte than the tables go by.
  static std::size_t part_of(const Sha256& token) noexcept { return token.back() % k_parts; }
  // The device's state until now; nullptr: none.
  DevicePtr replace(std::string_view id, DevicePtr device);
  void put_tokens(const DevicePtr& device);
  void drop_tokens(const DevicePtr& device);

  std::array<Devices, k_parts> devices_;
  std::array<Tokens, k_parts> tokens_;
};

}  // namespace fieldgate
