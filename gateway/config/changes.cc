// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/declaration.h"
#include "gateway/config/print.h"

#include <map>
#include <utility>

namespace fieldgate::config {
namespace {

struct State {
  std::string text;
  Reload reload = Reload::nothing;
};

// Each key's value as one text.
class Snapshot final : public FlatVisitor {
 public:
  explicit Snapshot(Settings settings) : FlatVisitor(Lists::elements) { describe(*this, settings); }
  std::map<std::string, State> states;

 private:
  void on_value(const std::string& path, const Key& key, Value& value) override {
    states[path] = {value.fingerprint(), key.reload};
  }
  void on_texts(const std::string& path, const Key& key, TextList& texts) override {
    std::string text;
    for (const std::string& element : texts.get()) text.append(element).push_back('\n');
    states[path] = {std::move(text), key.reload};
  }
  void on_list(const std::string& path, const Key& key, List& list) override {
    states[path] = {std::to_string(list.size()), key.reload};
  }
};

}  // namespace

std::vector<Change> changes(const Settings& before, const Settings& after) {
  const Snapshot old(before);
  const Snapshot now(after);
  std::vector<Change> found;
  for (const auto& [path, state] : now.states) {
    const auto earlier = old.states.find(path);
    if (earlier == old.states.end() || earlier->second.text == state.text) continue;
    found.push_back({path, state.reload == Reload::value});
  }
  return found;
}

}  // namespace fieldgate::config
