// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/binder.h"

namespace fieldgate::config {

// How the values fit together: what no single key can know.
std::vector<Problem> check_together(const Settings& settings, const Places& places);

}  // namespace fieldgate::config
