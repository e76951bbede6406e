// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/ids.h"

#include <string>
#include <string_view>
#include <vector>

namespace fieldgate {

// What the peer of a device connection has shown. The certificate is verified
// against the device CA already; the token is not checked yet.
struct PeerCredentials {
  bool has_certificate = false;
  std::vector<std::string> san_uris;
  std::string common_name;
  std::string_view bearer_token;  // empty: none
};

// Who a device is.
// Thread: any; never waits (what it needs is in memory).
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // A token, where one was sent, decides and must be valid; else the certificate.
  // Errors: Errc::unauthenticated, with a detail for the log, never for the peer.
  virtual Result<DeviceId> authenticate(const PeerCredentials& peer) const = 0;
  // Whether a device that authenticated earlier with a token still would: asked
  // again for every live session after a reload.
  virtual bool token_still_valid(std::string_view token_sha256, const DeviceId& id) const = 0;
};

}  // namespace fieldgate
