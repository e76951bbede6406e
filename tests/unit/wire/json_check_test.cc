// SPDX-License-Identifier: Apache-2.0
#include "adapters/wire/json_check.h"

#include "adapters/wire/text.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <random>
#include <string>

namespace fieldgate::wire {
namespace {

TEST(JsonCheck, TakesObjects) {
  for (const char* text :
       {"{}", " {\t\"a\" : [ ] ,\r\n \"b\":{}} ", R"({"n":[0,-0,1.5,-2e10,3E-2,4e+1],"l":[true,false,null]})",
        R"({"s":"\"\\\/\b\f\n\r\t\u00e9\ud83d\udd25"})", "{\"\":\"\x7f\"}", R"({"a":1,"a":2})"}) {
    EXPECT_EQ(json_object_problem(text), std::nullopt) << text;
  }
}

TEST(JsonCheck, NamesTheProblemAndTheByte) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "not a JSON object at byte 0"},
      {"  [1]", "not a JSON object at byte 2"},
      {"\"x\"", "not a JSON object at byte 0"},
      {"{} {}", "more than one JSON value at byte 3"},
      {"{", "expected a key at byte 1"},
      {"{,}", "expected a key at byte 1"},
      {"{a:1}", "expected a key at byte 1"},
      {"{\"a\"}", "expected : at byte 4"},
      {"{\"a\":}", "expected a value at byte 5"},
      {"{\"a\":1,}", "expected a key at byte 7"},
      {"{\"a\":1 \"b\":2}", "expected , or } at byte 7"},
      {"{\"a\":[1,]}", "expected a value at byte 8"},
      {"{\"a\":[1 2]}", "expected , or ] at byte 8"},
      {"{\"a\":[1}", "expected , or ] at byte 7"},
      {"{\"a\":tru}", "expected a value at byte 5"},
      {"{\"a\":01}", "expected , or } at byte 6"},
      {"{\"a\":-}", "expected a digit at byte 6"},
      {"{\"a\":1.}", "expected a digit at byte 7"},
      {"{\"a\":1e}", "expected a digit at byte 7"},
      {"{\"a\":+1}", "expected a value at byte 5"},
      {"{\"a\":NaN}", "expected a value at byte 5"},
      {"{\"a", "unfinished string at byte 3"},
      {"{\"a\nb\":1}", "control character in a string at byte 3"},
      {"{\"\\x\":1}", "unknown escape at byte 3"},
      {"{\"\\u12g4\":1}", "expected a hexadecimal digit at byte 6"},
      {"{\"\\udc00\":1}", "lone surrogate at byte 8"},
      {"{\"\\ud800x\":1}", "lone surrogate at byte 8"},
      {"{\"a\":1", "expected , or } at byte 6"},
  };
  for (const auto& [text, problem] : cases) EXPECT_EQ(json_object_problem(text), problem) << text;
}

TEST(JsonCheck, LimitsTheDepth) {
  const auto nested = [](unsigned depth) {
    std::string text = "{\"a\":";
    for (unsigned i = 1; i < depth; ++i) text += "[";
    for (unsigned i = 1; i < depth; ++i) text += "]";
    return text.insert(text.size(), depth == 1 ? "1}" : "}");
  };
  EXPECT_EQ(json_object_problem(nested(k_json_depth_max)), std::nullopt);
  EXPECT_EQ(json_object_problem(nested(k_json_depth_max + 1)), "nested too deeply at byte 36");
  EXPECT_EQ(json_object_problem(nested(60'000)), "nested too deeply at byte 36");
}

// Boost.JSON is the other opinion: on documents with a few random changes.
TEST(JsonCheck, AgreesWithAParserOnMutatedDocuments) {
  std::mt19937 random(2);
  const std::string seeds[] = {R"({"temperature":21.5,"on":true,"tags":["a","b"],"nested":{"x":null,"y":-1e-3}})",
                               R"({ "s" : "\u00e9\n\"\ud83d\udd25" , "e":{}, "l":[[],[0]] })",
                               R"({"a":[1,2,{"b":[false]}],"c":""})"};
  const std::string characters = "{}[]\",:\\0123456789eE+-.tfnu \n\x01xa";
  int valid = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string text = seeds[random() % 3];
    for (unsigned k = random() % 4; k > 0; --k) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = characters[random() % characters.size()]; break;
        case 1: text.erase(at, 1 + random() % 3); break;
        default: text.insert(at, 1, characters[random() % characters.size()]); break;
      }
      if (text.empty()) text = "{";
    }
    boost::system::error_code code;
    const auto json = boost::json::parse(text, code);
    // Boost takes 1e999 for an error; a document of ours may carry it.
    if (code == boost::json::error::exponent_overflow) continue;
    const bool expected = !code && json.is_object();
    valid += expected ? 1 : 0;
    ASSERT_EQ(!json_object_problem(text).has_value(), expected) << text << "\n" << code.message();
  }
  EXPECT_GT(valid, 10'000);
}

}  // namespace
}  // namespace fieldgate::wire
