// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/command_line.h"

#include "gateway/config/print.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <optional>
#include <sstream>

namespace fieldgate {
namespace {

constexpr std::string_view k_sound =
    "devices: {listen: '127.0.0.1:1', tls: {enabled: false}}\n"
    "api: {enabled: false}\n"
    "mqtt: [{password: hush}]\n";

struct Ended {
  int status = -1;
  std::string out;
  std::string err;
};

struct Fixture {
  test::TempDir folder;
  std::string tokens = folder.write("tokens", "");
  std::string sound = folder.write("sound.yaml", std::string(k_sound) + "tokens: {file: " + tokens + "}\n");
  config::Environment environment;
  // What serve was called with.
  std::optional<Settings> served;
  std::string served_path;
  std::function<Result<Settings>()> reload;

  Ended run(const std::vector<std::string>& arguments) {
    std::ostringstream out;
    std::ostringstream err;
    const int status = run_command_line(arguments, {out, err, environment},
                                        [this](Settings settings, const std::string& path, auto again) {
                                          served = std::move(settings);
                                          served_path = path;
                                          reload = std::move(again);
                                          return 42;
                                        });
    return {status, out.str(), err.str()};
  }
};

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

TEST(CommandLine, ServesWithTheSettingsOfTheFile) {
  Fixture f;
  const Ended run = f.run({"serve", "--config", f.sound});
  EXPECT_EQ(run.status, 42);
  EXPECT_EQ(run.out + run.err, "");
  ASSERT_TRUE(f.served.has_value());
  EXPECT_EQ(f.served->mqtt[0].password.value, "hush");
  EXPECT_EQ(f.served_path, f.sound);
}

TEST(CommandLine, TakesTheFileFromTheEnvironment) {
  Fixture f;
  f.environment = {{"FIELDGATE_CONFIG", f.sound}, {"FIELDGATE_LOG_LEVEL", "debug"}};
  EXPECT_EQ(f.run({"serve"}).status, 42);
  EXPECT_EQ(f.served->log.level, LogLevel::debug);
}

TEST(CommandLine, DoesNotServeABrokenConfiguration) {
  Fixture f;
  const std::string broken = f.folder.write("broken.yaml", "log: {level: loud}\n");
  const Ended run = f.run({"serve", "--config", broken});
  EXPECT_EQ(run.status, k_exit_config);
  EXPECT_FALSE(f.served.has_value());
  EXPECT_TRUE(contains(run.err, broken + ":1:14: log.level must be one of")) << run.err;
}

TEST(CommandLine, ServesInSpiteOfWarningsAndTellsThem) {
  Fixture f;
  const Ended run = f.run({"serve", "-c",
                           f.folder.write("a.yaml",
                                          "devices: {listen: '127.0.0.1:1', tls: {enabled: false}}\n"
                                          "api: {enabled: false}\ntokens: {file: t}\n")});
  EXPECT_EQ(run.status, 42);
  EXPECT_TRUE(contains(run.err, "warning: mqtt has no lane")) << run.err;
}

TEST(CommandLine, ReloadReadsTheFileAgain) {
  Fixture f;
  ASSERT_EQ(f.run({"serve", "--config", f.sound}).status, 42);
  f.folder.write("sound.yaml", std::string(k_sound) + "tokens: {file: t}\nlog: {level: debug}\n");
  const auto changed = f.reload();
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->log.level, LogLevel::debug);

  f.folder.write("sound.yaml", "log: {level: loud, format: xml}\n");
  const auto broken = f.reload();
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, make_error_code(Errc::invalid_argument));
  EXPECT_TRUE(contains(broken.error().detail, "more: fieldgate check-config lists them)")) << broken.error().detail;
  EXPECT_TRUE(contains(broken.error().detail, f.sound + ":1:")) << broken.error().detail;
}

TEST(CommandLine, CheckConfigListsEveryProblemAndFails) {
  Fixture f;
  const std::string file = f.folder.write("bad.yaml",
                                          "devices:\n  listn: 1\nlog:\n  level: loud\nlimits:\n  labels_max: 1000\n"
                                          "session:\n  heartbeat: 7\nadmin:\n  listen: here\n");
  const Ended run = f.run({"check-config", "--config", file});
  EXPECT_EQ(run.status, k_exit_check_failed);
  EXPECT_EQ(run.err, "");
  for (const char* part : {":2:3: unknown key \"listn\" in devices; did you mean listen?", ":4:10: log.level",
                           ":6:15: limits.labels_max must be a whole number, 0 to 256", ":8:14: session.heartbeat",
                           ":10:11: admin.listen"}) {
    EXPECT_TRUE(contains(run.out, file + part)) << part << "\n" << run.out;
  }
}

TEST(CommandLine, CheckConfigLooksForTheFilesThatAreNamed) {
  Fixture f;
  EXPECT_EQ(f.run({"check-config", "--config", f.sound}).out, f.sound + ": OK\n");
  EXPECT_EQ(f.run({"check-config", "--config", f.sound}).status, k_exit_ok);
  const std::string file = f.folder.write("nofile.yaml", std::string(k_sound) + "tokens:\n  file: /nowhere/t\n");
  const Ended run = f.run({"check-config", "--config", file});
  EXPECT_EQ(run.status, k_exit_check_failed);
  EXPECT_EQ(run.out, file + ":5:9: tokens.file cannot be read: /nowhere/t: No such file or directory\n");
}

TEST(CommandLine, PrintConfigShowsWhatTakesEffectWithoutSecrets) {
  Fixture f;
  f.environment = {{"FIELDGATE_LOG_LEVEL", "error"}};
  const Ended run = f.run({"print-config", "--config", f.sound});
  EXPECT_EQ(run.status, k_exit_ok);
  EXPECT_TRUE(contains(run.out, "  level: error\n"));
  EXPECT_TRUE(contains(run.out, "    password: \"***\"\n"));
  EXPECT_FALSE(contains(run.out, "hush"));
}

TEST(CommandLine, PrintsSchemaSampleReferenceAndVersion) {
  Fixture f;
  EXPECT_EQ(f.run({"config-schema"}).out, config::json_schema());
  EXPECT_EQ(f.run({"config-sample"}).out, config::sample_yaml());
  EXPECT_EQ(f.run({"config-reference"}).out, config::reference_markdown());
  EXPECT_EQ(f.run({"version"}).out, "fieldgate " FIELDGATE_VERSION "\n");
}

TEST(CommandLine, HelpNamesEveryCommand) {
  Fixture f;
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"help"}, {"--help"}}) {
    const Ended run = f.run(arguments);
    EXPECT_EQ(run.status, k_exit_ok);
    for (const char* command : {"serve", "check-config", "print-config", "config-schema", "token", "version", "help"}) {
      EXPECT_TRUE(contains(run.out, command)) << command;
    }
  }
  EXPECT_TRUE(contains(f.run({"serve", "--help"}).out, "--config"));
}

TEST(CommandLine, SaysWhatIsWrongWithIt) {
  Fixture f;
  EXPECT_TRUE(contains(f.run({"serv"}).err, "unknown command \"serv\"; did you mean serve?"));
  EXPECT_TRUE(contains(f.run({"device", "lsit"}).err, "unknown command \"device lsit\"; did you mean device list?"));
  EXPECT_TRUE(contains(f.run({"device", "--api", "http://127.0.0.1:1", "--json", "craete", "pump-7"}).err,
                       "unknown command \"device craete\"; did you mean device create?"));
  EXPECT_TRUE(contains(f.run({"device", "credential", "ad", "pump-7"}).err, "did you mean device credential add?"));
  EXPECT_TRUE(contains(f.run({"token", "nwe", "ops"}).err, "did you mean token new?"));
  EXPECT_EQ(f.run({"token", "nwe"}).status, k_exit_usage);
  EXPECT_TRUE(contains(f.run({"serve"}).err, "give --config FILE or set FIELDGATE_CONFIG"));
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {}, {"serv"}, {"serve"}, {"serve", "--config"}, {"serve", "--konfig", "x"}, {"version", "extra"}}) {
    const Ended run = f.run(arguments);
    EXPECT_EQ(run.status, k_exit_usage) << testing::PrintToString(arguments);
    EXPECT_TRUE(run.err.starts_with("fieldgate: ")) << run.err;
    EXPECT_EQ(run.out, "");
  }
  EXPECT_FALSE(f.served.has_value());
}

TEST(CommandLine, TellsAFileThatCannotBeReadFromOneThatIsWrong) {
  Fixture f;
  for (const char* command : {"serve", "check-config", "print-config"}) {
    const Ended run = f.run({command, "--config", "/nowhere/f.yaml"});
    EXPECT_EQ(run.status, k_exit_no_input);
    EXPECT_EQ(run.err, "fieldgate: /nowhere/f.yaml: No such file or directory\n");
  }
}

}  // namespace
}  // namespace fieldgate
