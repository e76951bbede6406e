// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/cli/device_client.h"

#include <boost/json/object.hpp>

#include <string>
#include <vector>

// What people give on the command line of `fieldgate device`, made ready for requests.
namespace fieldgate {

// At most 1 MiB. Errors: k_exit_no_input; the text names the file.
ApiResult<std::string> read_whole_file(const std::string& file);

// "KEY=VALUE" sets a label; "KEY-", where it may be, is one of value null: it goes away.
// Errors: k_exit_usage.
ApiResult<boost::json::object> read_labels(const std::vector<std::string>& given, bool may_remove);

std::string to_base64(const std::string& bytes);

// One that no other request has: 144 random bits. Empty: there are none to be had.
std::string new_idempotency_key();

}  // namespace fieldgate
