// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/registry_edit.h"

#include "gateway/control/plain_text.h"

#include <algorithm>
#include <utility>

namespace fieldgate::control {
namespace {

constexpr std::size_t k_sha256_hex = 64;

Error too_large(const std::string& what, std::size_t most) {
  return make_error(Errc::too_large, what + ": at most " + std::to_string(most) + " bytes");
}

Error not_plain(const std::string& what) {
  return make_error(Errc::invalid_argument, what + ": UTF-8 without control characters, please");
}

Result<void> check_note(const std::string& note) {
  if (note.size() > k_note_bytes_max) return too_large("note", k_note_bytes_max);
  if (!is_plain_text(note)) return not_plain("note");
  return {};
}

Result<void> check_labels(const Labels& labels, std::size_t labels_max) {
  if (labels.size() > labels_max) {
    return make_error(Errc::too_large, "labels: at most " + std::to_string(labels_max) + " of them");
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > k_label_key_bytes_max) {
      return make_error(Errc::invalid_argument,
                        "labels: a key has 1 to " + std::to_string(k_label_key_bytes_max) + " bytes");
    }
    if (!is_plain_text(key)) return not_plain("labels: a key");
    if (value.size() > k_label_value_bytes_max)
      return too_large("labels: the value of " + key, k_label_value_bytes_max);
    if (!is_plain_text(value)) return not_plain("labels: the value of " + key);
  }
  return {};
}

// Sorts by key. Errors: a key that comes twice.
Result<void> sort_labels(Labels& labels) {
  std::ranges::sort(labels, {}, [](const auto& label) -> const std::string& { return label.first; });
  const auto twice =
      std::ranges::adjacent_find(labels, {}, [](const auto& l) -> const std::string& { return l.first; });
  if (twice == labels.end()) return {};
  return make_error(Errc::invalid_argument,
                    "labels: the key " + twice->first.substr(0, k_label_key_bytes_max) + " is there more than once");
}

void change_label(Labels& labels, const std::string& key, const std::optional<std::string>& value) {
  const auto at =
      std::ranges::lower_bound(labels, key, {}, [](const auto& l) -> const std::string& { return l.first; });
  const bool found = at != labels.end() && at->first == key;
  if (!value) {
    if (found) labels.erase(at);
  } else if (found) {
    at->second = *value;
  } else {
    labels.emplace(at, key, *value);
  }
}

bool same_credentials(const DeviceEntry& a, const DeviceEntry& b) { return a.credentials == b.credentials; }

bool has_credential(const DeviceEntry& entry, const DeviceCredential& credential) {
  return std::ranges::any_of(entry.credentials, [&](const auto& c) { return c.id == credential.id; });
}

}  // namespace

bool is_same(const DeviceEntry& a, const DeviceEntry& b) {
  return a.id == b.id && a.enabled == b.enabled && a.labels == b.labels && a.note == b.note &&
         a.automatic == b.automatic && a.credentials == b.credentials;
}

Result<DeviceEntry> edited(const DeviceId& id, const DeviceEntry* current, const DevicePatch& patch, PutMode mode,
                           std::size_t labels_max, std::int64_t now_unix_ms) {
  if (mode == PutMode::create && current != nullptr) {
    return make_error(Errc::conflict, "device " + id.str() + " is in the registry already");
  }
  if (mode == PutMode::update && current == nullptr) {
    return make_error(Errc::not_found, "device " + id.str() + " is not in the registry");
  }
  DeviceEntry entry{.id = id, .labels = {}, .note = {}};
  entry.created_unix_ms = now_unix_ms;
  if (current != nullptr) entry = *current;
  if (mode == PutMode::replace) {
    entry.enabled = true;
    entry.labels.clear();
    entry.note.clear();
    entry.automatic = false;
  }
  entry.updated_unix_ms = now_unix_ms;
  if (patch.enabled) entry.enabled = *patch.enabled;
  if (patch.note) entry.note = *patch.note;
  if (patch.labels) entry.labels = *patch.labels;
  if (auto sorted = sort_labels(entry.labels); !sorted) return sorted.error();
  for (const auto& [key, value] : patch.label_changes) change_label(entry.labels, key, value);
  if (auto checked = check_labels(entry.labels, labels_max); !checked) return checked.error();
  if (auto checked = check_note(entry.note); !checked) return checked.error();
  return entry;
}

Result<void> add_credential(DeviceEntry& entry, const NewCredential& wanted, std::string credential_id,
                            std::int64_t now_unix_ms) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (wanted.sha256.size() != k_sha256_hex || !std::ranges::all_of(wanted.sha256, is_hex)) {
    return make_error(Errc::invalid_argument, "sha256: 64 digits of lower-case hex, please");
  }
  if (wanted.expires_unix_ms < 0 || (wanted.expires_unix_ms > 0 && wanted.expires_unix_ms <= now_unix_ms)) {
    return make_error(Errc::invalid_argument, "expires: that time has passed already");
  }
  if (wanted.others_expire_unix_ms < 0) return make_error(Errc::invalid_argument, "others_expire: not a time");
  if (auto checked = check_note(wanted.note); !checked) return checked;
  if (std::ranges::any_of(entry.credentials, [&](const auto& c) { return c.sha256 == wanted.sha256; })) {
    return make_error(Errc::conflict, "device " + entry.id.str() + " has that credential already");
  }
  const auto expired = [&](const auto& c) { return c.expires_unix_ms != 0 && c.expires_unix_ms <= now_unix_ms; };
  if (entry.credentials.size() >= k_credentials_per_device_max) std::erase_if(entry.credentials, expired);
  if (entry.credentials.size() >= k_credentials_per_device_max) {
    return make_error(Errc::full, "device " + entry.id.str() + " has " + std::to_string(k_credentials_per_device_max) +
                                      " credentials, the most there may be: remove one first");
  }
  for (DeviceCredential& other : entry.credentials) {
    if (other.kind != wanted.kind || wanted.others_expire_unix_ms == 0) continue;
    if (other.expires_unix_ms == 0 || other.expires_unix_ms > wanted.others_expire_unix_ms) {
      other.expires_unix_ms = wanted.others_expire_unix_ms;
    }
  }
  entry.credentials.push_back(
      {std::move(credential_id), wanted.kind, wanted.sha256, now_unix_ms, wanted.expires_unix_ms, wanted.note});
  entry.updated_unix_ms = now_unix_ms;
  return {};
}

std::vector<std::string> changes_between(const DeviceEntry* before, const DeviceEntry* after) {
  std::vector<std::string> changes;
  if (after == nullptr) return {"removed"};
  const DeviceEntry none{.id = after->id, .labels = {}, .note = {}};
  if (before == nullptr) changes.emplace_back("created");
  const DeviceEntry& old = before != nullptr ? *before : none;
  if (old.enabled != after->enabled) changes.emplace_back(after->enabled ? "enabled" : "disabled");
  if (before != nullptr && (old.labels != after->labels || old.note != after->note)) changes.emplace_back("updated");
  for (const DeviceCredential& credential : after->credentials) {
    if (!has_credential(old, credential)) changes.emplace_back("credential_added");
  }
  for (const DeviceCredential& credential : old.credentials) {
    if (!has_credential(*after, credential)) changes.emplace_back("credential_removed");
  }
  if (changes.empty() && !same_credentials(old, *after)) changes.emplace_back("credential_changed");
  return changes;
}

}  // namespace fieldgate::control
