// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"

#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::sim {

// A device's token, made from the seed and its id (HMAC-SHA-256, hex), so that
// neither simulator nor file has to hold it.
std::string device_token(std::string_view seed, std::string_view device);

// The gateway's token file: a line "DEVICE_ID sha256:HEX" for each device.
Outcome<void> write_tokens(const std::string& path, std::string_view seed, const std::vector<std::string>& devices);

}  // namespace fieldgate::sim
