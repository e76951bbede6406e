// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/device_entry.h"
#include "gateway/core/error.h"
#include "gateway/ports/control.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// What a caller's wish makes of a registry entry. No state, any thread.
// Errors: Errc::invalid_argument, Errc::too_large, Errc::full and Errc::conflict, with a
//         detail that says what is wrong with what.
namespace fieldgate::control {

inline constexpr std::size_t k_label_key_bytes_max = 64;
inline constexpr std::size_t k_label_value_bytes_max = 256;

// `current`: the entry as it is; nullptr: there is none. Also Errc::conflict and
// Errc::not_found as PutMode says.
Result<DeviceEntry> edited(const DeviceId& id, const DeviceEntry* current, const DevicePatch& patch, PutMode mode,
                           std::size_t labels_max, std::int64_t now_unix_ms);

// But for when it changed.
bool is_same(const DeviceEntry& a, const DeviceEntry& b);

// Adds `wanted` under `credential_id`, and lets the others of its kind expire as it says.
Result<void> add_credential(DeviceEntry& entry, const NewCredential& wanted, std::string credential_id,
                            std::int64_t now_unix_ms);

// What has changed, in the words of TimelineKind::registry; "updated" where only labels or note have.
std::vector<std::string> changes_between(const DeviceEntry* before, const DeviceEntry* after);

}  // namespace fieldgate::control
