// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/identity/credential_index.h"
#include "adapters/jwt/verifier.h"
#include "gateway/core/error.h"
#include "gateway/core/mutex.h"
#include "gateway/core/settings.h"
#include "gateway/ports/authenticator.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace fieldgate {

class TokenTable;

// Who a device is, by what it shows.
//
// A certificate names its device by exactly one SAN URI `urn:fieldgate:device:ID`. Where
// the registry has certificates for that device, it must be one of them that has not
// expired.
// A token belongs to the device that the token file or the registry says, the file first.
// A JWT, where its keys are configured, names its device by `sub`. It is believed until it
// expires, or until the key it was signed with is no longer there: from its hash alone it
// could not be checked again.
// Whether the device may come in at all is not asked here (ports/admission.h).
//
// The token file has one token per line, `DEVICE_ID sha256:HEX` where HEX is the SHA-256 of
// the token; `#` starts a comment. A device may have several tokens (so that one can be
// replaced), a token belongs to one device.
//
// Thread: every member from any; reload() reads the files on the caller's and swaps all of
//         what they hold at once. registry_changed() on one at a time.
// Borrows: the clock.
class DeviceAuthenticator final : public Authenticator, public ControlSink {
 public:
  // `allow_common_name`: a certificate without such a URI is taken by its CN.
  // Errors: Errc::not_found: a file cannot be read; Errc::malformed, for the token file
  // with every problem and its line in the detail; as jwt::Verifier::load().
  static Result<std::unique_ptr<DeviceAuthenticator>> open(const TokenSettings& settings, bool allow_common_name,
                                                           const Clock& clock);
  ~DeviceAuthenticator() override;

  Result<DeviceIdentity> authenticate(const PeerCredentials& peer) const override;
  bool still_valid(const DeviceIdentity& identity) const override;

  void registry_changed(std::vector<RegistryChange> changes) override;

  // Reads tokens and keys again. Errors: as open(); all is as it was.
  Result<void> reload(const TokenSettings& settings);

  std::size_t tokens() const;  // of the file

 private:
  // What the files hold.
  struct Files;

  DeviceAuthenticator(std::shared_ptr<const Files> files, bool allow_common_name, const Clock& clock);
  static Result<std::shared_ptr<const Files>> read(const TokenSettings& settings);
  std::shared_ptr<const Files> files() const EXCLUDES(mutex_);
  Result<DeviceIdentity> by_token(std::string_view token) const;
  Result<DeviceIdentity> by_jwt(const jwt::Verifier& jwts, std::string_view token) const;
  Result<DeviceIdentity> by_certificate(const PeerCredentials& peer) const;

  const Clock& clock_;
  const bool allow_common_name_;
  CredentialIndex registry_;
  mutable Mutex mutex_;
  std::shared_ptr<const Files> files_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate
