// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/command_line.h"
#include "gateway/cli/device_client.h"
#include "gateway/cli/device_table.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <deque>
#include <sstream>

namespace fieldgate {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// What was asked, and what is answered to it, in order.
struct Wire {
  std::vector<ApiAddress> addresses;
  std::vector<ApiRequest> requests;
  std::string sent;  // by request.read
  std::deque<Result<ApiAnswer>> answers;

  void answer(int status, std::string body, std::string retry_after = {}) {
    answers.push_back(ApiAnswer{status, "application/json", std::move(body), std::move(retry_after)});
  }
};

// Gives answers in pieces of three bytes where they are taken piece by piece.
class FakeTransport final : public ApiTransport {
 public:
  explicit FakeTransport(Wire& wire) : wire_(wire) {}
  Result<ApiAnswer> exchange(const ApiRequest& request) override {
    wire_.requests.push_back(request);
    if (request.read) {
      std::array<char, 5> piece{};
      while (true) {
        const auto got = request.read(piece.data(), piece.size());
        if (!got) return got.error();
        if (*got == 0) break;
        wire_.sent.append(piece.data(), *got);
      }
    }
    if (wire_.answers.empty()) return make_error(Errc::unavailable, "nobody is there");
    auto answer = std::move(wire_.answers.front());
    wire_.answers.pop_front();
    if (!answer || !request.write || answer->status >= 300) return answer;
    for (std::size_t at = 0; at < answer->body.size(); at += 3) {
      if (auto taken = request.write(std::string_view(answer->body).substr(at, 3)); !taken) return taken.error();
    }
    answer->body.clear();
    return answer;
  }

 private:
  Wire& wire_;
};

struct Fixture {
  test::TempDir folder;
  Wire wire;
  config::Environment environment;
  bool terminal = false;
  std::string out;
  std::string err;

  int run(std::vector<std::string> arguments) {
    std::ostringstream out_stream;
    std::ostringstream err_stream;
    arguments.insert(arguments.begin(), "device");
    const CommandLineContext context{out_stream, err_stream, environment, terminal, [this](const ApiAddress& address) {
                                       wire.addresses.push_back(address);
                                       return std::make_unique<FakeTransport>(wire);
                                     }};
    const int status = run_command_line(
        arguments, context, [](Settings, const std::string&, std::function<Result<Settings>()>) { return 42; });
    out = out_stream.str();
    err = err_stream.str();
    return status;
  }
  const ApiRequest& last() const { return wire.requests.back(); }
};

TEST(Device, TakesAddressAndTokenFromOptionsBeforeTheEnvironment) {
  Fixture f;
  f.environment = {{"FIELDGATE_API", "https://gw:1/"}, {"FIELDGATE_API_TOKEN", "from-environment"}};
  f.run({"get", "a"});
  EXPECT_EQ(f.wire.addresses.back().url, "https://gw:1");
  EXPECT_EQ(f.wire.addresses.back().token, "from-environment");
  f.run(
      {"--api", "http://h:2/api/v1", "get", "a", "--token-file", f.folder.write("t", "from-file\n"), "--ca", "ca.pem"});
  EXPECT_EQ(f.wire.addresses.back().url, "http://h:2");
  EXPECT_EQ(f.wire.addresses.back().token, "from-file");
  EXPECT_EQ(f.wire.addresses.back().ca_file, "ca.pem");
  f.environment.clear();
  f.run({"get", "a"});
  EXPECT_EQ(f.wire.addresses.back().url, "http://127.0.0.1:8080");
  EXPECT_EQ(f.wire.addresses.back().token, "");
}

TEST(Device, AsksNobodyWhereTheCommandLineIsWrong) {
  Fixture f;
  const auto wrong = [&](const std::vector<std::string>& arguments, int status, std::string_view what) {
    EXPECT_EQ(f.run(arguments), status) << testing::PrintToString(arguments) << f.err;
    EXPECT_TRUE(contains(f.err, what)) << f.err;
    EXPECT_EQ(f.out, "");
  };
  wrong({}, k_exit_usage, "subcommand");
  wrong({"lst"}, k_exit_usage, "did you mean device list?");
  wrong({"get"}, k_exit_usage, "DEVICE");
  wrong({"get", "a", "b"}, k_exit_usage, "b");
  wrong({"get", "../nodes"}, k_exit_usage, "a device id is 1 to 128 of");
  wrong({"list", "--where", "online"}, k_exit_usage, "--where must be NAME=VALUE");
  wrong({"list", "--limit", "0"}, k_exit_usage, "--limit");
  wrong({"create", "a", "--label", "site-"}, k_exit_usage, "--label must be KEY=VALUE, and not \"site-\"");
  wrong({"update", "a", "--label", "=x"}, k_exit_usage, "or KEY- to remove it");
  wrong({"update", "a"}, k_exit_usage, "nothing to change");
  wrong({"command", "a", "set", "on"}, k_exit_usage, "a text needs quotes of its own");
  wrong({"command", "a", "set", "--wait", "soon"}, k_exit_usage, "--wait must be");
  wrong({"command", "a", "set", "1", "--payload-file", "x"}, k_exit_usage, "not both");
  wrong({"get", "a", "--token", "secret"}, k_exit_usage, "token");
  wrong({"get", "a", "--token-file", "/nowhere/t"}, k_exit_no_input, "/nowhere/t: cannot be read: No such file");
  wrong({"get", "a", "--token-file", f.folder.write("tokens", "me sha256:00 admin\n")}, k_exit_usage,
        "must be one word");
  wrong({"import", "/nowhere/f"}, k_exit_no_input, "/nowhere/f: cannot be read: No such file");
  wrong({"credential", "add", "a", "--certificate", "/nowhere/c"}, k_exit_no_input, "/nowhere/c: cannot be read");
  for (const char* url : {"gw:8080", "ftp://gw", "http://", "http://me:pw@gw", "http://gw/else", "http://gw?x"}) {
    wrong({"get", "a", "--api", url}, k_exit_usage, "--api must be http://HOST:PORT or https://HOST:PORT");
  }
  EXPECT_TRUE(f.wire.requests.empty());
}

TEST(Device, ListsAllPagesAsOneTable) {
  Fixture f;
  f.wire.answer(200,
                R"({"devices":[{"id":"a","online":true,"inactive":false,"last_seen":"T1","firmware":"1.0","node":"gw",
                         "labels":{"site":"b","x":"y"},"reason":null}],"next_cursor":"c+1"})");
  f.wire.answer(200, R"({"devices":[{"id":"long","online":false,"enabled":true,"labels":{},"reason":"kicked"},
                         {"id":"off","online":false,"enabled":false,"labels":{}}],"next_cursor":null})");
  EXPECT_EQ(f.run({"list", "--where", "text=ü b", "--label", "site=b", "--label", "!x", "--sort", "-last_seen"}),
            k_exit_ok)
      << f.err;
  EXPECT_EQ(f.out,
            "ID  STATE   LAST SEEN  FIRMWARE  NODE  REASON  LABELS\n"
            "a   online  T1         1.0       gw    -       site=b,x=y\n"
            "long  offline   -          -         -     kicked  -\n"
            "off   disabled  -          -         -     -       -\n");
  EXPECT_EQ(f.wire.requests[0].target,
            "/api/v1/devices?text=%C3%BC%20b&label=site%3Db&label=%21x&sort=-last_seen&limit=500");
  EXPECT_TRUE(f.wire.requests[1].target.ends_with("&limit=500&cursor=c%2B1"));
}

TEST(Device, ListsNoMoreThanTheLimit) {
  Fixture f;
  f.wire.answer(200, R"({"devices":[{"id":"a"},{"id":"b"}],"next_cursor":"c"})");
  EXPECT_EQ(f.run({"list", "--limit", "2", "--json"}), k_exit_ok);
  EXPECT_EQ(f.out, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
  EXPECT_EQ(f.wire.requests.size(), 1U);
}

TEST(Device, EndsAListWhoseCursorDoesNotMove) {
  Fixture f;
  for (int i = 0; i < 3; ++i) f.wire.answer(200, R"({"devices":[],"next_cursor":"same"})");
  EXPECT_EQ(f.run({"list"}), k_exit_unavailable);
  EXPECT_EQ(f.wire.requests.size(), 2U);
}

TEST(Device, ShowsWhatDevicesSayWithoutObeyingIt) {
  Fixture f;
  f.wire.answer(200, R"({"id":"a","online":true,"firmware":"\u001b[2J1\u009b","labels":{"k":"v\n"},"registry":null,
                         "last_values":[{"name":"t","value":21.5,"time":"T","quality":"good"}]})");
  EXPECT_EQ(f.run({"get", "a"}), k_exit_ok);
  EXPECT_TRUE(contains(f.out, "firmware:    \\x1b[2J1\\x9b\nlabels:      k=v\\x0a\nregistered:  no\n")) << f.out;
  EXPECT_TRUE(contains(f.out, "METRIC  VALUE  TIME  QUALITY\nt       21.5   T     good\n")) << f.out;
}

TEST(Device, CreatesOnlyWhatIsNotThere) {
  Fixture f;
  f.wire.answer(201, R"({"id":"a","enabled":false,"labels":{"site":"x=y"},"note":"n","revision":1})");
  EXPECT_EQ(f.run({"create", "a", "--label", "site=x=y", "--note", "n", "--disabled"}), k_exit_ok) << f.err;
  EXPECT_EQ(f.last().method + " " + f.last().target, "PUT /api/v1/devices/a");
  EXPECT_EQ(f.last().if_none_match, "*");
  EXPECT_EQ(f.last().body, R"({"enabled":false,"labels":{"site":"x=y"},"note":"n"})");
  EXPECT_EQ(f.out, "id:          a\nenabled:     no\nlabels:      site=x=y\nnote:        n\nrevision:    1\n");
}

TEST(Device, UpdatesWhatIsNamedAndNothingElse) {
  Fixture f;
  f.wire.answer(200, R"({"id":"a"})");
  EXPECT_EQ(f.run({"update", "a", "--label", "k=v", "--label", "old-", "--revision", "7"}), k_exit_ok) << f.err;
  EXPECT_EQ(f.last().method + " " + f.last().content_type, "PATCH application/merge-patch+json");
  EXPECT_EQ(f.last().if_match, "\"r7\"");
  EXPECT_EQ(f.last().body, R"({"labels":{"k":"v","old":null}})");
  f.wire.answer(200, "{}");
  EXPECT_EQ(f.run({"update", "a", "--note", ""}), k_exit_ok);
  EXPECT_EQ(f.last().body, R"({"note":""})");
  f.wire.answer(200, "{}");
  EXPECT_EQ(f.run({"disable", "a"}), k_exit_ok);
  EXPECT_EQ(f.last().body, R"({"enabled":false})");
  f.wire.answer(200, "{}");
  EXPECT_EQ(f.run({"enable", "a"}), k_exit_ok);
  EXPECT_EQ(f.last().body, R"({"enabled":true})");
}

TEST(Device, DeletesAndKicks) {
  Fixture f;
  f.wire.answer(204, "");
  EXPECT_EQ(f.run({"delete", "a"}), k_exit_ok);
  EXPECT_EQ(f.last().method + " " + f.last().target, "DELETE /api/v1/devices/a");
  f.wire.answer(204, "");
  EXPECT_EQ(f.run({"kick", "a"}), k_exit_ok);
  EXPECT_EQ(f.last().method + " " + f.last().target, "DELETE /api/v1/devices/a/session");
}

TEST(Device, TellsWhyItWasRefused) {
  Fixture f;
  f.wire.answer(400, R"({"title":"The body is wrong","detail":"/a: first","errors":[{"pointer":"/a","detail":"first"},
                         {"pointer":"/b/c","detail":"second\u001b"}]})");
  EXPECT_EQ(f.run({"update", "a", "--note", "x"}), k_exit_refused);
  EXPECT_EQ(f.err, "fieldgate: The body is wrong\n  /a: first\n  /b/c: second\\x1b\n");
  f.wire.answer(400, R"({"title":"T","detail":"D","parameter":"sort"})");
  EXPECT_EQ(f.run({"list"}), k_exit_refused);
  EXPECT_EQ(f.err, "fieldgate: T: D (parameter sort)\n");
}

TEST(Device, EndsWithWhatTheAnswerMeans) {
  Fixture f;
  const auto status_of = [&](int status, const std::string& body = R"({"title":"T"})") {
    f.wire.answer(status, body, status == 503 ? "5" : "");
    return f.run({"get", "a"});
  };
  EXPECT_EQ(status_of(404), k_exit_refused);
  EXPECT_EQ(status_of(501), k_exit_refused);
  EXPECT_EQ(status_of(401), k_exit_not_allowed);
  EXPECT_TRUE(contains(f.err, "--token-file FILE or FIELDGATE_API_TOKEN")) << f.err;
  EXPECT_EQ(status_of(403), k_exit_not_allowed);
  EXPECT_EQ(status_of(503), k_exit_unavailable);
  EXPECT_TRUE(contains(f.err, "try again in 5 s")) << f.err;
  EXPECT_EQ(status_of(302, ""), k_exit_unavailable);
  EXPECT_TRUE(contains(f.err, "redirects are not followed")) << f.err;
  EXPECT_EQ(status_of(404, "<html>"), k_exit_unavailable);
  EXPECT_EQ(status_of(200, "<html>"), k_exit_unavailable);
  EXPECT_EQ(f.run({"get", "a"}), k_exit_unavailable);
  EXPECT_EQ(f.err, "fieldgate: nobody is there\n");
}

TEST(Device, ImportsAStreamAndNamesEachLineThatIsWrong) {
  Fixture f;
  const std::string lines = "{\"id\":\"a\"}\nx\n{\"id\":\"c\"}\n";
  f.wire.answer(200,
                "{\"line\":1,\"id\":\"a\",\"outcome\":\"created\"}\n{\"line\":2,\"id\":\"b\",\"outcome\":\"error\","
                "\"error\":\"no "
                "JSON\"}\n{\"done\":true,\"lines\":3,\"created\":1,\"updated\":0,\"unchanged\":1,\"errors\":1}\n");
  EXPECT_EQ(f.run({"import", f.folder.write("f", lines)}), k_exit_refused);
  EXPECT_EQ(f.wire.sent, lines);
  EXPECT_EQ(f.last().content_type, "application/x-ndjson");
  EXPECT_EQ(f.out, "3 lines: 1 created, 0 updated, 1 unchanged, 1 errors\n");
  EXPECT_TRUE(f.err.starts_with("line 2 (b): no JSON\nfieldgate: 1 line was not taken")) << f.err;
  EXPECT_FALSE(contains(f.err, "\r")) << "progress is for terminals";
}

TEST(Device, ShowsTheProgressOfAnImportOnATerminal) {
  Fixture f;
  f.terminal = true;
  f.wire.answer(200, "{\"done\":true,\"lines\":0,\"created\":0,\"updated\":0,\"unchanged\":0,\"errors\":0}\n");
  EXPECT_EQ(f.run({"import", f.folder.write("f", "")}), k_exit_ok) << f.err;
  EXPECT_TRUE(f.err.starts_with("\r\x1b[K0 lines: ") && f.err.ends_with("\r\x1b[K")) << f.err;
}

TEST(Device, SaysWhenAnImportOrExportWasBrokenOff) {
  Fixture f;
  const std::string file = f.folder.write("f", "");
  f.wire.answer(200, "{\"done\":false,\"lines\":0,\"error\":\"the store is down\"}\n");
  EXPECT_EQ(f.run({"import", file}), k_exit_unavailable);
  EXPECT_TRUE(contains(f.err, "broken off: the store is down; import the same again")) << f.err;
  f.wire.answer(200, "{\"line\":1,\"outcome\":\"created\"}\n");
  EXPECT_EQ(f.run({"import", file}), k_exit_unavailable);
  f.wire.answer(200, "<html>\n");
  EXPECT_EQ(f.run({"import", file}), k_exit_unavailable);
  f.wire.answer(200, std::string(1'100'000, 'x'));
  EXPECT_EQ(f.run({"import", file}), k_exit_unavailable);
  EXPECT_EQ(f.run({"export"}), k_exit_unavailable);
  EXPECT_TRUE(contains(f.err, "what was printed is not all of it")) << f.err;
}

TEST(Device, ExportsLinesAsTheyAre) {
  Fixture f;
  f.wire.answer(200, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
  EXPECT_EQ(f.run({"export"}), k_exit_ok);
  EXPECT_EQ(f.out, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
}

TEST(Device, HandsOutCredentials) {
  Fixture f;
  f.wire.answer(201, R"({"id":"9","kind":"token","expires":"T","sha256":"s","token":"secret"})");
  EXPECT_EQ(f.run({"credential", "add", "a", "--expires-in", "90d", "--retire-others-in", "1h", "--note", "n"}),
            k_exit_ok);
  EXPECT_EQ(f.last().body, R"({"kind":"token","expires_in":"90d","retire_others_in":"1h","note":"n"})");
  EXPECT_TRUE(contains(f.out, "token:       secret\n")) << f.out;
  f.wire.answer(201, R"({"id":"9","kind":"certificate"})");
  EXPECT_EQ(f.run({"credential", "add", "a", "--certificate", f.folder.write("c", "PEM\n")}), k_exit_ok);
  EXPECT_EQ(f.last().body, R"({"kind":"certificate","certificate_pem":"PEM\n"})");
  f.wire.answer(200,
                R"({"credentials":[{"id":"9","kind":"token","created":"T","expires":null,"note":"","sha256":"s"}]})");
  EXPECT_EQ(f.run({"credential", "list", "a"}), k_exit_ok);
  EXPECT_EQ(f.out, "ID  KIND   CREATED  EXPIRES  NOTE  SHA256\n9   token  T        -        -     s\n");
  f.wire.answer(204, "");
  EXPECT_EQ(f.run({"credential", "remove", "a", "9/../x"}), k_exit_ok);
  EXPECT_EQ(f.last().target, "/api/v1/devices/a/credentials/9%2F..%2Fx");
}

TEST(Device, SendsCommandsAndShowsTheAnswer) {
  Fixture f;
  f.wire.answer(200, R"({"id":"7","state":"succeeded","final":true,"steps":[{"detail":""}],
                         "result":{"text":"ok","payload":{"rpm":0.5},"payload_base64":"e30="}})");
  EXPECT_EQ(f.run({"command", "a", "update", "12345678901234567890123", "--ttl", "0s", "--at-most-once"}), k_exit_ok)
      << f.err;
  EXPECT_EQ(f.last().target, "/api/v1/devices/a/commands?wait=10s");
  EXPECT_EQ(f.last().body, R"({"name":"update","ttl":"0s","at_most_once":true,"payload":12345678901234567890123})");
  EXPECT_EQ(f.last().wait, milliseconds(10'000));
  EXPECT_EQ(f.out, "command:     7\nstate:       succeeded\ntext:        ok\nanswer:      {\"rpm\":0.5}\n");
  const std::string key = f.last().idempotency_key;
  EXPECT_EQ(key.size(), 24U);
  f.wire.answer(200, R"({"state":"succeeded"})");
  f.run({"command", "a", "set", "--payload-file", f.folder.write("p", std::string("\0\xFF", 2)), "--key", "mine"});
  EXPECT_EQ(f.last().body, R"({"name":"set","payload_base64":"AP8="})");
  EXPECT_EQ(f.last().idempotency_key, "mine");
  EXPECT_NE(key, "mine");
}

TEST(Device, TellsACommandThatFailedFromOneThatGoesOn) {
  Fixture f;
  f.wire.answer(200, R"({"id":"7","state":"rejected","final":true,"result":{"text":"no"}})");
  EXPECT_EQ(f.run({"command", "a", "x"}), k_exit_refused);
  f.wire.answer(202, R"({"id":"7","state":"queued","final":false,"result":null})");
  EXPECT_EQ(f.run({"command", "a", "x", "--wait", "1s"}), k_exit_refused);
  EXPECT_TRUE(contains(f.err, "GET /api/v1/commands/7")) << f.err;
  f.wire.answer(202, R"({"id":"7","state":"queued","final":false,"result":null})");
  EXPECT_EQ(f.run({"command", "a", "x", "--wait", "0s"}), k_exit_ok) << f.err;
}

TEST(Device, SaysHowToSendACommandAgainWhoseAnswerWasLost) {
  Fixture f;
  EXPECT_EQ(f.run({"command", "a", "x"}), k_exit_unavailable);
  EXPECT_TRUE(contains(f.err, "--key " + f.last().idempotency_key)) << f.err;
}

TEST(Device, ExplainsItself) {
  Fixture f;
  EXPECT_EQ(f.run({"--help"}), k_exit_ok);
  for (const char* word : {"list", "import", "credential", "--token-file", "77 not allowed"})
    EXPECT_TRUE(contains(f.out, word));
  EXPECT_EQ(f.run({"credential", "add", "--help"}), k_exit_ok);
  EXPECT_TRUE(contains(f.out, "--retire-others-in"));
}

}  // namespace
}  // namespace fieldgate
