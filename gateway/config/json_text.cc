// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/json_text.h"

#include <boost/json/serialize.hpp>

namespace fieldgate::config {
namespace {

constexpr std::size_t k_line_bytes_max = 100;

void write(const boost::json::value& value, std::size_t indent, std::string& out) {
  const std::string flat = boost::json::serialize(value);
  const bool nested = value.is_object() || value.is_array();
  if (!nested || (value.is_array() && flat.size() < k_line_bytes_max) || flat.size() <= 2) {
    out.append(flat);
    return;
  }
  const std::string inner(indent + 2, ' ');
  bool first = true;
  const auto next = [&] {
    out.append(first ? "\n" : ",\n").append(inner);
    first = false;
  };
  if (value.is_object()) {
    out.push_back('{');
    for (const auto& [key, member] : value.get_object()) {
      next();
      out.append(boost::json::serialize(boost::json::string(key))).append(": ");
      write(member, indent + 2, out);
    }
  } else {
    out.push_back('[');
    for (const auto& element : value.get_array()) {
      next();
      write(element, indent + 2, out);
    }
  }
  out.append("\n").append(indent, ' ').push_back(value.is_object() ? '}' : ']');
}

}  // namespace

std::string pretty(const boost::json::value& value) {
  std::string out;
  write(value, 0, out);
  out.push_back('\n');
  return out;
}

}  // namespace fieldgate::config
