// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/entry.h"
#include "gateway/config/environment.h"

#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::config {

// Every variable that sets a key, as a pattern in which # stands for a number:
// "FIELDGATE_MQTT_#_HOST".
std::vector<std::string> override_patterns();

// Puts the FIELDGATE_ variables of `environment` into `root`. Those that no key
// explains are problems, but for FIELDGATE_CONFIG, _API, _API_TOKEN, _BIN, _SOURCE
// and _PROMTOOL, and for what Kubernetes sets for a Service whose name begins with "fieldgate".
void apply_overrides(Entry& root, const Environment& environment, std::vector<Problem>& problems);

}  // namespace fieldgate::config
