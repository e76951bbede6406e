// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/binder.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::config {

// A configuration without a problem, to which tests add.
inline constexpr std::string_view k_sound =
    "devices: {tls: {certificate_file: c, key_file: k}}\n"
    "tokens: {file: t}\n"
    "api: {token_file: a}\n"
    "mqtt: [{name: main}]\n";

// Parses and binds `text` as the file "f.yaml".
Bound bind_text(std::string_view text, const Environment& environment = {});

// The problems as check-config prints them.
using Lines = std::vector<std::string>;
Lines lines(const std::vector<Problem>& problems);

// Whether there are as many lines as parts, and each line contains its part.
testing::AssertionResult says(const Lines& all, const Lines& parts);
// Whether one of the lines contains both.
testing::AssertionResult mentions(const Lines& all, std::string_view part, std::string_view other = {});
bool contains(std::string_view text, std::string_view part);

// What is wrong with k_sound when `section`, a line of YAML for a section that it
// does not have, is added.
Lines problems_with(std::string_view section, const Environment& environment = {});

}  // namespace fieldgate::config
