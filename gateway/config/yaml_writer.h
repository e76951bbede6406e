// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/visitor.h"

#include <string>
#include <string_view>

namespace fieldgate::config {

// Writes each key it visits as YAML, in block style.
class YamlWriter final : public Visitor {
 public:
  enum class Comments : std::uint8_t { none, documentation };
  explicit YamlWriter(Comments comments) : comments_(comments) {}

  void value(const Key& key, Value&& value) override;
  void texts(const Key& key, TextList&& texts) override;
  void list(const Key& key, List&& list) override;
  void enter(const Key& section) override;
  void leave() override;

  const std::string& text() const noexcept { return out_; }

 private:
  void comment(std::string_view doc, std::string_view range);
  // "key: rest", indented, with the dash of a list's element that begins here.
  void line(std::string_view key, std::string_view rest);

  Comments comments_;
  std::string out_;
  std::size_t depth_ = 0;
  bool dash_ = false;
};

// A YAML scalar for `text`, in double quotes where YAML would take the plain
// text for something else.
std::string yaml_scalar(std::string_view text);

}  // namespace fieldgate::config
