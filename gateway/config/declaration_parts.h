// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/visitor.h"
#include "gateway/core/settings.h"

// The sections of the declaration that stand in declaration_control.cc: the store and
// what lives in it, tokens that others sign, and the API.
namespace fieldgate::config {

void describe(Visitor& v, JwtSettings& s);
void describe(Visitor& v, StoreSettings& s);
void describe(Visitor& v, RegistrySettings& s);
void describe(Visitor& v, CommandSettings& s);
void describe(Visitor& v, TwinSettings& s);
void describe(Visitor& v, ApiSettings& s);
void describe(Visitor& v, AdminSettings& s);

}  // namespace fieldgate::config
