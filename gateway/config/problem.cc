// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/problem.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace fieldgate::config {
namespace {

constexpr std::size_t k_compared_bytes_max = 128;

// Levenshtein's distance. Bounds: both at most k_compared_bytes_max bytes.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

std::string to_string(const Place& place) {
  if (place.line == 0) return place.source;
  return place.source + ":" + std::to_string(place.line) + ":" + std::to_string(place.column);
}

std::string to_string(const Problem& problem) {
  const std::string_view mark = problem.severity == Severity::warning ? "warning: " : "";
  return to_string(problem.place).append(": ").append(mark).append(problem.message);
}

bool any_error(const std::vector<Problem>& problems) noexcept {
  return std::ranges::any_of(problems, [](const Problem& p) { return p.severity == Severity::error; });
}

void sort_by_place(std::vector<Problem>& problems) {
  std::ranges::stable_sort(problems, [](const Problem& a, const Problem& b) { return a.place < b.place; });
}

std::string quoted(std::string_view text) {
  constexpr std::string_view k_hex = "0123456789abcdef";
  constexpr std::size_t k_bytes_max = 64;
  std::string out = "\"";
  for (const char c : text.substr(0, k_bytes_max)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (byte < 0x20 || byte == 0x7f) {
      out.append({'\\', 'x', k_hex[byte >> 4], k_hex[byte & 15]});
    } else {
      out.push_back(c);
    }
  }
  return out.append(text.size() > k_bytes_max ? "...\"" : "\"");
}

std::string_view nearest_name(std::string_view text, const std::vector<std::string>& names) {
  if (text.size() > k_compared_bytes_max) return {};
  std::string_view best;
  // Of a short text at least one letter must be right.
  std::size_t best_distance = std::min(std::max<std::size_t>(2, text.size() / 3) + 1, text.size());
  for (const std::string& name : names) {
    if (name.size() > k_compared_bytes_max) continue;
    const std::size_t distance = edit_distance(text, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace fieldgate::config
