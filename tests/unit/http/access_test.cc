// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/access.h"
#include "adapters/http/fleet_inbox.h"
#include "adapters/http/sealed_cursor.h"
#include "adapters/http/token_table.h"
#include "tests/support/jwt_keys.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

namespace fieldgate::http {
namespace {

// printf %s secret | sha256sum
constexpr std::string_view k_secret = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
// printf %s other | sha256sum
constexpr std::string_view k_other = "sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

TEST(TokenTable, FindsWhoPresentsAToken) {
  const std::string text = "# who may read\n\nops " + std::string(k_secret) + "\r\nci\t" + std::string(k_other) + "\n";
  const auto table = TokenTable::parse(text, "tokens");
  ASSERT_TRUE(table.has_value()) << table.error().detail;
  ASSERT_NE(table->find("secret"), nullptr);
  EXPECT_EQ(table->find("secret")->name, "ops");
  EXPECT_EQ(table->find("other")->name, "ci");
  for (const char* wrong : {"", "Secret", "secret ", "secre", "ops"}) EXPECT_EQ(table->find(wrong), nullptr) << wrong;
}

TEST(TokenTable, GivesEachTokenItsScopeAndReadWhereNoneIsNamed) {
  const auto scope = [](const std::string& rest) {
    const auto table = TokenTable::parse("ops " + std::string(k_secret) + rest + "\n", "tokens");
    EXPECT_TRUE(table.has_value()) << rest;
    return table ? table->find("secret")->scope : Scope::read;
  };
  EXPECT_EQ(scope(""), Scope::read);
  EXPECT_EQ(scope(" read"), Scope::read);
  EXPECT_EQ(scope("\tadmin"), Scope::admin);
  EXPECT_EQ(scope(" command"), Scope::command);
  EXPECT_EQ(scope(" command read"), Scope::command);
  EXPECT_EQ(scope(" read  admin "), Scope::admin);
  EXPECT_EQ(scope(" admin read\r"), Scope::admin);
}

TEST(TokenTable, RefusesAScopeThatDoesNotExistAndNamesTheLine) {
  for (const char* rest : {" write", " Admin", " read,admin", " admin root", " readadmin"}) {
    const auto table = TokenTable::parse("# tokens\nops " + std::string(k_secret) + rest, "tokens");
    ASSERT_FALSE(table.has_value()) << rest;
    EXPECT_TRUE(table.error().detail.starts_with("tokens:2: unknown scope")) << table.error().detail;
    EXPECT_NE(table.error().detail.find("read, command or admin"), std::string::npos) << table.error().detail;
  }
}

TEST(TokenTable, SaysWhichLineIsWrongAndHowToMakeOne) {
  const std::string good = "ops " + std::string(k_secret) + "\n";
  for (const std::string& line :
       {std::string("ops secret"), std::string("ops"), std::string("ops sha256:12"), "o/ps " + std::string(k_secret),
        "ops sha256:" + std::string(64, 'g'), "ops " + std::string(k_secret) + "00", "ops md5:" + std::string(64, '0'),
        "ops sha256:-" + std::string(63, '1')}) {
    const auto table = TokenTable::parse(good + line, "tokens");
    ASSERT_FALSE(table.has_value()) << line;
    EXPECT_NE(table.error().detail.find("tokens:2:"), std::string::npos) << table.error().detail;
    EXPECT_NE(table.error().detail.find("printf %s TOKEN | sha256sum"), std::string::npos);
    EXPECT_EQ(table.error().detail.find("secret"), std::string::npos) << "shows what may be a secret";
  }
}

TEST(TokenTable, IsRefusedWithoutAnyToken) {
  EXPECT_FALSE(TokenTable::parse("# nothing\n", "tokens").has_value());
  EXPECT_FALSE(TokenTable::load("").has_value());
  const auto missing = TokenTable::load("/nonexistent/tokens");
  ASSERT_FALSE(missing.has_value());
  EXPECT_NE(missing.error().detail.find("No such file"), std::string::npos) << missing.error().detail;
}

TEST(TokenTable, ReadsTheBearerSchemeOnly) {
  EXPECT_EQ(TokenTable::bearer("Bearer abc"), "abc");
  EXPECT_EQ(TokenTable::bearer("bEARER  abc "), "abc");
  for (const char* other : {"Basic abc", "Bearer", "abc", "", "Bearerabc"}) {
    EXPECT_EQ(TokenTable::bearer(other), "") << other;
  }
}

// A key that signs for the API, and what the API makes of its tokens.
struct JwtFixture {
  JwtFixture() {
    settings.jwt.audience = "fieldgate-api";
    settings.jwt.keys = {{"k", JwtAlgorithm::eddsa, folder.write("k.pem", pair.public_pem)}};
  }
  Result<TokenHolder> ask(const std::string& members) const {
    const auto access = Access::load(settings);
    EXPECT_TRUE(access.has_value()) << access.error().detail;
    return (*access)->identify(
        pair.sign(R"({"sub":"ci@example.org","aud":"fieldgate-api","exp":1000600)" + members + "}", "k"), k_now);
  }
  // The scope's name, or the refusal.
  std::string scope(const std::string& words) const {
    const auto holder = ask(words.empty() ? "" : ",\"scope\":\"" + words + "\"");
    return holder ? std::string(to_string(holder->scope)) : holder.error().detail;
  }
  static constexpr std::int64_t k_now = 1'000'000'000;

  test::TempDir folder;
  test::JwtKeyPair pair{JwtAlgorithm::eddsa};
  ApiSettings settings;
};

TEST(Access, TakesAJwtForItsSubject) {
  const JwtFixture f;
  const auto holder = f.ask(",\"scope\":\"command\"");
  ASSERT_TRUE(holder.has_value()) << holder.error().detail;
  EXPECT_EQ(holder->name, "ci@example.org");
  EXPECT_EQ(holder->scope, Scope::command);
  EXPECT_EQ(holder->expires_unix_ms, (1'000'600 + 60) * 1'000);
}

TEST(Access, TakesTheWidestOfAJwtsScopes) {
  const JwtFixture f;
  EXPECT_EQ(f.scope("read"), "read");
  EXPECT_EQ(f.scope("openid command read"), "command");
  EXPECT_EQ(f.scope("fieldgate:admin other:read"), "admin");
  EXPECT_EQ(f.scope(" fieldgate:read  email "), "read");
  const std::string none = "jwt: of 'ci@example.org': its scope names none of read, command and admin";
  for (const char* words :
       {"", "openid", "Admin", "admin,read", "fieldgate:", "fieldgate:fieldgate:admin", "other:admin"}) {
    EXPECT_EQ(f.scope(words), none) << words;
  }
}

TEST(Access, RefusesAJwtThatIsNotMeantForIt) {
  const JwtFixture f;
  const auto access = Access::load(f.settings);
  const auto refused = (*access)->identify(
      f.pair.sign(R"({"sub":"a","aud":"somebody-else","exp":1000600,"scope":"admin"})", "k"), JwtFixture::k_now);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, make_error_code(Errc::unauthenticated));
  EXPECT_EQ(refused.error().detail, "jwt: of 'a': aud does not name 'fieldgate-api'");
  for (const char* other : {"", "secret", "a.b.c", "a.b"}) {
    EXPECT_FALSE((*access)->identify(other, JwtFixture::k_now).has_value()) << other;
  }
}

TEST(Access, TakesBothKindsOfTokenSideBySide) {
  JwtFixture f;
  f.settings.token_file = f.folder.write("tokens", "ops " + std::string(k_secret) + " admin\n");
  const auto access = Access::load(f.settings);
  ASSERT_TRUE(access.has_value()) << access.error().detail;
  EXPECT_EQ((*access)->identify("secret", JwtFixture::k_now)->name, "ops");
  EXPECT_EQ((*access)->identify("secret", JwtFixture::k_now)->expires_unix_ms, 0);
  EXPECT_EQ(f.scope("read"), "read");

  // Without keys, a JWT is a token like any other that nobody knows.
  f.settings.jwt = {};
  const auto without = Access::load(f.settings);
  EXPECT_EQ((*without)->identify("a.b.c", JwtFixture::k_now).error().detail, "token: not known");
}

TEST(Access, IsRefusedWhereNobodyCouldHaveAny) {
  EXPECT_NE(Access::load({}).error().detail.find("api.token_file"), std::string::npos);
  JwtFixture f;
  f.settings.jwt.keys[0].file = f.folder.file("gone.pem");
  EXPECT_EQ(Access::load(f.settings).error().detail.substr(0, 9), "api.jwt: ");
  f.settings.jwt = {};
  f.settings.token_file = f.folder.file("gone");
  EXPECT_NE(Access::load(f.settings).error().detail.find("No such file"), std::string::npos);
}

TEST(CursorSeal, OpensWhatItSealed) {
  const CursorSeal seal;
  const CursorPosition position{1'700'000'000'000, "sensor-1"};
  const auto back = seal.open(seal.seal(position, 5), 5);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(*back, position);
}

TEST(CursorSeal, RefusesWhatWasChangedAnywhere) {
  const CursorSeal seal;
  const std::string text = seal.seal({1'700'000'000'000, "sensor-1"}, 5);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(seal.open(changed, 5).has_value()) << i;
    EXPECT_FALSE(seal.open(text.substr(0, i), 5).has_value()) << i;
  }
  EXPECT_FALSE(seal.open(text + "A", 5).has_value());
}

TEST(CursorSeal, RefusesAnotherQuerysAndAnotherProcesss) {
  const CursorSeal seal;
  const std::string text = seal.seal({1, "sensor-1"}, 5);
  EXPECT_EQ(seal.open(text, 6).error().code, Errc::forbidden);
  EXPECT_FALSE(CursorSeal().open(text, 5).has_value());
}

DeviceSummary summary(std::string_view id, std::uint64_t epoch) {
  DeviceSummary d{*DeviceId::parse(id)};
  d.epoch = {epoch};
  return d;
}

TEST(FleetInbox, AsksToBeEmptiedOnceUntilItIs) {
  FleetInbox inbox;
  EXPECT_TRUE(inbox.put(std::vector<DeviceSummary>{summary("a", 1)}));
  EXPECT_FALSE(inbox.put(std::vector<DeviceSummary>{summary("b", 1)}));
  EXPECT_FALSE(inbox.put(std::vector<SeenUpdate>{{*DeviceId::parse("a"), {1}, 5, 5}}));
  const auto content = inbox.take();
  EXPECT_EQ(content.changed.size(), 2U);
  EXPECT_EQ(content.seen.size(), 1U);
  EXPECT_TRUE(inbox.put(std::vector<SeenUpdate>{{*DeviceId::parse("a"), {1}, 6, 6}}));
}

TEST(FleetInbox, KeepsTheLastWordOnEachDeviceWhenItFillsUp) {
  FleetInbox inbox(100, 100);
  for (std::uint64_t epoch = 1; epoch <= 1'000; ++epoch) {
    inbox.put(std::vector<DeviceSummary>{summary("a", epoch), summary("b", epoch + 1)});
    inbox.put(std::vector<SeenUpdate>{{*DeviceId::parse("a"), {epoch}, 1, 1}});
  }
  const auto content = inbox.take();
  EXPECT_LE(content.changed.size(), 104U);
  EXPECT_LE(content.seen.size(), 100U);
  std::uint64_t last_a = 0;
  std::uint64_t last_b = 0;
  for (const auto& d : content.changed) (d.id.str() == "a" ? last_a : last_b) = d.epoch.value;
  EXPECT_EQ(last_a, 1'000U);
  EXPECT_EQ(last_b, 1'001U);
}

}  // namespace
}  // namespace fieldgate::http
