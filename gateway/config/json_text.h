// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/value.hpp>

#include <string>

namespace fieldgate::config {

// `value` as JSON for people: indented by two, one member a line, short lists on
// one line, members in their order.
std::string pretty(const boost::json::value& value);

}  // namespace fieldgate::config
