// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/registry_desk.h"

#include "adapters/http/registry_transfer.h"
#include "tests/unit/http/api_fixture.h"

#include <sstream>

namespace fieldgate::http {
namespace {

class RegistryDeskTest : public ApiFixture {
 protected:
  Response ask_with(const Request& request) {
    send(request);
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(Response{});
  }
};

// Gives the pieces it was made of, then ends, or breaks off.
class Pieces final : public BodySource {
 public:
  explicit Pieces(std::vector<std::string> pieces, BodyPiece::Then last = BodyPiece::Then::end)
      : pieces_(std::move(pieces)), last_(last) {}
  void next(Give give) override {
    const bool more = at_ + 1 < pieces_.size();
    const std::string bytes = at_ < pieces_.size() ? pieces_[at_] : std::string();
    ++at_;
    give({bytes, more ? BodyPiece::Then::more : last_});
  }

 private:
  std::vector<std::string> pieces_;
  BodyPiece::Then last_;
  std::size_t at_ = 0;
};

std::vector<boost::json::object> lines(const std::string& text) {
  std::vector<boost::json::object> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(boost::json::parse(line).as_object());
  return out;
}

TEST_F(RegistryDeskTest, RegistersADeviceAndSaysWhatItIsNow) {
  const Response made =
      ask("PUT", "/api/v1/devices/pump-7", R"({"labels":{"site":"berlin"},"note":"behind the boiler"})");
  EXPECT_EQ(made.status, 201U) << made.body;
  EXPECT_EQ(header(made, "ETag"), "\"r1\"");
  EXPECT_EQ(header(made, "Location"), "/api/v1/devices/pump-7");
  EXPECT_EQ(json(made).at("labels").at("site").as_string(), "berlin");
  EXPECT_EQ(control.last_by, "token:ops");

  const Response again = ask("PUT", "/api/v1/devices/pump-7", R"({"enabled":false})");
  EXPECT_EQ(again.status, 200U);
  EXPECT_FALSE(json(again).at("enabled").as_bool());
  EXPECT_TRUE(json(again).at("labels").as_object().empty());  // what is not said takes its default
  EXPECT_EQ(json(again).at("note").as_string(), "");
}

TEST_F(RegistryDeskTest, ShowsAtOnceWhatWasChanged) {
  ask("PUT", "/api/v1/devices/pump-7", R"({"labels":{"site":"berlin"}})");
  const auto listed = json(ask("GET", "/api/v1/devices?registered=true"));
  const auto& device = listed.at("devices").as_array().at(0).as_object();
  EXPECT_EQ(device.at("id").as_string(), "pump-7");
  EXPECT_FALSE(device.at("online").as_bool());
  EXPECT_TRUE(device.at("epoch").is_null());
  EXPECT_TRUE(device.at("since").is_null());
  EXPECT_TRUE(device.at("enabled").as_bool());
  const auto one = json(ask("GET", "/api/v1/devices/pump-7"));
  EXPECT_EQ(one.at("registry").at("etag").as_string(), "\"r1\"");
  EXPECT_EQ(one.at("registry").at("credentials").to_number<int>(), 0);
  EXPECT_EQ(ask("DELETE", "/api/v1/devices/pump-7").status, 204U);
  EXPECT_EQ(ask("GET", "/api/v1/devices/pump-7").status, 404U);
}

TEST_F(RegistryDeskTest, ChangesWhatAPatchNamesAndNothingElse) {
  ask("PUT", "/api/v1/devices/a", R"({"labels":{"site":"berlin","line":"3"},"note":"n"})");
  const Response patched = ask("PATCH", "/api/v1/devices/a", R"({"labels":{"line":null,"hall":"2"}})",
                               {{"content-type", "application/merge-patch+json"}});
  EXPECT_EQ(patched.status, 200U) << patched.body;
  EXPECT_EQ(boost::json::serialize(json(patched).at("labels")), R"({"hall":"2","site":"berlin"})");
  EXPECT_EQ(json(patched).at("note").as_string(), "n");
  const Response cleared = ask("PATCH", "/api/v1/devices/a", R"({"labels":null,"note":null})");
  EXPECT_TRUE(json(cleared).at("labels").as_object().empty());
  EXPECT_EQ(json(cleared).at("note").as_string(), "");
  EXPECT_EQ(problem(ask("PATCH", "/api/v1/devices/b", "{}")), "/problems/device-not-found");
}

TEST_F(RegistryDeskTest, HoldsChangesToTheirConditions) {
  EXPECT_EQ(ask("PUT", "/api/v1/devices/a", "{}", {{"if-match", "*"}}).status, 412U);
  EXPECT_EQ(ask("PUT", "/api/v1/devices/a", "{}", {{"if-none-match", "*"}}).status, 201U);
  EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/a", "{}", {{"if-none-match", "*"}})), "/problems/precondition-failed");
  EXPECT_EQ(ask("PUT", "/api/v1/devices/a", R"({"note":"2"})", {{"if-match", "\"r1\""}}).status, 200U);
  EXPECT_EQ(ask("PUT", "/api/v1/devices/a", R"({"note":"3"})", {{"if-match", "\"r1\""}}).status, 412U);
  EXPECT_EQ(ask("PATCH", "/api/v1/devices/a", R"({"note":"3"})", {{"if-match", "\"r1\""}}).status, 412U);
  EXPECT_EQ(ask("DELETE", "/api/v1/devices/a", "", {{"if-match", "\"r1\""}}).status, 412U);
  // A tag of another kind is a condition that cannot hold, not a fault.
  EXPECT_EQ(ask("PATCH", "/api/v1/devices/a", R"({"note":"3"})", {{"if-match", "\"d2\""}}).status, 412U);
  EXPECT_EQ(ask("PATCH", "/api/v1/devices/a", R"({"note":"3"})", {{"if-match", "W/\"r2\""}}).status, 412U);
  EXPECT_EQ(ask("DELETE", "/api/v1/devices/a", "", {{"if-match", "\"r2\""}}).status, 204U);
  for (const Headers& headers :
       {Headers{{"if-match", "r2"}}, Headers{{"if-match", "\"r1\", \"r2\""}}, Headers{{"if-none-match", "\"r2\""}},
        Headers{{"if-match", "\"r2\""}, {"if-none-match", "*"}}}) {
    EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/a", "{}", headers)), "/problems/invalid-header");
  }
  EXPECT_EQ(problem(ask("PATCH", "/api/v1/devices/a", "{}", {{"if-none-match", "*"}})), "/problems/invalid-header");
}

TEST_F(RegistryDeskTest, NamesEveryMemberThatIsWrong) {
  const Response wrong =
      ask("PUT", "/api/v1/devices/a",
          R"({"enabled":"yes","note":7,"labels":{"":"x","k/y":3,"ok":"a\u0000"},"nonsense":1,"enable":true})");
  EXPECT_EQ(problem(wrong), "/problems/invalid-body");
  EXPECT_EQ(pointers(wrong), (std::vector<std::string>{"/enabled", "/note", "/labels/", "/labels/k~1y", "/labels/ok",
                                                       "/nonsense", "/enable"}));
  EXPECT_NE(wrong.body.find("did you mean 'enabled'?"), std::string::npos) << wrong.body;
}

TEST_F(RegistryDeskTest, RefusesWhatIsNoJsonObjectAndSaysWhere) {
  const std::string deep = "{\"labels\":" + std::string(40, '[') + std::string(40, ']') + "}";
  for (const std::string& body : {std::string(), std::string("[]"), std::string("null"), std::string("{"),
                                  std::string("{} {}"), std::string("{\"note\":\"\xff\"}"), deep}) {
    EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/a", body)), "/problems/invalid-body") << body;
  }
  EXPECT_NE(ask("PUT", "/api/v1/devices/a", "{\"note\" 1}").body.find("at byte"), std::string::npos);
  EXPECT_NE(ask("PUT", "/api/v1/devices/a", deep).body.find("deeper than 32"), std::string::npos);
}

// Which of the two would count is nowhere said: neither does.
TEST_F(RegistryDeskTest, RefusesAMemberThatIsThereTwiceAndSaysWhich) {
  const auto refused = [this](const std::string& body) {
    const Response response = ask("PUT", "/api/v1/devices/pump-7", body);
    EXPECT_EQ(problem(response), "/problems/invalid-body") << response.body;
    return response.body;
  };
  EXPECT_NE(refused(R"({"enabled":true,"note":"a","enabled":false})").find("the member /enabled is there twice"),
            std::string::npos);
  EXPECT_NE(refused(R"({"labels":{"a/b":"1","c":"2","a\u002fb":"3"}})").find("/labels/a~1b is there twice"),
            std::string::npos);
  EXPECT_NE(refused(R"({"x":[{},{"y":1},{"y":1,"y":1}]})").find("/x/2/y is there twice"), std::string::npos);
  EXPECT_EQ(control.last_by, "");
  // Of two objects each may have it.
  EXPECT_EQ(ask("PUT", "/api/v1/devices/pump-7", R"({"note":"note","labels":{"note":"1"}})").status, 201U);
  Request import = make("POST", "/api/v1/devices/import", "", {{"content-type", "application/x-ndjson"}});
  import.stream = std::make_shared<Pieces>(std::vector<std::string>{"{\"id\":\"a\",\"id\":\"b\"}\n"});
  EXPECT_NE(lines(drain(ask_with(import)))[0].at("error").as_string().find("the member /id is there twice"),
            std::string::npos);
}

TEST_F(RegistryDeskTest, TakesJsonAloneForJson) {
  const Response form = ask("PUT", "/api/v1/devices/a", "{}", {{"content-type", "application/x-www-form-urlencoded"}});
  EXPECT_EQ(problem(form), "/problems/unsupported-media-type");
  const Response patch = ask("PATCH", "/api/v1/devices/a", "{}", {{"content-type", "text/plain"}});
  EXPECT_EQ(header(patch, "Accept-Patch"), "application/merge-patch+json, application/json");
  EXPECT_EQ(ask("PUT", "/api/v1/devices/a", "{}", {{"content-type", "Application/JSON; charset=utf-8"}}).status, 201U);
}

TEST_F(RegistryDeskTest, ShowsATokenThisOnceAndKeepsItsHashAlone) {
  ask("PUT", "/api/v1/devices/a", "{}");
  const Response made = ask("POST", "/api/v1/devices/a/credentials", R"({"kind":"token","expires_in":"90d"})");
  EXPECT_EQ(made.status, 201U) << made.body;
  const auto body = json(made);
  const std::string token(body.at("token").as_string());
  EXPECT_EQ(token.size(), 43U);
  EXPECT_TRUE(header(made, "Location").starts_with("/api/v1/devices/a/credentials/"));
  const Response listed = ask("GET", "/api/v1/devices/a/credentials");
  EXPECT_EQ(listed.body.find(token), std::string::npos);
  EXPECT_EQ(json(listed).at("credentials").as_array().at(0).at("sha256").as_string(), body.at("sha256").as_string());
  EXPECT_NE(json(ask("POST", "/api/v1/devices/a/credentials", R"({"kind":"token"})")).at("token").as_string(), token);
}

TEST_F(RegistryDeskTest, TakesAHashMadeElsewhereAndShowsNoToken) {
  ask("PUT", "/api/v1/devices/a", "{}");
  const std::string hash(64, 'A');
  const Response made =
      ask("POST", "/api/v1/devices/a/credentials", R"({"kind":"certificate","sha256":")" + hash + "\"}");
  EXPECT_EQ(made.status, 201U) << made.body;
  EXPECT_FALSE(json(made).contains("token"));
  EXPECT_EQ(json(made).at("sha256").as_string(), std::string(64, 'a'));
  EXPECT_EQ(problem(ask("POST", "/api/v1/devices/a/credentials", R"({"kind":"token","sha256":")" + hash + "\"}")),
            "/problems/credential-taken");
}

TEST_F(RegistryDeskTest, RefusesCredentialsThatCannotBe) {
  ask("PUT", "/api/v1/devices/a", "{}");
  const std::pair<const char*, const char*> wrong[] = {
      {R"({})", "/kind"},
      {R"({"kind":"password"})", "/kind"},
      {R"({"kind":"certificate"})", "/sha256"},
      {R"({"kind":"certificate","sha256":"12"})", "/sha256"},
      {R"({"kind":"certificate","certificate_pem":"nonsense"})", "/certificate_pem"},
      {R"({"kind":"token","certificate_pem":"x"})", "/certificate_pem"},
      {R"({"kind":"token","expires_in":"soon"})", "/expires_in"},
      {R"({"kind":"token","expires_in":0})", "/expires_in"},
      {R"({"kind":"token","expires":"2001-01-01T00:00:00Z"})", "/expires"},
      {R"({"kind":"token","expires":"2026-13-01T00:00:00Z"})", "/expires"},
      {R"({"kind":"token","retire_others_in":-1})", "/retire_others_in"},
      {R"({"kind":"token","token":"mine"})", "/token"}};
  for (const auto& [body, pointer] : wrong) {
    const Response refused = ask("POST", "/api/v1/devices/a/credentials", body);
    EXPECT_EQ(problem(refused), "/problems/invalid-body") << body;
    ASSERT_FALSE(pointers(refused).empty()) << refused.body;
    EXPECT_EQ(pointers(refused)[0], pointer) << body;
  }
  EXPECT_EQ(problem(ask("POST", "/api/v1/devices/nobody/credentials", R"({"kind":"token"})")),
            "/problems/device-not-found");
}

TEST_F(RegistryDeskTest, LetsADeviceHaveSoManyCredentialsAndDeletesThem) {
  ask("PUT", "/api/v1/devices/a", "{}");
  std::string last;
  for (std::size_t i = 0; i < k_credentials_per_device_max; ++i) {
    last = header(ask("POST", "/api/v1/devices/a/credentials", R"({"kind":"token"})"), "Location");
  }
  EXPECT_EQ(problem(ask("POST", "/api/v1/devices/a/credentials", R"({"kind":"token"})")),
            "/problems/too-many-credentials");
  EXPECT_EQ(ask("DELETE", last).status, 204U);
  EXPECT_EQ(problem(ask("DELETE", last)), "/problems/credential-not-found");
}

TEST_F(RegistryDeskTest, EndsAConnection) {
  downlink.set_online("a");
  EXPECT_EQ(ask("DELETE", "/api/v1/devices/a/session", "", {}, "third").status, 204U);
  EXPECT_EQ(downlink.last_reason(), EndReason::kicked);
  EXPECT_EQ(problem(ask("DELETE", "/api/v1/devices/a/session", "", {}, "third")), "/problems/device-offline");
  EXPECT_EQ(problem(ask("DELETE", "/api/v1/devices/%20/session")), "/problems/device-not-found");
}

TEST_F(RegistryDeskTest, LooksAtScopesForEachMethod) {
  EXPECT_EQ(problem(ask("PUT", "/api/v1/devices/a", "{}", {}, "third")), "/problems/forbidden");
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices/export", "", {}, "third")), "/problems/forbidden");
  EXPECT_EQ(problem(ask("DELETE", "/api/v1/devices/a/session", "", {}, "other")), "/problems/forbidden");
  const Response refused = ask("POST", "/api/v1/devices/a/commands", "{}", {}, "other");
  EXPECT_EQ(problem(refused), "/problems/forbidden");
  EXPECT_NE(header(refused, "WWW-Authenticate").find("scope=\"command\""), std::string::npos);
  EXPECT_EQ(problem(ask("GET", "/api/v1/devices/a/credentials", "", {}, "other")), "/problems/forbidden");
}

TEST_F(RegistryDeskTest, SaysSoWhenTheStoreDoesNotAnswer) {
  control.fail(make_error(Errc::unavailable, "the disk is gone"));
  const Response failed = ask("PUT", "/api/v1/devices/a", "{}");
  EXPECT_EQ(problem(failed), "/problems/store-unavailable");
  EXPECT_EQ(header(failed, "Retry-After"), "1");
  EXPECT_NE(failed.body.find("the disk is gone"), std::string::npos);
  control.fail(std::nullopt);
  control.set_mute(true);
  EXPECT_FALSE(send(make("PUT", "/api/v1/devices/a", "{}")).has_value());
  loop->let_time_pass();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(problem(*answer), "/problems/store-unavailable");
  EXPECT_NE(answer->body.find("look before you"), std::string::npos);
}

TEST_F(RegistryDeskTest, SaysSoWithoutAStore) {
  ApiHandler storeless(loop, 300'000, ApiPorts{live, status, lanes, clock, log, probe, {}, nullptr});
  auto table =
      TokenTable::parse("ops sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b admin", "t");
  storeless.set_access(std::make_shared<const Access>(std::move(*table)));
  const std::pair<const char*, const char*> requests[] = {
      {"PUT", "/api/v1/devices/a"},      {"DELETE", "/api/v1/devices/a/session"}, {"GET", "/api/v1/devices/export"},
      {"GET", "/api/v1/devices/a/twin"}, {"GET", "/api/v1/devices/a/timeline"},   {"GET", "/api/v1/commands/c"},
      {"GET", "/api/v1/refusals"}};
  for (const auto& [method, target] : requests) {
    std::optional<Response> got;
    storeless.handle(make(method, target, std::string_view(method) == "PUT" ? "{}" : ""),
                     [&](Response response) { got = std::move(response); });
    ASSERT_TRUE(got.has_value()) << target;
    EXPECT_EQ(problem(*got), "/problems/no-store") << target;
  }
}

TEST_F(RegistryDeskTest, ImportsLinesAndSaysWhatBecameOfEach) {
  ask("PUT", "/api/v1/devices/old", R"({"note":"same"})");
  ask("PUT", "/api/v1/devices/other", R"({"note":"before"})");
  Request request = make("POST", "/api/v1/devices/import", "", {{"content-type", "application/x-ndjson"}});
  request.stream = std::make_shared<Pieces>(std::vector<std::string>{
      "{\"id\":\"new\",\"labels\":{\"a\":\"b\"}}\n\n{\"id\":\"ol",
      "d\",\"note\":\"same\"}\r\n{\"id\":\"other\",\"note\":\"after\"}\n",
      "nonsense\n{\"id\":\"x/y\"}\n{\"id\":\"new\",\"label\":{}}\n",
      "{\"id\":\"new\",\"labels\":{\"a\":\"c\"}}\n{\"id\":\"last\",\"credentials\":[{\"kind\":\"token\",\"sha256\":\"" +
          std::string(64, '7') + "\"}]}"});
  const auto out = lines(drain(ask_with(request)));
  ASSERT_EQ(out.size(), 9U);
  const auto outcome = [&](std::size_t i) { return std::string(out[i].at("outcome").as_string()); };
  EXPECT_EQ(outcome(0), "created");
  EXPECT_EQ(out[1].at("line").to_number<int>(), 3);  // the empty one counts as a line
  EXPECT_EQ(outcome(1), "unchanged");
  EXPECT_EQ(outcome(2), "updated");
  for (const std::size_t i : {3U, 4U, 5U}) EXPECT_EQ(outcome(i), "error");
  EXPECT_NE(out[5].at("error").as_string().find("/label: there is no such member"), std::string::npos);
  EXPECT_EQ(outcome(6), "updated");
  EXPECT_EQ(outcome(7), "created");
  EXPECT_EQ(boost::json::serialize(out[8]),
            R"({"done":true,"lines":9,"created":2,"updated":2,"unchanged":1,"errors":3})");
  EXPECT_EQ(json(ask("GET", "/api/v1/devices/last")).at("registry").at("credentials").to_number<int>(), 1);
}

TEST_F(RegistryDeskTest, ImportsWhatItExported) {
  for (int i = 0; i < 450; ++i)
    ask("PUT", "/api/v1/devices/d" + std::to_string(i), R"({"labels":{"n":")" + std::to_string(i) + "\"}}");
  const Response given = ask("GET", "/api/v1/devices/export");
  EXPECT_EQ(given.content_type, "application/x-ndjson");
  const std::string all = drain(given);
  EXPECT_EQ(lines(all).size(), 450U);
  Request request = make("POST", "/api/v1/devices/import?errors_only=true");
  request.stream = std::make_shared<Pieces>(std::vector<std::string>{all});
  EXPECT_EQ(drain(ask_with(request)),
            "{\"done\":true,\"lines\":450,\"created\":0,\"updated\":0,\"unchanged\":450,\"errors\":0}\n");
}

TEST_F(RegistryDeskTest, LeavesOutALineThatIsTooLongAndGoesOn) {
  Request request = make("POST", "/api/v1/devices/import");
  const std::string piece(k_body_piece_bytes, 'x');
  request.stream = std::make_shared<Pieces>(
      std::vector<std::string>{"{\"id\":\"a\"}\n{\"id\":\"", piece, piece, "\"}\n{\"id\":\"b\"}\n"});
  const auto out = lines(drain(ask_with(request)));
  ASSERT_EQ(out.size(), 4U);
  EXPECT_EQ(out[0].at("outcome").as_string(), "created");
  EXPECT_EQ(out[1].at("outcome").as_string(), "error");
  EXPECT_EQ(out[1].at("line").to_number<int>(), 2);
  EXPECT_EQ(out[2].at("outcome").as_string(), "created");
  EXPECT_EQ(out[3].at("errors").to_number<int>(), 1);
}

TEST_F(RegistryDeskTest, TakesNoHalfLineOfAnImportThatIsCutOff) {
  Request request = make("POST", "/api/v1/devices/import");
  request.stream =
      std::make_shared<Pieces>(std::vector<std::string>{"{\"id\":\"a\"}\n{\"id\":\"b\"}"}, BodyPiece::Then::broken);
  const auto out = lines(drain(ask_with(request)));
  ASSERT_EQ(out.size(), 2U);
  EXPECT_FALSE(out[1].at("done").as_bool());
  EXPECT_EQ(out[1].at("created").to_number<int>(), 1);
  EXPECT_EQ(ask("GET", "/api/v1/devices/b").status, 404U);
}

TEST_F(RegistryDeskTest, WritesDownWhatAnImportTookWhoseClientHasGone) {
  std::string text;
  for (std::size_t i = 0; i <= k_import_batch; ++i) text += "{\"id\":\"d" + std::to_string(i) + "\"}\n";
  Request request = make("POST", "/api/v1/devices/import");
  request.stream = std::make_shared<Pieces>(std::vector<std::string>{text});
  Response response = ask_with(request);
  response.source->next([](const BodyPiece&) {});
  loop->run();
  EXPECT_EQ(log.all().find("api_import"), std::string::npos);
  answer.reset();
  response.source.reset();
  EXPECT_NE(log.all().find("lines=100 created=100 updated=0 errors=0 stopped=the client has gone"), std::string::npos)
      << log.all();
}

TEST_F(RegistryDeskTest, StopsAnImportWhenTheStoreDoes) {
  std::string text;
  for (int i = 0; i < 1'000; ++i) text += "{\"id\":\"d" + std::to_string(i) + "\"}\n";
  Request request = make("POST", "/api/v1/devices/import?errors_only=true");
  request.stream = std::make_shared<Pieces>(std::vector<std::string>{text});
  const Response response = ask_with(request);
  control.fail(make_error(Errc::unavailable, "the disk is gone"));
  const auto out = lines(drain(response));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_FALSE(out[0].at("done").as_bool());
  EXPECT_EQ(out[0].at("stopped").as_string(), "/problems/store-unavailable");
  EXPECT_EQ(out[0].at("detail").as_string(), "the disk is gone");
}

TEST_F(RegistryDeskTest, BreaksAnExportOffWhenTheStoreDoes) {
  for (int i = 0; i < 300; ++i) ask("PUT", "/api/v1/devices/d" + std::to_string(i), "{}");
  const Response response = ask("GET", "/api/v1/devices/export");
  bool begun = false;
  response.source->next([&](BodyPiece piece) { begun = piece.then == BodyPiece::Then::more && !piece.bytes.empty(); });
  loop->run();
  EXPECT_TRUE(begun);
  control.fail(make_error(Errc::unavailable, "the disk is gone"));
  EXPECT_EQ(drain(response), "(broken)");
}

}  // namespace
}  // namespace fieldgate::http
