// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/visitor.h"

namespace fieldgate::config {

std::string FlatVisitor::path_of(std::string_view name) const {
  if (prefixes_.empty()) return std::string(name);
  return prefixes_.back() + "." + std::string(name);
}

void FlatVisitor::value(const Key& key, Value&& value) { on_value(path_of(key.name), key, value); }

void FlatVisitor::texts(const Key& key, TextList&& texts) { on_texts(path_of(key.name), key, texts); }

void FlatVisitor::list(const Key& key, List&& list) {
  const std::string path = path_of(key.name);
  on_list(path, key, list);
  if (lists_ == Lists::declared) {
    prefixes_.push_back(path + "[]");
    on_group(prefixes_.back(), key);
    list.visit_default(*this);
    prefixes_.pop_back();
    return;
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    prefixes_.push_back(path + "[" + std::to_string(i) + "]");
    list.visit(i, *this);
    prefixes_.pop_back();
  }
}

void FlatVisitor::enter(const Key& section) {
  prefixes_.push_back(path_of(section.name));
  on_group(prefixes_.back(), section);
}

void FlatVisitor::leave() { prefixes_.pop_back(); }

}  // namespace fieldgate::config
