// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/codec.h"
#include "adapters/store/schema.h"

#include <gtest/gtest.h>

#include <string>

namespace fieldgate::store {
namespace {

#define REPLACED "\xEF\xBF\xBD"

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(CleanText, LeavesWhatIsWellFormed) {
  for (const char* text : {"", "plain", "zäh", "\xE2\x82\xAC", "\xF0\x9F\x9A\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF4\x8F\xBF\xBF", "\x01\x7F\n\t'\"\\"}) {
    EXPECT_EQ(clean_text(text), text);
    EXPECT_TRUE(key_text(text, "it"));
  }
}

TEST(CleanText, ReplacesWhatIsNot) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {std::string("\0", 1), REPLACED},
      {"a\xFFz", "a" REPLACED "z"},
      {"\xC3", REPLACED},                                         // cut off
      {"\xE2\x82", REPLACED REPLACED},                            // cut off
      {"\xC0\x80", REPLACED REPLACED},                            // overlong
      {"\xE0\x9F\xBF", REPLACED REPLACED REPLACED},               // overlong
      {"\xED\xA0\x80", REPLACED REPLACED REPLACED},               // a surrogate
      {"\xF4\x90\x80\x80", REPLACED REPLACED REPLACED REPLACED},  // beyond U+10FFFF
      {"\x80", REPLACED},
  };
  for (const auto& [text, clean] : cases) {
    EXPECT_EQ(clean_text(text), clean);
    const auto refused = key_text(text, "a topic");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::invalid_argument);
    EXPECT_NE(refused.error().detail.find("a topic"), std::string::npos);
  }
}

TEST(Codec, GivesPairsBackInTheirOrder) {
  const Pairs pairs{{"z", "1"}, {"a", "\"quoted\" \\ \n \x01 ü"}, {"", ""}};
  EXPECT_EQ(decode_pairs(encode_pairs(pairs)).value(), pairs);
  EXPECT_EQ(decode_pairs("{}").value(), Pairs{});
}

TEST(Codec, GivesStepsBackAsTheyWere) {
  const std::vector<CommandStep> steps{{CommandState::queued, 1, {}, ""},
                                       {CommandState::sent, 1'700'000'000'123, {k_epoch_max}, "to \"a\""},
                                       {CommandState::timed_out, 3, {7}, "ü"}};
  EXPECT_EQ(decode_steps(encode_steps(steps)).value(), steps);
}

TEST(Codec, RefusesWhatItDidNotWrite) {
  for (const char* text : {"", "[]", "{\"a\":1}", "{", "null"}) {
    const auto pairs = decode_pairs(text);
    ASSERT_FALSE(pairs) << text;
    EXPECT_EQ(pairs.error().code, Errc::malformed);
  }
  for (const char* text : {"", "{}", "[1]", "[{}]", R"([{"state":"flying","unix_ms":1,"epoch":1,"detail":""}])",
                           R"([{"state":"sent","unix_ms":1,"epoch":-1,"detail":""}])",
                           R"([{"state":"sent","unix_ms":"1","epoch":1,"detail":""}])"}) {
    const auto steps = decode_steps(text);
    ASSERT_FALSE(steps) << text;
    EXPECT_EQ(steps.error().code, Errc::malformed);
  }
  EXPECT_FALSE(decode_state("flying"));
  EXPECT_FALSE(decode_credential_kind("smile"));
  EXPECT_FALSE(decode_timeline_kind("rumour"));
  EXPECT_FALSE(decode_device("no device"));
}

TEST(Codec, KnowsEveryNameThatItWrites) {
  for (std::size_t i = 0; i < k_command_states; ++i) {
    const auto state = static_cast<CommandState>(i);
    EXPECT_EQ(decode_state(to_string(state)).value(), state);
  }
  for (std::size_t i = 0; i < k_timeline_kinds; ++i) {
    const auto kind = static_cast<TimelineKind>(i);
    EXPECT_EQ(decode_timeline_kind(to_string(kind)).value(), kind);
  }
}

TEST(Schema, IsSaidInTheEnginesWordsAlone) {
  const Dialect dialect{
      .integer = "I", .text = "T", .blob = "B", .serial = "S", .rows = " R", .keyed = " K", .busy = " U"};
  EXPECT_EQ(rendered("a {integer}, b {integer}, c {text} {blob} {serial}){rows}){keyed}){busy};", dialect),
            "a I, b I, c T B S) R) K) U;");
  for (const std::string_view migration : migrations()) {
    const std::string sql = rendered(migration, dialect);
    // An empty JSON object is all that is left in braces.
    for (std::size_t at = 0; (at = sql.find('{', at)) != std::string::npos; ++at) EXPECT_EQ(sql.substr(at, 2), "{}");
  }
  EXPECT_EQ(schema_version(), migrations().size());
}

}  // namespace
}  // namespace fieldgate::store
