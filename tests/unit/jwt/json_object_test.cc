// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/json_object.h"

#include "adapters/jwt/base64url.h"

#include <gtest/gtest.h>

namespace fieldgate::jwt {
namespace {

std::string problem(std::string_view json) {
  const auto read = JsonObject::parse(json, {"sub", "aud"});
  return read ? "none" : read.error().detail;
}

TEST(JsonObject, KeepsTheWantedMembersOfEachType) {
  const auto read = JsonObject::parse(
      R"({"a":"x\u00e9","b":[1,{"a":"deep"}],"n":12.5,"i":-3,"t":["p","q"],"m":["p",1],"o":{"n":1},"f":true,"z":null,"e":[]})",
      {"a", "n", "i", "t", "m", "o", "f", "z", "e", "none"});
  ASSERT_TRUE(read) << read.error().detail;
  EXPECT_EQ(*read->text("a"), "x\xC3\xA9");
  EXPECT_EQ(*read->number("n"), 12.5);
  EXPECT_EQ(*read->number("i"), -3);
  EXPECT_EQ(*read->texts("t"), (JsonObject::Texts{"p", "q"}));
  EXPECT_TRUE(read->texts("e")->empty());
  for (const std::string_view name : {"m", "o", "f", "z"}) {
    EXPECT_TRUE(std::holds_alternative<JsonObject::Other>((*read)[name])) << name;
    EXPECT_TRUE(read->has(name)) << name;
  }
  EXPECT_FALSE(read->has("none"));
}

TEST(JsonObject, RefusesAWantedNameThatComesTwice) {
  EXPECT_EQ(problem(R"({"sub":"a","sub":"b"})"), "holds 'sub' twice");
  EXPECT_EQ(problem(R"({"sub":"a","x":{},"s\u0075b":"b"})"), "holds 'sub' twice");
  EXPECT_EQ(problem(R"({"aud":["a"],"aud":"b"})"), "holds 'aud' twice");
  EXPECT_EQ(problem(R"({"x":1,"x":2,"sub":"a","y":{"sub":"b","sub":"c"}})"), "none");
}

TEST(JsonObject, RefusesWhatIsNoObject) {
  for (const char* json : {"", " ", "[]", "\"a\"", "1", "{", "{}{}", "{} x", "{\"a\":1,}", "{'a':1}", "nul",
                           "{\"a\":\"\xFF\"}", "{\"a\":01}", "{\"a\" 1}", "/* c */{}"}) {
    EXPECT_NE(problem(json), "none") << json;
  }
  EXPECT_EQ(problem(" {} \n"), "none");
  EXPECT_EQ(problem("[{\"sub\":\"a\"}]"), "is not a JSON object");
}

TEST(JsonObject, RefusesDepthAndPassesOverListsThatAreTooLong) {
  EXPECT_NE(problem("{\"a\":" + std::string(40, '[') + std::string(40, ']') + "}"), "none");
  std::string many = "{\"aud\":[\"a\"";
  for (int i = 0; i < 100; ++i) many += ",\"a\"";
  const auto read = JsonObject::parse(many + "]}", {"aud"});
  ASSERT_TRUE(read);
  EXPECT_EQ(read->texts("aud"), nullptr);
}

TEST(Base64Url, IsThatOfTheStandard) {
  // RFC 4648 section 10, without padding; RFC 7515 appendix C.
  EXPECT_EQ(to_base64url("foob"), "Zm9vYg");
  EXPECT_EQ(to_base64url("\x03\xEC\xFF\xE0\xC1"), "A-z_4ME");
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    EXPECT_EQ(from_base64url(to_base64url(text)), text);
  }
}

TEST(Base64Url, RefusesWhatItWouldNotWrite) {
  for (const char* text : {"Z", "Zg==", "Zm9vYg=", "Zm9v\n", "Zm 9v", "Zm9+", "Zm9/", "Zh", "Zm9vYh", "Zm\xC3\xA9"}) {
    EXPECT_EQ(from_base64url(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace fieldgate::jwt
