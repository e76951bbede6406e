// SPDX-License-Identifier: Apache-2.0
#include <boost/json.hpp>

#include "gateway/config/declaration.h"
#include "gateway/config/json_text.h"
#include "gateway/config/print.h"

namespace fieldgate::config {
namespace {

namespace json = boost::json;

// What any scalar may be instead of itself.
json::object variable() { return {{"$ref", "#/$defs/variable"}}; }

json::object any_of(json::array alternatives) { return {{"anyOf", std::move(alternatives)}}; }

// The words without what they mean: documentation and default.
json::object type_of(const ValueInfo& info) {
  switch (info.shape) {
    case Shape::flag: return any_of({json::object{{"type", "boolean"}}, variable()});
    case Shape::integer:
      return any_of({json::object{{"type", "integer"}, {"minimum", info.min}, {"maximum", info.max}}, variable()});
    case Shape::size:
      return any_of({json::object{{"type", "integer"}, {"minimum", info.min}, {"maximum", info.max}},
                     json::object{{"type", "string"}, {"pattern", "^[0-9]+(KiB|MiB|GiB)$"}}, variable()});
    case Shape::duration:
      return any_of({json::object{{"type", "string"}, {"pattern", "^[0-9]+(ms|s|m|h)$"}}, variable()});
    case Shape::endpoint:
      return any_of(
          {json::object{{"type", "string"}, {"pattern", "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$"}}, variable()});
    case Shape::choice: {
      json::array words;
      for (const std::string& word : info.choices) words.emplace_back(word);
      return any_of({json::object{{"enum", std::move(words)}}, variable()});
    }
    case Shape::text:
    case Shape::file:
    case Shape::secret: return {{"type", "string"}};
  }
  return {};
}

json::value default_of(const ValueInfo& info, const Value& value) {
  const std::string text = value.show();
  if (info.shape == Shape::flag) return text == "true";
  if (info.shape == Shape::integer) return parse_unsigned(text).value_or(0);
  if (info.shape == Shape::size && parse_unsigned(text)) return *parse_unsigned(text);
  return json::value(text);
}

std::string description(const Key& key, const std::string& range) {
  std::string text(key.doc);
  if (!range.empty()) text.append(" (").append(range).append(")");
  return text;
}

class SchemaWriter final : public Visitor {
 public:
  SchemaWriter() : objects_{json::object()} {}

  void value(const Key& key, Value&& value) override {
    const ValueInfo info = value.info();
    json::object schema = type_of(info);
    schema["default"] = default_of(info, value);
    add(key, std::move(schema), info.range);
  }
  void texts(const Key& key, TextList&& texts) override {
    const ValueInfo info = texts.element_info();
    json::array defaults;
    for (const std::string& text : texts.get()) defaults.emplace_back(text);
    json::object schema{{"type", {"array", "null"}}, {"maxItems", texts.size_max()}, {"items", type_of(info)}};
    schema["default"] = std::move(defaults);
    add(key, std::move(schema), info.range);
  }
  void list(const Key& key, List&& list) override {
    objects_.emplace_back();
    list.visit_default(*this);
    json::object element = section(pop());
    add(key, {{"type", {"array", "null"}}, {"maxItems", list.size_max()}, {"items", std::move(element)}}, {});
  }
  void enter(const Key& section) override {
    sections_.push_back(section);
    objects_.emplace_back();
  }
  void leave() override {
    const Key key = sections_.back();
    sections_.pop_back();
    add(key, section(pop()), {});
  }

  json::object properties() { return pop(); }

 private:
  static json::object section(json::object properties) {
    return {{"type", {"object", "null"}}, {"additionalProperties", false}, {"properties", std::move(properties)}};
  }
  json::object pop() {
    json::object object = std::move(objects_.back());
    objects_.pop_back();
    return object;
  }
  void add(const Key& key, json::object schema, const std::string& range) {
    json::object described{{"description", description(key, range)}};
    for (auto& [name, member] : schema) described[name] = std::move(member);
    objects_.back()[key.name] = std::move(described);
  }

  std::vector<json::object> objects_;
  std::vector<Key> sections_;
};

}  // namespace

std::string json_schema() {
  Settings defaults;
  SchemaWriter writer;
  describe(writer, defaults);
  const json::object schema{
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", "Configuration of Fieldgate"},
      {"type", {"object", "null"}},
      {"additionalProperties", false},
      {"properties", writer.properties()},
      {"$defs",
       {{"variable",
         {{"description", "An environment variable in place of the value, or as a part of it."},
          {"type", "string"},
          {"pattern", "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}"}}}}},
  };
  return pretty(schema);
}

}  // namespace fieldgate::config
