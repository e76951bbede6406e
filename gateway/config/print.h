// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"

#include <string>
#include <vector>

// What the declaration and settings look like to people and tools.
namespace fieldgate::config {

// Every key with its value, as a configuration file; secrets as ***.
std::string print_yaml(const Settings& settings);

// A configuration file with every key at its default and its documentation; keys
// that have none to start with are filled in with examples.
std::string sample_yaml();

// JSON Schema, draft 2020-12, of configuration files. It knows each key by
// itself; how keys fit together is the binder's to say.
std::string json_schema();

// The reference of docs/configuration.md: a Markdown table per section.
std::string reference_markdown();

struct Change {
  std::string path;
  bool taken_over = false;  // by a running process that reloads; else a restart is needed
};
// What differs, by path; a list that has grown or shrunk counts as one.
std::vector<Change> changes(const Settings& before, const Settings& after);

}  // namespace fieldgate::config
