// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/store/database.h"

// What reads lists, or trims them: the statements that explain() tells of.
namespace fieldgate::store {

extern const Statement k_registry_changes;        // $1: after this revision, $2: at most
extern const Statement k_registry_deletions;      // the same
extern const Statement k_presence_rows;           // $1: after this id, $2: at most
extern const Statement k_presence_log;            // $1: after this number, $2: at most
extern const Statement k_device_presence;         // $1: device, $2: after this number, $3: at most
extern const Statement k_device_presence_before;  // $1: device, $2: number, $3: at most
extern const Statement k_earlier_boots;           // $1: node, $2: boot id, $3: at most
extern const Statement k_dead_node;               // $1: node, $2: at most
extern const Statement k_trim_presence;           // $1: up to this number, $2: at most
extern const Statement k_open_commands;           // $1: device, $2: after this id, $3: at most
extern const Statement k_open_refs;               // $1: after this id, $2: at most
extern const Statement k_overdue_commands;        // $1: by this time, $2, $3: after this time and id, $4: at most
extern const Statement k_queued_commands;         // $1: device
extern const Statement k_device_commands;         // $1: device, $2: below this number, $3: at most
extern const Statement k_command_by_key;          // $1: device, $2: idempotency key
extern const Statement k_trim_commands;           // $1: before this time, $2: at most
extern const Statement k_trim_timeline;           // $1: device, $2: how many stay
extern const Statement k_device_timeline;         // $1: device, $2: below this number, $3: at most
extern const Statement k_device_credentials;      // $1: device

}  // namespace fieldgate::store
