// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/authenticator.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace fieldgate {

class TokenTable;

Sha256 sha256_of(std::string_view text);
// 64 lower-case hexadecimal digits.
std::string hex(const Sha256& hash);
std::string sha256_hex(std::string_view text);

// Devices from a file of hashed tokens and from their certificates.
//
// The file has one token per line, `DEVICE_ID sha256:HEX` where HEX is the
// SHA-256 of the token; `#` starts a comment. A device may have several tokens
// (so that one can be replaced), a token belongs to one device.
// A certificate names its device by exactly one SAN URI `urn:fieldgate:device:ID`.
//
// Thread: every member from any thread; reload() reads the file on the caller's
//         and swaps the whole table at once.
class FileAuthenticator final : public Authenticator {
 public:
  // Empty `tokens_file`: no tokens. `allow_common_name`: a certificate without
  // such a URI is taken by its CN.
  // Errors: Errc::not_found: the file cannot be read; Errc::malformed, with every
  // problem and its line in the detail.
  static Result<std::unique_ptr<FileAuthenticator>> open(const std::string& tokens_file, bool allow_common_name);
  ~FileAuthenticator() override;

  Result<DeviceIdentity> authenticate(const PeerCredentials& peer) const override;
  bool still_valid(const DeviceIdentity& identity) const override;

  // Reads the tokens again. Errors: as open(); the table is as it was.
  Result<void> reload(const std::string& tokens_file);

  std::size_t tokens() const;

 private:
  FileAuthenticator(std::shared_ptr<const TokenTable> table, bool allow_common_name);
  std::shared_ptr<const TokenTable> table() const EXCLUDES(mutex_);

  mutable Mutex mutex_;
  std::shared_ptr<const TokenTable> table_ GUARDED_BY(mutex_);
  const bool allow_common_name_;
};

}  // namespace fieldgate
