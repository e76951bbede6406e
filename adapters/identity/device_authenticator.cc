// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/device_authenticator.h"

#include "adapters/identity/token_table.h"
#include "gateway/core/hex.h"

#include <utility>

namespace fieldgate {
namespace {

constexpr std::string_view k_device_urn = "urn:fieldgate:device:";

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

bool has_passed(std::int64_t expires_unix_ms, std::int64_t now_unix_ms) noexcept {
  return expires_unix_ms != 0 && now_unix_ms >= expires_unix_ms;
}

}  // namespace

struct DeviceAuthenticator::Files {
  TokenTable tokens;
  std::shared_ptr<const jwt::Verifier> jwts;  // nullptr: none are taken
};

DeviceAuthenticator::DeviceAuthenticator(std::shared_ptr<const Files> files, bool allow_common_name, const Clock& clock)
    : clock_(clock), allow_common_name_(allow_common_name), files_(std::move(files)) {}

DeviceAuthenticator::~DeviceAuthenticator() = default;

Result<std::unique_ptr<DeviceAuthenticator>> DeviceAuthenticator::open(const TokenSettings& settings,
                                                                       bool allow_common_name, const Clock& clock) {
  auto files = read(settings);
  if (!files) return files.error();
  return std::unique_ptr<DeviceAuthenticator>(new DeviceAuthenticator(std::move(*files), allow_common_name, clock));
}

Result<std::shared_ptr<const DeviceAuthenticator::Files>> DeviceAuthenticator::read(const TokenSettings& settings) {
  auto files = std::make_shared<Files>();
  if (!settings.file.empty()) {
    auto tokens = TokenTable::read(settings.file);
    if (!tokens) return tokens.error();
    files->tokens = std::move(*tokens);
  }
  if (settings.jwt.enabled()) {
    auto jwts = jwt::Verifier::load(settings.jwt, "tokens.jwt");
    if (!jwts) return jwts.error();
    files->jwts = std::move(*jwts);
  }
  return std::shared_ptr<const Files>(std::move(files));
}

Result<void> DeviceAuthenticator::reload(const TokenSettings& settings) {
  auto files = read(settings);
  if (!files) return files.error();
  const MutexLock lock(mutex_);
  // The old ones go at the end of this function, behind the lock.
  files_.swap(*files);
  return {};
}

std::shared_ptr<const DeviceAuthenticator::Files> DeviceAuthenticator::files() const {
  const MutexLock lock(mutex_);
  return files_;
}

void DeviceAuthenticator::registry_changed(std::vector<RegistryChange> changes) {
  for (const RegistryChange& change : changes) registry_.apply(change);
}

Result<DeviceIdentity> DeviceAuthenticator::authenticate(const PeerCredentials& peer) const {
  if (!peer.bearer_token.empty()) return by_token(peer.bearer_token);
  if (!peer.has_certificate) return refused("neither a token nor a certificate");
  return by_certificate(peer);
}

Result<DeviceIdentity> DeviceAuthenticator::by_token(std::string_view token) const {
  const Sha256 hash = sha256_of(token);
  const auto current = files();
  if (const DeviceId* device = current->tokens.find(hash))
    return DeviceIdentity{*device, IdentityProof::token, hash, 0};
  if (auto found = registry_.token(hash)) {
    if (has_passed(found->expires_unix_ms, clock_.unix_ms())) {
      return refused("token: of '" + found->device.str() + "': it has expired");
    }
    return DeviceIdentity{std::move(found->device), IdentityProof::token, hash, found->expires_unix_ms};
  }
  if (current->jwts && jwt::Verifier::looks_like_one(token)) return by_jwt(*current->jwts, token);
  return refused("token: not known");
}

Result<DeviceIdentity> DeviceAuthenticator::by_jwt(const jwt::Verifier& jwts, std::string_view token) const {
  const auto claims = jwts.verify(token, clock_.unix_ms());
  if (!claims) return claims.error();
  auto id = named(claims->subject, "jwt: sub");
  if (!id) return id.error();
  return DeviceIdentity{std::move(*id), IdentityProof::jwt, claims->key_sha256, claims->expires_unix_ms};
}

Result<DeviceIdentity> DeviceAuthenticator::by_certificate(const PeerCredentials& peer) const {
  auto id = from_certificate(peer, allow_common_name_);
  if (!id) return id.error();
  const auto pin = registry_.pin(id->str(), peer.certificate_sha256, clock_.unix_ms());
  if (pin == CredentialIndex::Pin::other || pin == CredentialIndex::Pin::expired) {
    return refused("certificate: of '" + id->str() + "': " +
                   (pin == CredentialIndex::Pin::expired ? "its time in the registry has passed: sha256 "
                                                         : "the registry has others for it, not sha256 ") +
                   to_hex(peer.certificate_sha256));
  }
  return DeviceIdentity{std::move(*id), IdentityProof::certificate, peer.certificate_sha256, 0};
}

bool DeviceAuthenticator::still_valid(const DeviceIdentity& identity) const {
  const std::int64_t now = clock_.unix_ms();
  switch (identity.proof) {
    case IdentityProof::certificate: {
      const auto pin = registry_.pin(identity.id.str(), identity.sha256, now);
      return pin == CredentialIndex::Pin::none || pin == CredentialIndex::Pin::fits;
    }
    case IdentityProof::token: {
      // Held while the found id is read: another thread may swap the files in the meantime.
      const auto current = files();
      if (const DeviceId* device = current->tokens.find(identity.sha256)) return *device == identity.id;
      const auto found = registry_.token(identity.sha256);
      return found && found->device == identity.id && !has_passed(found->expires_unix_ms, now);
    }
    case IdentityProof::jwt: {
      const auto jwts = files()->jwts;
      return jwts && jwts->knows_key(identity.sha256) && !has_passed(identity.expires_unix_ms, now);
    }
  }
  return false;
}

std::size_t DeviceAuthenticator::tokens() const { return files()->tokens.size(); }

}  // namespace fieldgate
