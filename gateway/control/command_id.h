// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace fieldgate::control {

// A new command's id: 39 characters of [0-9a-v] (base32hex of RFC 4648 section 7, lower
// case, unpadded), of which the first 64 bits rise with each call in this process and
// with time, and the rest are 128 random bits. So ids sort by age, and none can be guessed.
// Any thread.
std::string make_command_id(std::int64_t unix_ms);

}  // namespace fieldgate::control
