// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/json_body.h"
#include "gateway/ports/control.h"

#include <cstdint>
#include <string>
#include <vector>

// What bodies of requests say about registry entries and credentials.
namespace fieldgate::http {

inline constexpr std::size_t k_label_key_bytes_max = 64;
inline constexpr std::size_t k_label_value_bytes_max = 256;

// Of PUT and of a line of an import (where `members` has more): the whole entry.
DevicePatch read_entry(Members& members, BodyFaults& faults, const std::string& pointer = {});
// Of PATCH: a merge patch (RFC 7396); null is the default.
DevicePatch read_entry_patch(const boost::json::object& body, BodyFaults& faults);

struct CredentialRequest {
  NewCredential credential;
  std::string token;  // made for it, to be shown once; empty: none was
};

// A credential to be added. Where a token's hash is not given, a token is made.
CredentialRequest read_credential(const boost::json::object& body, std::int64_t now_unix_ms, BodyFaults& faults);

// A line of an import. Errors go to `faults`; the id is then empty if it was at fault.
struct ImportLine {
  std::string id;
  DevicePatch patch;
  std::vector<NewCredential> credentials;
};
ImportLine read_import_line(const boost::json::object& line, BodyFaults& faults);

}  // namespace fieldgate::http
