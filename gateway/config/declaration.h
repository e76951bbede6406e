// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/visitor.h"
#include "gateway/core/settings.h"

namespace fieldgate::config {

// The one declaration of every key: name, type, range, documentation. The
// binder, the JSON Schema, the print-outs, the reference and the environment
// variables all come from it. A new knob is a member of Settings and a line here.
void describe(Visitor& visitor, Settings& settings);

}  // namespace fieldgate::config
