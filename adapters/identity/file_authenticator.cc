// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/file_authenticator.h"

#include "adapters/identity/token_table.h"

#include <openssl/evp.h>

#include <array>
#include <utility>

namespace fieldgate {
namespace {

constexpr std::string_view k_device_urn = "urn:fieldgate:device:";

Result<std::shared_ptr<const TokenTable>> read_table(const std::string& tokens_file) {
  if (tokens_file.empty()) return std::make_shared<const TokenTable>();
  auto table = TokenTable::read(tokens_file);
  if (!table) return table.error();
  return std::make_shared<const TokenTable>(std::move(*table));
}

Error refused(std::string detail) { return make_error(Errc::unauthenticated, std::move(detail)); }

Result<DeviceId> named(std::string_view text, const std::string& where) {
  auto id = DeviceId::parse(text);
  if (!id) return refused(where + ": " + id.error().detail);
  return id;
}

Result<DeviceId> from_certificate(const PeerCredentials& peer, bool allow_common_name) {
  std::string_view found;
  for (const std::string& uri : peer.san_uris) {
    if (!uri.starts_with(k_device_urn)) continue;
    const std::string_view id = std::string_view(uri).substr(k_device_urn.size());
    if (id.empty()) return refused("certificate: a SAN URI urn:fieldgate:device: names no device");
    if (!found.empty() && found != id) return refused("certificate: SAN URIs name more than one device");
    found = id;
  }
  if (!found.empty()) return named(found, "certificate: SAN URI");
  if (!allow_common_name) return refused("certificate: no SAN URI urn:fieldgate:device:ID");
  return named(peer.common_name, "certificate: CN");
}

}  // namespace

Sha256 sha256_of(std::string_view text) {
  Sha256 hash{};
  unsigned int bytes = 0;
  EVP_Digest(text.data(), text.size(), hash.data(), &bytes, EVP_sha256(), nullptr);
  return hash;
}

std::string hex(const Sha256& hash) {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : hash) text.append({k_digits[byte >> 4], k_digits[byte & 15]});
  return text;
}

std::string sha256_hex(std::string_view text) { return hex(sha256_of(text)); }

FileAuthenticator::FileAuthenticator(std::shared_ptr<const TokenTable> table, bool allow_common_name)
    : table_(std::move(table)), allow_common_name_(allow_common_name) {}

FileAuthenticator::~FileAuthenticator() = default;

Result<std::unique_ptr<FileAuthenticator>> FileAuthenticator::open(const std::string& tokens_file,
                                                                   bool allow_common_name) {
  auto table = read_table(tokens_file);
  if (!table) return table.error();
  return std::unique_ptr<FileAuthenticator>(new FileAuthenticator(std::move(*table), allow_common_name));
}

Result<void> FileAuthenticator::reload(const std::string& tokens_file) {
  auto table = read_table(tokens_file);
  if (!table) return table.error();
  const MutexLock lock(mutex_);
  // The old table goes at the end of this function, behind the lock.
  table_.swap(*table);
  return {};
}

std::shared_ptr<const TokenTable> FileAuthenticator::table() const {
  const MutexLock lock(mutex_);
  return table_;
}

Result<DeviceIdentity> FileAuthenticator::authenticate(const PeerCredentials& peer) const {
  if (!peer.bearer_token.empty()) {
    const auto current = table();
    const DeviceId* device = current->find(sha256_hex(peer.bearer_token));
    if (device == nullptr) return refused("token: not known");
    return DeviceIdentity{*device, IdentityProof::token, sha256_of(peer.bearer_token), 0};
  }
  if (!peer.has_certificate) return refused("neither a token nor a certificate");
  auto id = from_certificate(peer, allow_common_name_);
  if (!id) return id.error();
  return DeviceIdentity{std::move(*id), IdentityProof::certificate, peer.certificate_sha256, 0};
}

bool FileAuthenticator::still_valid(const DeviceIdentity& identity) const {
  if (identity.proof != IdentityProof::token) return true;
  const auto current = table();
  const DeviceId* device = current->find(hex(identity.sha256));
  return device != nullptr && *device == identity.id;
}

std::size_t FileAuthenticator::tokens() const { return table()->size(); }

}  // namespace fieldgate
