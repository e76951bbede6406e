// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/yaml_writer.h"

#include <algorithm>

namespace fieldgate::config {
namespace {

constexpr std::size_t k_columns = 88;

// Whether no YAML reader could take it for anything but this text.
bool is_plain(std::string_view text) {
  constexpr std::string_view k_first = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz/";
  constexpr std::string_view k_rest = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/";
  if (text.empty() || k_first.find(text.front()) == std::string_view::npos) return false;
  if (text.find_first_not_of(k_rest) != std::string_view::npos) return false;
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  for (const std::string_view word : {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}) {
    if (lower == word) return false;
  }
  return true;
}

bool is_text(Shape shape) { return shape == Shape::text || shape == Shape::file || shape == Shape::secret; }

}  // namespace

std::string yaml_scalar(std::string_view text) {
  if (is_plain(text)) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    // What was ${VAR} has been replaced: a dollar sign that is left is one.
    if (c == '$') out.push_back('$');
    out.push_back(c);
  }
  return out.append("\"");
}

void YamlWriter::comment(std::string_view doc, std::string_view range) {
  if (comments_ == Comments::none) return;
  std::string words(doc);
  if (!range.empty()) words.append(" (").append(range).append(")");
  const std::string head = std::string(2 * depth_, ' ') + "#";
  std::string line = head;
  std::string_view rest = words;
  while (!rest.empty()) {
    const std::size_t space = std::min(rest.find(' '), rest.size());
    if (line.size() + 1 + space > k_columns && line.size() > head.size()) {
      out_.append(line).push_back('\n');
      line = head;
    }
    line.append(" ").append(rest.substr(0, space));
    rest.remove_prefix(std::min(space + 1, rest.size()));
  }
  out_.append(line).push_back('\n');
}

void YamlWriter::line(std::string_view key, std::string_view rest) {
  out_.append(2 * (depth_ - (dash_ ? 1 : 0)), ' ').append(dash_ ? "- " : "").append(key).append(":");
  if (!rest.empty()) out_.append(" ").append(rest);
  out_.push_back('\n');
  dash_ = false;
}

void YamlWriter::value(const Key& key, Value&& value) {
  const ValueInfo info = value.info();
  comment(key.doc, info.range);
  const std::string text = value.show();
  const bool bracketed = text.starts_with('[');
  line(key.name, is_text(info.shape) || bracketed ? yaml_scalar(text) : text);
}

void YamlWriter::texts(const Key& key, TextList&& texts) {
  comment(key.doc, texts.element_info().range);
  std::string flow = "[";
  for (const std::string& text : texts.get()) flow.append(flow.size() > 1 ? ", " : "").append(yaml_scalar(text));
  line(key.name, flow.append("]"));
}

void YamlWriter::list(const Key& key, List&& list) {
  comment(key.doc, {});
  line(key.name, list.size() == 0 ? "[]" : "");
  depth_ += 2;
  for (std::size_t i = 0; i < list.size(); ++i) {
    dash_ = true;
    list.visit(i, *this);
  }
  depth_ -= 2;
}

void YamlWriter::enter(const Key& section) {
  if (depth_ == 0 && comments_ == Comments::documentation && !out_.empty()) out_.push_back('\n');
  comment(section.doc, {});
  line(section.name, {});
  ++depth_;
}

void YamlWriter::leave() { --depth_; }

}  // namespace fieldgate::config
