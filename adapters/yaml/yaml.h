// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/entry.h"
#include "gateway/config/problem.h"
#include "gateway/core/error.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::yaml {

inline constexpr std::size_t k_bytes_max = 1'048'576;
inline constexpr std::size_t k_depth_max = 32;
// Of texts, lists and maps, after each alias has been replaced by what it stands for.
inline constexpr std::size_t k_entries_max = 20'000;

struct Parsed {
  // Absent if the text could not be read to its end.
  std::optional<config::Entry> root;
  std::vector<config::Problem> problems;
};

// One YAML 1.2 document as entries; an empty one is an empty map. Anchors and
// aliases work; tags, merge keys and keys that are not plain texts are problems,
// and so is a key that a map has already.
// Bounds: as above; what is beyond is a problem.
Parsed parse(std::string_view text, const std::string& source);

// The content of a configuration file.
// Errors: Errc::not_found, Errc::too_large; the detail names the file.
Result<std::string> read_file(const std::string& path);

}  // namespace fieldgate::yaml
