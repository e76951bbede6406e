// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/ids.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

using Sha256 = std::array<unsigned char, 32>;

// What the peer of a device connection has shown. The certificate is verified
// against the device CA already; the token is not checked yet.
struct PeerCredentials {
  bool has_certificate = false;
  std::vector<std::string> san_uris;
  std::string common_name;
  std::string subject;            // of the certificate, RFC 2253, at most 256 bytes
  Sha256 certificate_sha256{};    // of its DER
  std::string_view bearer_token;  // empty: none
};

enum class IdentityProof : std::uint8_t { certificate, token, jwt };
std::string_view to_string(IdentityProof proof) noexcept;

// Who a device is, and by what it was believed.
struct DeviceIdentity {
  DeviceId id;
  IdentityProof proof = IdentityProof::certificate;
  // Of the certificate's DER, of the token, or of the public key that a JWT was signed with.
  Sha256 sha256{};
  std::int64_t expires_unix_ms = 0;  // of a JWT or a token; 0: never, or the certificate's own
};

// Who a device is.
// Thread: any; never waits (what it needs is in memory).
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // A token, where one was sent, decides and must be valid; else the certificate.
  // Errors: Errc::unauthenticated, with a detail for the log, never for the peer.
  virtual Result<DeviceIdentity> authenticate(const PeerCredentials& peer) const = 0;
  // Whether a device that was believed earlier still would be: asked again for live sessions
  // when keys, tokens or the registry have changed. Trust in a certificate's chain is judged elsewhere.
  virtual bool still_valid(const DeviceIdentity& identity) const = 0;
};

}  // namespace fieldgate
