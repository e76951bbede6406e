// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_summary.h"
#include "gateway/core/ids.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fieldgate {

enum class CredentialKind : std::uint8_t { token, certificate };
std::string_view to_string(CredentialKind kind) noexcept;

// What a registered device may show. A JWT needs none: its subject is the device.
struct DeviceCredential {
  std::string id;  // made by the gateway, unique over all devices
  CredentialKind kind = CredentialKind::token;
  // Lower-case hex: SHA-256 of the token, or of the certificate's DER. The token
  // itself is kept nowhere.
  std::string sha256;
  std::int64_t created_unix_ms = 0;
  std::int64_t expires_unix_ms = 0;  // 0: never
  std::string note;                  // for people, at most 256 bytes
  friend bool operator==(const DeviceCredential&, const DeviceCredential&) = default;
};

inline constexpr std::size_t k_credentials_per_device_max = 8;
inline constexpr std::size_t k_note_bytes_max = 256;

// A device as the registry knows it. Where it has credentials of kind certificate,
// no other certificate will do for it.
struct DeviceEntry {
  DeviceId id;
  bool enabled = true;
  Labels labels;           // an operator's; they win over what the device says in Hello
  std::string note;        // for people, at most k_note_bytes_max
  bool automatic = false;  // registered by policy as it first came
  std::int64_t created_unix_ms = 0;
  std::int64_t updated_unix_ms = 0;
  // Of the registry when this entry last changed; rises with every change of any.
  std::uint64_t revision = 0;
  std::vector<DeviceCredential> credentials{};
  friend bool operator==(const DeviceEntry&, const DeviceEntry&) = default;
};

// A change of the registry: the entry as it is now, or that it is gone.
struct RegistryChange {
  DeviceId id;
  std::uint64_t revision = 0;
  std::optional<DeviceEntry> entry;
  // The store holds another history than before: so it is, whatever revision was known.
  bool anew = false;
};

}  // namespace fieldgate
