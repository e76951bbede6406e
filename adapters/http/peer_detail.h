// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/ports/fleet.h"
#include "gateway/ports/peers.h"

#include <string>
#include <string_view>

// What one node tells another of a device that is connected to it (k_peer_device_live). The
// question is the device's id; the answer one JSON object, or Errc::not_found.
namespace fieldgate::http {

// Answers such questions from `devices`, which outlives the carrier's last call.
void serve_details(Peers& peers, LiveDevices& devices);

// Within k_peer_body_bytes_max: last values beyond it are left out, and `truncated` says so.
std::string encode_detail(const DeviceDetail& detail);
// Errc::malformed: not what encode_detail() makes, or of another device than `id`.
Result<DeviceDetail> decode_detail(const DeviceId& id, std::string_view body);

}  // namespace fieldgate::http
