// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/entry.h"
#include "gateway/config/environment.h"
#include "gateway/config/problem.h"
#include "gateway/core/settings.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::config {

// Where each key that was set was set, by path ("mqtt[0].tls.ca_file"), and
// which of them were refused.
class Places {
 public:
  explicit Places(Place whole) : whole_(std::move(whole)) {}
  void note(const std::string& path, const Place& place) { places_.emplace(path, place); }
  void refuse(const std::string& path) { refused_.insert(path); }
  // The key's own place, or that of the nearest section around it.
  const Place& of(std::string_view path) const;
  // Whether the key, or a section around it, was refused: then its value is a
  // default that nobody has chosen.
  bool is_refused(std::string_view path) const;

 private:
  Place whole_;
  std::map<std::string, Place, std::less<>> places_;
  std::set<std::string, std::less<>> refused_;
};

struct Bound {
  // Absent if any problem is an error.
  std::optional<Settings> settings;
  std::vector<Problem> problems;  // every one, sorted by place
  Places places;
};

// Settings from what was written and from the FIELDGATE_ variables of
// `environment`, which go before it; ${VAR} in texts is replaced from
// `environment`. Checks every value and how they fit together; opens no files.
Bound bind(Entry written, const Environment& environment);

// Problems with the files that `settings` name: each must be a regular file that
// this process can read.
std::vector<Problem> check_files(const Settings& settings, const Places& places);

// The files that `settings` name, as written.
std::vector<std::string> named_files(const Settings& settings);

}  // namespace fieldgate::config
