// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/credential_index.h"

#include <utility>

namespace fieldgate {

// A token that stays is never missing in between: the device's new ones are in before
// its old ones go.
void CredentialIndex::apply(const RegistryChange& change) {
  DevicePtr device;
  if (change.entry && !change.entry->credentials.empty()) {
    Device made{change.id, {}};
    made.credentials.reserve(change.entry->credentials.size());
    for (const DeviceCredential& one : change.entry->credentials) {
      if (const auto hash = sha256_from_hex(one.sha256)) {
        made.credentials.push_back({*hash, one.expires_unix_ms, one.kind});
      }
    }
    device = std::make_shared<const Device>(std::move(made));
  }
  if (device) put_tokens(device);
  if (const DevicePtr before = replace(change.id.str(), std::move(device))) drop_tokens(before);
}

CredentialIndex::DevicePtr CredentialIndex::replace(std::string_view id, DevicePtr device) {
  Devices& part = devices_[part_of(id)];
  const MutexLock lock(part.mutex);
  DevicePtr before;
  if (const auto at = part.all.find(id); at != part.all.end()) {
    before = *at;
    part.all.erase(at);
  }
  if (device) part.all.insert(std::move(device));
  return before;
}

void CredentialIndex::put_tokens(const DevicePtr& device) {
  for (std::size_t i = 0; i < device->credentials.size(); ++i) {
    if (device->credentials[i].kind != CredentialKind::token) continue;
    Tokens& part = tokens_[part_of(device->credentials[i].sha256)];
    const TokenPlace place{device, i};
    const MutexLock lock(part.mutex);
    part.all.erase(place);  // what another state of the device, or another device, had there
    part.all.insert(place);
  }
}

void CredentialIndex::drop_tokens(const DevicePtr& device) {
  for (const Credential& one : device->credentials) {
    if (one.kind != CredentialKind::token) continue;
    Tokens& part = tokens_[part_of(one.sha256)];
    const MutexLock lock(part.mutex);
    const auto at = part.all.find(one.sha256);
    if (at != part.all.end() && at->device == device) part.all.erase(at);
  }
}

std::optional<CredentialIndex::Token> CredentialIndex::token(const Sha256& hash) const {
  const Tokens& part = tokens_[part_of(hash)];
  const MutexLock lock(part.mutex);
  const auto at = part.all.find(hash);
  if (at == part.all.end()) return std::nullopt;
  return Token{at->device->id, at->device->credentials[at->at].expires_unix_ms};
}

CredentialIndex::Pin CredentialIndex::pin(std::string_view device, const Sha256& certificate,
                                          std::int64_t now_unix_ms) const {
  const Devices& part = devices_[part_of(device)];
  const MutexLock lock(part.mutex);
  const auto at = part.all.find(device);
  if (at == part.all.end()) return Pin::none;
  Pin found = Pin::none;
  for (const Credential& one : (*at)->credentials) {
    if (one.kind != CredentialKind::certificate) continue;
    if (one.sha256 != certificate) {
      if (found == Pin::none) found = Pin::other;
      continue;
    }
    if (one.expires_unix_ms == 0 || now_unix_ms < one.expires_unix_ms) return Pin::fits;
    found = Pin::expired;
  }
  return found;
}

}  // namespace fieldgate
