// SPDX-License-Identifier: Apache-2.0
// Claims about the declaration that hold for every key, whoever added it.
#include "gateway/config/declaration.h"
#include "gateway/config/print.h"
#include "tests/unit/config/bind_text.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace fieldgate::config {
namespace {

// Settings in which every list has one element.
Settings full() {
  Settings settings;
  settings.mqtt.emplace_back().routes.emplace_back();
  settings.webhooks.emplace_back().headers.emplace_back();
  settings.tokens.jwt.keys.emplace_back();
  settings.api.jwt.keys.emplace_back();
  return settings;
}

struct Declared {
  std::string path;  // "mqtt[].routes[].kinds"
  Key key;
  ValueInfo info;
  std::string shown;  // its default
  bool texts = false;
};

class Collector final : public FlatVisitor {
 public:
  Collector() : FlatVisitor(Lists::declared) {}
  std::vector<Declared> keys;

 private:
  void on_value(const std::string& path, const Key& key, Value& value) override {
    keys.push_back({path, key, value.info(), value.show(), false});
  }
  void on_texts(const std::string& path, const Key& key, TextList& texts) override {
    keys.push_back({path, key, texts.element_info(), "", true});
  }
};

std::vector<Declared> every_key() {
  Collector collector;
  Settings settings;
  describe(collector, settings);
  return collector.keys;
}

// "mqtt[].tls.ca_file" and "x" -> "{mqtt: [{tls: {ca_file: x}}]}"
std::string yaml_with(std::string_view path, const std::string& value) {
  const std::size_t dot = path.find('.');
  std::string_view name = path.substr(0, dot);
  const bool list = name.ends_with("[]");
  if (list) name.remove_suffix(2);
  const std::string inner = dot == std::string_view::npos ? value : yaml_with(path.substr(dot + 1), value);
  return "{" + std::string(name) + ": " + (list ? "[" + inner + "]" : inner) + "}";
}

std::string with_index(std::string path) {
  for (std::size_t at = 0; (at = path.find("[]", at)) != std::string::npos; ++at) path.insert(at + 1, "0");
  return path;
}

std::vector<std::string> refused_values(const Declared& declared) {
  const ValueInfo& info = declared.info;
  std::vector<std::string> texts;
  const auto beyond = [&](std::uint64_t step, const std::string& unit) {
    texts.push_back(std::to_string(info.max + step) + unit);
    if (info.min > 0) texts.push_back(std::to_string(info.min - step) + unit);
    texts.insert(texts.end(), {"-1" + unit, "1.5" + unit, "99999999999999999999999" + unit, "nonsense"});
  };
  switch (info.shape) {
    case Shape::flag: return {"yes", "1", "True"};
    case Shape::integer:
    case Shape::size: beyond(1, ""); return texts;
    case Shape::duration: beyond(info.step_ms, "ms"); return texts;
    case Shape::endpoint: return {"nonsense", "127.0.0.1:65536", "256.0.0.1:1"};
    case Shape::choice: return {"nonsense"};
    case Shape::text:
    case Shape::file:
    case Shape::secret: return {"\"a\\x01\"", std::string(info.max + 1, 'a')};
  }
  return texts;
}

TEST(EveryKey, RefusesWhatIsOutOfItsRangeAndNamesTheRange) {
  const std::vector<Declared> keys = every_key();
  ASSERT_GT(keys.size(), 80U);
  for (const Declared& declared : keys) {
    for (const std::string& value : refused_values(declared)) {
      const std::string text = yaml_with(declared.path, declared.texts ? "[" + value + "]" : value);
      const Bound bound = bind_text(text);
      EXPECT_FALSE(bound.settings.has_value()) << text;
      const std::string path = with_index(declared.path) + (declared.texts ? "[0]" : "");
      const std::string place = "f.yaml:1:" + std::to_string(text.find(value) + 1) + ": ";
      EXPECT_TRUE(mentions(lines(bound.problems), place + path + " must", declared.info.range)) << text;
    }
  }
}

// Gives one key another value than it has.
class Changer final : public FlatVisitor {
 public:
  explicit Changer(std::string path) : FlatVisitor(Lists::elements), path_(std::move(path)) {}
  bool done = false;

 private:
  static std::vector<std::string> candidates(const ValueInfo& info) {
    switch (info.shape) {
      case Shape::flag: return {"true", "false"};
      case Shape::integer:
      case Shape::size: return {std::to_string(info.min), std::to_string(info.max)};
      case Shape::duration: return {std::to_string(info.min) + "ms", std::to_string(info.max) + "ms"};
      case Shape::endpoint: return {"127.0.0.9:9"};
      case Shape::choice: return info.choices;
      default: return {"other", "/other", "http://other", "10.0.0.0/8", "404"};
    }
  }
  void on_value(const std::string& path, const Key& /*key*/, Value& value) override {
    if (path != path_) return;
    const std::string before = value.fingerprint();
    for (const std::string& text : candidates(value.info())) {
      if (!value.set(text) && value.fingerprint() != before) {
        done = true;
        return;
      }
    }
  }
  void on_texts(const std::string& path, const Key& /*key*/, TextList& texts) override {
    if (path != path_) return;
    for (const std::string& text : candidates(texts.element_info())) {
      if (!texts.check(text)) {
        texts.set({text});
        done = true;
        return;
      }
    }
  }

  std::string path_;
};

TEST(EveryKey, SetsAMemberOfItsOwn) {
  for (const Declared& declared : every_key()) {
    const std::string path = with_index(declared.path);
    Settings settings = full();
    Changer changer(path);
    describe(changer, settings);
    ASSERT_TRUE(changer.done) << path;
    std::vector<std::string> changed;
    for (const Change& change : changes(full(), settings)) changed.push_back(change.path);
    EXPECT_EQ(changed, std::vector<std::string>{path});
  }
}

TEST(EveryKey, HasADefaultInsideItsRange) {
  for (const Declared& declared : every_key()) {
    if (declared.texts || declared.shown.empty()) continue;
    const Bound bound = bind_text(yaml_with(declared.path, "\"" + declared.shown + "\""));
    EXPECT_FALSE(contains(testing::PrintToString(lines(bound.problems)), with_index(declared.path) + " must be"))
        << declared.path;
  }
}

TEST(EveryKey, IsDocumentedInWholeSentences) {
  for (const Declared& declared : every_key()) {
    EXPECT_GT(declared.key.doc.size(), 6U) << declared.path;
    EXPECT_TRUE(declared.key.doc.ends_with('.')) << declared.path;
  }
}

TEST(Changes, SayWhatARunningProcessTakesOver) {
  Settings before = full();
  Settings after = full();
  after.log.level = LogLevel::debug;
  after.node.shards = 3;
  after.mqtt[0].password.value = "new";
  after.mqtt.emplace_back();
  std::map<std::string, bool> found;
  for (const Change& change : changes(before, after)) found[change.path] = change.taken_over;
  EXPECT_EQ(found, (std::map<std::string, bool>{
                       {"log.level", true}, {"node.shards", false}, {"mqtt[0].password", false}, {"mqtt", false}}));
  EXPECT_TRUE(changes(before, before).empty());
}

}  // namespace
}  // namespace fieldgate::config
