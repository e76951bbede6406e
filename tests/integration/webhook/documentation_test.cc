// SPDX-License-Identifier: Apache-2.0
// docs/webhook.md, held against what the lane does.
#include "tests/integration/webhook/lane_fixture.h"

#include "fieldgate/v1/northbound.pb.h"
#include "tests/support/northbound_records.h"
#include "tests/support/temp_dir.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace fieldgate::webhook {
namespace {

// The first block of `language` in the page.
std::string block(const std::string& language) {
  const char* source = std::getenv("FIELDGATE_SOURCE");
  std::ifstream file(std::string(source ? source : ".") + "/docs/webhook.md");
  std::ostringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  const std::string fence = "```" + language + "\n";
  const std::size_t begin = page.find(fence);
  if (begin == std::string::npos) return {};
  return page.substr(begin + fence.size(), page.find("```\n", begin + fence.size()) - begin - fence.size());
}

struct WebhookDocumentation : LaneFixture {
  // The request that the two records of the example make.
  boost::json::object example() {
    v1::DeviceFrame frame;
    frame.set_seq(12);
    auto* sample = frame.mutable_telemetry()->add_samples();
    sample->set_unix_ms(1'700'000'000'000);
    auto* metric = sample->add_metrics();
    metric->set_name("temperature");
    metric->set_double_value(21.5);
    v1::PresenceEvent event;
    event.set_epoch(1'844'674'407);
    event.set_node("gw-1");
    event.set_boot_id("5f0c2a");
    event.set_unix_ms(1'700'000'004'000);
    event.set_reason("heartbeat_lost");
    const test::OwnedRecord telemetry{"pump-7", "", frame.SerializeAsString(), RecordKind::telemetry, 81'733, 12};
    const test::OwnedRecord presence{"pump-7", "offline", event.SerializeAsString(), RecordKind::presence, 0, 0};
    RecordView later = presence.view();
    later.received_unix_ms = 1'700'000'004'000;
    auto records = test::block_of({telemetry});
    records->append(later);

    auto with = settings(target.port());
    with.name = "cloud";
    lane = make_webhook_lane(with, {"gw-1", "5f0c2a"}, clock, log, probe, letters).value();
    feed.push(std::move(records));
    lane->start(feed);
    EXPECT_TRUE(feed.wait_done(k_patience));
    auto got = target.got();
    EXPECT_EQ(got.size(), 1U);
    return got.at(0);
  }

  // Runs `command` with the request's secret, signature and body, good and spoilt, as
  // JSON in the file that is its last argument; it prints what verify() says of each.
  std::string verdicts(const std::string& program, const std::string& code, const std::string& suffix) {
    const auto request = example();
    const std::string signature(request.at("headers").at("fieldgate-signature").as_string());
    const std::string body(request.at("body").as_string());
    const std::string secret = settings(1).secret.value;
    const std::string stamp = signature.substr(0, signature.find(','));
    boost::json::array cases;
    const auto add = [&cases](std::string_view key, std::string_view header, std::string_view text) {
      cases.push_back({boost::json::value(key), boost::json::value(header), boost::json::value(text)});
    };
    add(secret, signature, body);
    add(secret, signature, body + " ");
    add("another secret", signature, body);
    add(secret, "t=1700000000" + signature.substr(stamp.size()), body);  // too old, and not what was signed
    add(secret, stamp, body);
    add(secret, "", body);
    add(secret, "t=x,v1=", body);
    const std::string script = dir.write("verify" + suffix, code);
    const std::string input = dir.write("cases.json", boost::json::serialize(cases));
    const std::string output = dir.file("output");
    const int status = std::system((program + " " + script + " " + input + " > " + output).c_str());
    EXPECT_EQ(status, 0);
    std::ifstream file(output);
    std::string line;
    std::getline(file, line);
    return line;
  }

  TargetProcess target;
  test::TempDir dir;
};

TEST_F(WebhookDocumentation, ShowsTheBodyThatArrives) {
  const auto shown = boost::json::parse(block("json"));
  EXPECT_EQ(boost::json::serialize(boost::json::parse(example().at("body").as_string())),
            boost::json::serialize(shown));
}

TEST_F(WebhookDocumentation, ShowsTheHeadersThatArrive) {
  std::set<std::string> shown;
  std::istringstream lines(block("http"));
  std::string line;
  std::getline(lines, line);  // the request line
  while (std::getline(lines, line)) {
    std::string name = line.substr(0, line.find(':'));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    shown.insert(name);
  }
  const auto request = example();
  std::set<std::string> came;
  for (const auto& header : request.at("headers").as_object()) came.emplace(header.key());
  EXPECT_EQ(shown, came);
  EXPECT_NE(block("http").find("Fieldgate-Batch-Id: 5f0c2a.cloud.1\n"), std::string::npos);
  EXPECT_EQ(request.at("headers").at("fieldgate-batch-id").as_string(), "5f0c2a.cloud.1");
  EXPECT_NE(block("http").find(
                "Content-Length: " + std::string(request.at("headers").at("content-length").as_string()) + "\n"),
            std::string::npos);
}

TEST_F(WebhookDocumentation, VerifiesSignaturesInPython) {
  const std::string check =
      "\nimport json, sys\n"
      "print(*[verify(key.encode(), header, body.encode()) for key, header, body in json.load(open(sys.argv[1]))])\n";
  EXPECT_EQ(verdicts("/usr/bin/python3", block("python") + check, ".py"), "True False False False False False False");
}

TEST_F(WebhookDocumentation, VerifiesSignaturesInNode) {
  if (!std::filesystem::exists("/usr/bin/node")) GTEST_SKIP() << "there is no node here";
  const std::string check =
      "\nconst cases = JSON.parse(require('node:fs').readFileSync(process.argv[2]));\n"
      "console.log(cases.map(([key, header, body]) => verify(key, header, Buffer.from(body))).join(' '));\n";
  EXPECT_EQ(verdicts("/usr/bin/node", block("js") + check, ".js"), "true false false false false false false");
}

}  // namespace
}  // namespace fieldgate::webhook
