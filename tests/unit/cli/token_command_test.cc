// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/token_table.h"
#include "adapters/identity/sha256.h"
#include "adapters/identity/token_table.h"
#include "adapters/jwt/verifier.h"
#include "gateway/cli/command_line.h"
#include "tests/support/jwt_keys.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

namespace fieldgate {
namespace {

struct Ended {
  int status = -1;
  std::string out;
  std::string err;
  // What stands behind `name: ` in the output.
  std::string field(const std::string& name) const {
    const std::size_t at = out.find(name + ": ");
    if (at == std::string::npos) return "";
    const std::size_t begin = at + name.size() + 2;
    return out.substr(begin, out.find('\n', begin) - begin);
  }
};

Ended run(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  arguments.insert(arguments.begin(), "token");
  const int status = run_command_line(
      arguments, {out, err, {}}, [](Settings, const std::string&, std::function<Result<Settings>()>) { return 42; });
  return {status, out.str(), err.str()};
}

std::string content(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
unsigned mode(const std::string& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
}
std::size_t files_in(const test::TempDir& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator{}));
}
bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

TEST(TokenNew, MakesATokenThatItsLineLetsIn) {
  for (const std::string scope : {"read", "command", "admin"}) {
    const Ended made = run({"new", "ops", "--scope", scope});
    EXPECT_EQ(made.status, k_exit_ok) << made.err;
    EXPECT_EQ(made.field("token").size(), 43U);
    const auto table = http::TokenTable::parse(made.field("line"), "line");
    ASSERT_TRUE(table) << made.out;
    const auto* holder = table->find(made.field("token"));
    ASSERT_NE(holder, nullptr);
    EXPECT_EQ(holder->name, "ops");
    EXPECT_EQ(to_string(holder->scope), scope);
  }
  EXPECT_TRUE(run({"new", "ops"}).out.ends_with(" read\n"));
}

TEST(TokenNew, NeverMakesTheSameTwice) {
  EXPECT_NE(run({"new", "ops"}).field("token"), run({"new", "ops"}).field("token"));
}

TEST(TokenNew, AppendsItsLineToAFileThatOnlyItsOwnerMayRead) {
  const test::TempDir folder;
  const std::string file = folder.file("api-tokens");
  const Ended first = run({"new", "ops", "--scope", "admin", "--append", file});
  EXPECT_EQ(first.status, k_exit_ok) << first.err;
  EXPECT_EQ(content(file), first.field("line") + "\n");
  EXPECT_EQ(mode(file), 0600U);
  EXPECT_TRUE(contains(first.err, "SIGHUP")) << first.err;
  const Ended second = run({"new", "ci", "--append", file});
  EXPECT_EQ(content(file), first.field("line") + "\n" + second.field("line") + "\n");
  EXPECT_EQ(files_in(folder), 1U) << "nothing is left beside it";
}

TEST(TokenNew, KeepsWhatIsInTheFileAndItsMode) {
  const test::TempDir folder;
  const std::string before = "# people\nops sha256:" + std::string(64, 'a');  // without an end of line
  const std::string file = folder.write("api-tokens", before);
  ASSERT_EQ(::chmod(file.c_str(), 0640), 0);
  const std::string link = folder.file("link");
  ASSERT_EQ(::symlink(file.c_str(), link.c_str()), 0);
  const Ended made = run({"new", "ci", "--append", link});
  EXPECT_EQ(made.status, k_exit_ok) << made.err;
  EXPECT_EQ(content(file), before + "\n" + made.field("line") + "\n");
  EXPECT_EQ(mode(file), 0640U);
  EXPECT_TRUE(std::filesystem::is_symlink(link));
}

TEST(TokenNew, LeavesAFileAloneThatIsNoTokenFile) {
  const test::TempDir folder;
  const std::string text = "api:\n  listen: 127.0.0.1:8080\n";
  const std::string file = folder.write("config.yaml", text);
  const Ended refused = run({"new", "ops", "--append", file});
  EXPECT_EQ(refused.status, k_exit_cannot_write);
  EXPECT_TRUE(contains(refused.err, file + ":1:")) << refused.err;
  EXPECT_EQ(refused.out, "") << "no token is shown that is nowhere";
  EXPECT_EQ(content(file), text);
  EXPECT_EQ(files_in(folder), 1U);
}

TEST(TokenNew, SaysWhyAFileCannotBeWritten) {
  const test::TempDir folder;
  const Ended nowhere = run({"new", "ops", "--append", folder.file("none/tokens")});
  EXPECT_EQ(nowhere.status, k_exit_cannot_write);
  EXPECT_TRUE(contains(nowhere.err, "its folder cannot be opened: No such file or directory")) << nowhere.err;
  const Ended directory = run({"new", "ops", "--append", folder.path().string()});
  EXPECT_EQ(directory.status, k_exit_cannot_write);
  EXPECT_TRUE(contains(directory.err, "is no file")) << directory.err;
  EXPECT_EQ(nowhere.out + directory.out, "");
}

TEST(TokenNew, LosesNoLineOfThoseWhoAppendAtOnce) {
  const test::TempDir folder;
  const std::string file = folder.file("api-tokens");
  std::vector<std::thread> all;
  for (int i = 0; i < 4; ++i) {
    all.emplace_back([&] {
      for (int j = 0; j < 10; ++j) EXPECT_EQ(run({"new", "ops", "--append", file}).status, k_exit_ok);
    });
  }
  for (std::thread& one : all) one.join();
  const std::string text = content(file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 40);
}

TEST(TokenDevice, MakesATokenThatItsLineLetsIn) {
  const test::TempDir folder;
  const std::string file = folder.file("tokens");
  const Ended made = run({"device", "pump-1", "--append", file});
  EXPECT_EQ(made.status, k_exit_ok) << made.err;
  const auto table = TokenTable::read(file);
  ASSERT_TRUE(table) << table.error().detail;
  const DeviceId* device = table->find(sha256_of(made.field("token")));
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->str(), "pump-1");
  EXPECT_EQ(run({"device", "pump-1", "--append", file}).status, k_exit_ok) << "so that one can be replaced";
  EXPECT_EQ(TokenTable::read(file)->size(), 2U);
  folder.write("tokens", "junk\n");
  EXPECT_EQ(run({"device", "pump-1", "--append", file}).status, k_exit_cannot_write);
  EXPECT_EQ(content(file), "junk\n");
}

TEST(TokenJwt, SignsWhatAVerifierTakes) {
  for (const auto& [algorithm, name] :
       {std::pair(JwtAlgorithm::rs256, "RS256"), std::pair(JwtAlgorithm::es256, "ES256"),
        std::pair(JwtAlgorithm::eddsa, "EdDSA")}) {
    const test::TempDir folder;
    const test::JwtKeyPair pair(algorithm);
    const Ended made = run({"jwt", "--key", folder.write("key.pem", pair.private_pem), "--algorithm", name, "--subject",
                            "pump-1", "--audience", "fieldgate", "--issuer", "me", "--expires-in", "30m", "--scope",
                            "read command", "--kid", "k"});
    ASSERT_EQ(made.status, k_exit_ok) << made.err;
    EXPECT_TRUE(contains(made.err, "for development")) << made.err;

    JwtSettings settings;
    settings.audience = "fieldgate";
    settings.issuer = "me";
    settings.keys = {{"k", algorithm, folder.write("public.pem", pair.public_pem)}};
    const auto verifier = jwt::Verifier::load(settings, "test");
    const auto now =
        std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    const auto claims = (*verifier)->verify(made.out.substr(0, made.out.size() - 1), now);
    ASSERT_TRUE(claims) << claims.error().detail;
    EXPECT_EQ(claims->subject, "pump-1");
    EXPECT_EQ(claims->scope, "read command");
    EXPECT_NEAR(static_cast<double>(claims->expires_unix_ms - now), (1'800 + 60) * 1'000.0, 60'000);
  }
}

TEST(TokenJwt, SaysWhatIsWrongWithTheKey) {
  const test::TempDir folder;
  const test::JwtKeyPair pair(JwtAlgorithm::es256);
  const auto with = [&](const std::string& key, const std::string& algorithm) {
    const Ended ended = run({"jwt", "--key", key, "--algorithm", algorithm, "--subject", "s", "--audience", "a"});
    EXPECT_EQ(ended.out, "");
    return std::to_string(ended.status) + " " + ended.err;
  };
  const std::string good = folder.write("key.pem", pair.private_pem);
  EXPECT_TRUE(with(folder.file("gone"), "ES256").ends_with("gone: cannot be read: No such file or directory\n"));
  EXPECT_TRUE(contains(with(folder.write("public.pem", pair.public_pem), "ES256"), "holds no PEM private key"));
  EXPECT_EQ(with(good, "RS256"), "66 fieldgate: " + good + ": RS256 needs an RSA key\n");
  EXPECT_EQ(with(good, "HS256"), "64 fieldgate: --algorithm must be RS256, ES256 or EdDSA, and not \"HS256\"\n");
}

TEST(Token, SaysWhatIsWrongWithTheCommandLine) {
  const auto wrong = [](std::vector<std::string> arguments, std::string_view what) {
    const Ended ended = run(arguments);
    EXPECT_EQ(ended.status, k_exit_usage) << testing::PrintToString(arguments);
    EXPECT_EQ(ended.out, "");
    EXPECT_TRUE(contains(ended.err, what)) << ended.err;
  };
  wrong({}, "subcommand");
  wrong({"nwe", "ops"}, "fieldgate: ");
  wrong({"new"}, "NAME");
  wrong({"new", "o/ps"}, "the name \"o/ps\" must be 1 to 128 of");
  wrong({"new", "ops", "--scope", "root"}, "--scope must be read, command or admin, and not \"root\"");
  wrong({"device", "a b"}, "the device \"a b\": a device id is 1 to 128 of");
  wrong({"jwt", "--key", "k"}, "--subject");
  wrong({"jwt", "--key", "k", "--subject", "s", "--audience", "a", "--expires-in", "soon"}, "--expires-in ");
}

TEST(Token, ExplainsItself) {
  EXPECT_TRUE(contains(run({"--help"}).out, "for development"));
  EXPECT_TRUE(contains(run({"new", "--help"}).out, "--append"));
}

}  // namespace
}  // namespace fieldgate
