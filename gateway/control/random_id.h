// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace fieldgate::control {

// 128 random bits as 32 digits of lower-case hex: nobody else's, and not to be guessed.
std::string random_id();

}  // namespace fieldgate::control
