// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/merge_patch.h"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>

#include <random>
#include <string>

namespace fieldgate::control {
namespace {

namespace json = boost::json;

json::object parsed(const std::string& text) {
  auto object = parse_object(text);
  EXPECT_TRUE(object) << text << ": " << (object ? "" : object.error().detail);
  return object ? std::move(*object) : json::object();
}

std::string merged(const std::string& target, const std::string& patch) {
  json::object document = parsed(target);
  merge(document, parsed(patch));
  return to_text(document);
}

// RFC 7396, appendix A: those whose target and patch are objects.
TEST(MergePatch, DoesAsTheExamplesOfTheRfc) {
  EXPECT_EQ(merged(R"({"a":"b"})", R"({"a":"c"})"), R"({"a":"c"})");
  EXPECT_EQ(merged(R"({"a":"b"})", R"({"b":"c"})"), R"({"a":"b","b":"c"})");
  EXPECT_EQ(merged(R"({"a":"b"})", R"({"a":null})"), R"({})");
  EXPECT_EQ(merged(R"({"a":"b","b":"c"})", R"({"a":null})"), R"({"b":"c"})");
  EXPECT_EQ(merged(R"({"a":["b"]})", R"({"a":"c"})"), R"({"a":"c"})");
  EXPECT_EQ(merged(R"({"a":"c"})", R"({"a":["b"]})"), R"({"a":["b"]})");
  EXPECT_EQ(merged(R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})"), R"({"a":{"b":"d"}})");
  EXPECT_EQ(merged(R"({"a":[{"b":"c"}]})", R"({"a":[1]})"), R"({"a":[1]})");
  EXPECT_EQ(merged(R"({"e":null})", R"({"a":1})"), R"({"e":null,"a":1})");
  EXPECT_EQ(merged(R"({})", R"({"a":{"bb":{"ccc":null}}})"), R"({"a":{"bb":{}}})");
}

TEST(MergePatch, TakesOneObjectAndSaysWhatElseIsWrong) {
  for (const char* text : {"", "[]", "1", "null", "{", "{}{}", "{} x", R"({"a":})", R"({"a":1,})", "{\"a\":\"\xff\"}",
                           "{\"a\":\"\xed\xa0\x80\"}", R"({"a":NaN})", R"({"a":01})", R"({'a':1})"}) {
    const auto object = parse_object(text);
    ASSERT_FALSE(object) << text;
    EXPECT_EQ(object.error().code, Errc::invalid_argument);
    EXPECT_FALSE(object.error().detail.empty());
  }
  EXPECT_TRUE(parse_object(" {\"a\" : [1, 2.5, \"\\u00e4\"]} \n"));
}

TEST(MergePatch, GoesNoDeeperThanAllowed) {
  const auto nested = [](std::size_t levels) {
    std::string text;
    for (std::size_t i = 0; i < levels; ++i) text += R"({"a":)";
    return text + "1" + std::string(levels, '}');
  };
  EXPECT_TRUE(parse_object(nested(k_json_depth_max)));
  EXPECT_FALSE(parse_object(nested(k_json_depth_max + 1)));
  EXPECT_FALSE(parse_object(nested(100'000)));
}

TEST(MergePatch, RefusesNumbersThatItCouldNotWriteAgain) {
  for (const std::string& number : {std::string("1e999"), std::string("-1e400"), std::string(400, '9')}) {
    for (const std::string& text : {"{\"a\":" + number + "}", "{\"a\":[{\"b\":" + number + "}]}"}) {
      const auto object = parse_object(text);
      ASSERT_FALSE(object) << text;
      EXPECT_EQ(object.error().detail, "a number is larger than a double can be");
    }
  }
  for (const char* text : {R"({"a":1e308,"b":-1e308})", R"({"a":1e-999})", R"({"a":123456789012345678901234567890})"}) {
    const auto object = parse_object(text);
    ASSERT_TRUE(object) << text;
    EXPECT_TRUE(parse_object(to_text(*object))) << to_text(*object);
  }
}

TEST(MergePatch, KeepsIntegersAsTheyCameAndTheLastOfTwins) {
  const std::string text = R"({"a":9007199254740993,"b":18446744073709551615,"c":-9223372036854775808})";
  EXPECT_EQ(to_text(parsed(text)), text);
  EXPECT_EQ(to_text(parsed(R"({"a":1,"a":2})")), R"({"a":2})");
}

TEST(MergePatch, FindsTheSmallestDifference) {
  const auto difference_of = [](const std::string& from, const std::string& to) {
    const auto patch = difference(parsed(from), parsed(to));
    return patch ? to_text(*patch) : "none";
  };
  EXPECT_EQ(difference_of(R"({"a":1,"b":{"c":1,"d":2}})", R"({"b":{"c":1,"d":3}})"), R"({"a":null,"b":{"d":3}})");
  EXPECT_EQ(difference_of(R"({"a":{"b":1}})", R"({"a":[null]})"), R"({"a":[null]})");
  EXPECT_EQ(difference_of(R"({"a":1})", R"({"a":1})"), "{}");
  EXPECT_EQ(difference_of(R"({})", R"({"a":null})"), "none");
  EXPECT_EQ(difference_of(R"({})", R"({"a":{"b":null}})"), "none");
  EXPECT_EQ(difference_of(R"({"a":null})", R"({"a":null,"b":1})"), R"({"b":1})");
}

json::value random_value(std::mt19937& random, int depth, bool nulls) {
  switch (random() % (depth > 0 ? 6 : 3)) {
    case 0: return static_cast<std::int64_t>(random() % 3);
    case 1: return "text";
    case 2: return nulls ? json::value(nullptr) : json::value(true);
    case 3: return json::array{random_value(random, depth - 1, true)};
    default: {
      json::object object;
      for (std::size_t i = random() % 4; i > 0; --i) {
        object.insert_or_assign(std::string(1, static_cast<char>('a' + random() % 4)),
                                random_value(random, depth - 1, nulls));
      }
      return object;
    }
  }
}

TEST(MergePatch, GivesADifferenceThatMakesOneOfTheOther) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::size_t some = 0;
  for (int i = 0; i < 5'000; ++i) {
    json::object from{{"m", random_value(random, 3, i % 2 == 0)}, {"n", random_value(random, 3, i % 2 == 0)}};
    const json::object to{{"m", random_value(random, 3, i % 2 == 0)}, {"o", random_value(random, 3, i % 2 == 0)}};
    const auto patch = difference(from, to);
    ASSERT_TRUE(patch || i % 2 == 0) << "there is always one without null";
    if (!patch) continue;
    ++some;
    merge(from, *patch);
    ASSERT_EQ(from, to);
  }
  EXPECT_GT(some, 2'500u);
}

}  // namespace
}  // namespace fieldgate::control
