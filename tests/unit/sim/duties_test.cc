// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/duties.h"

#include "tests/unit/sim/fake_link.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

namespace fieldgate::sim {
namespace {

class DutiesTest : public DeviceTest {
 protected:
  DutiesTest() {
    settings_.duties = true;
    settings_.profile = Profile::silent;
  }

  void begin() {
    make();
    go_online();
    ack(1);  // what it reported of itself
    link_.sent.clear();
  }

  void command(const std::string& id, const std::string& name, const std::string& payload = "") {
    v1::GatewayFrame frame;
    frame.mutable_command()->set_id(id);
    frame.mutable_command()->set_name(name);
    frame.mutable_command()->set_payload(payload);
    receive(frame);
  }

  void desired(std::uint64_t version, const std::string& json) {
    v1::GatewayFrame frame;
    frame.mutable_desired()->set_version(version);
    frame.mutable_desired()->set_delta_json(json);
    receive(frame);
  }

  // What it has sent since the last call: "ack ID", "OUTCOME ID PAYLOAD", "state JSON", ...
  std::vector<std::string> said() {
    std::vector<std::string> lines;
    for (const v1::DeviceFrame& frame : link_.sent) {
      if (frame.has_command_ack()) lines.push_back("ack " + frame.command_ack().id());
      if (frame.has_desired_ack()) {
        lines.push_back("desired " + std::to_string(frame.desired_ack().version()) + frame.desired_ack().error());
      }
      if (frame.has_state()) lines.push_back("state " + frame.state().reported_json());
      if (!frame.has_command_result()) continue;
      const v1::CommandResult& result = frame.command_result();
      lines.push_back(v1::CommandResult::Outcome_Name(result.outcome()).substr(8) + " " + result.id() + " " +
                      result.payload());
    }
    link_.sent.clear();
    return lines;
  }
};

using Lines = std::vector<std::string>;

TEST_F(DutiesTest, NamesWhatItCanDoAndReportsOncePerRun) {
  make();
  open();
  const auto& named = link_.sent.at(0).hello().capabilities();
  EXPECT_EQ(Lines(named.begin(), named.end()), (Lines{"command", "command_cancel", "desired"}));
  link_.sent.clear();
  receive(welcome());
  ASSERT_EQ(link_.sent.size(), 1u);
  EXPECT_TRUE(link_.sent[0].state().full());
  EXPECT_EQ(link_.sent[0].seq(), 1u);
}

TEST_F(DutiesTest, AcknowledgesThenAnswers) {
  begin();
  command("c1", "echo", "hello");
  EXPECT_EQ(said(), (Lines{"ack c1", "SUCCEEDED c1 hello"}));
  command("c2", "fail");
  EXPECT_EQ(said(), (Lines{"ack c2", "FAILED c2 "}));
  command("c3", "dance");
  EXPECT_EQ(said(), (Lines{"ack c3", "REJECTED c3 "}));
  EXPECT_EQ(stats().commands, 3u);
}

TEST_F(DutiesTest, CarriesOutOnceWhatComesTwiceAndAnswersTheSame) {
  begin();
  command("c1", "ping");
  const Lines first = said();
  ASSERT_EQ(first.size(), 2u);
  pass(k_second_us);
  command("c1", "ping");
  EXPECT_EQ(said(), first);  // the time in it, too
  EXPECT_EQ(stats().commands, 1u);
  EXPECT_EQ(stats().commands_repeated, 1u);
}

TEST_F(DutiesTest, EndsASleepInTimeUnlessItIsCancelled) {
  begin();
  command("c1", "sleep", R"({"seconds": 2})");
  command("c2", "sleep", R"({"seconds": 2})");
  EXPECT_EQ(said(), (Lines{"ack c1", "ack c2"}));
  v1::GatewayFrame frame;
  frame.mutable_command_cancel()->set_id("c2");
  receive(frame);
  EXPECT_EQ(said(), (Lines{"CANCELLED c2 "}));
  pass(2 * k_second_us);
  EXPECT_EQ(said(), (Lines{R"(SUCCEEDED c1 {"slept":true})"}));
}

TEST_F(DutiesTest, KeepsAnAnswerThatItCouldNotSendForTheNextConnection) {
  begin();
  command("c1", "sleep", R"({"seconds": 1})");
  said();
  device_->on_lost(Loss::reset, now_);
  pass(0);
  pass(3 * k_second_us);
  if (device_->phase() == Device::Phase::connecting) device_->on_open(now_);
  link_.sent.clear();
  receive(welcome(1, 1));
  EXPECT_EQ(said(), (Lines{"ack c1", R"(SUCCEEDED c1 {"slept":true})"}));
}

TEST_F(DutiesTest, TakesADesiredDocumentOverOrSaysWhyNot) {
  begin();
  desired(3, R"({"interval_s": 5})");
  EXPECT_EQ(said(), (Lines{"desired 3", R"(state {"interval_s":5})"}));
  desired(4, R"({"refuse": true})");
  EXPECT_EQ(said(), (Lines{"desired 4refuse: told to refuse this"}));
}

TEST_F(DutiesTest, GivesALabelThatGoesRoundTheDevices) {
  settings_.varied_labels = {{"site", {"berlin", "oslo"}}};
  for (std::uint32_t i = 0; i < 3; ++i) {
    context_ = std::make_unique<DeviceContext>(settings_, 1);
    device_ = std::make_unique<Device>(*context_, i, link_);
    device_->start(now_.mono_us, now_.mono_us);
    link_.sent.clear();
    open();
    EXPECT_EQ(link_.sent.at(0).hello().labels().at("site"), i % 2 == 0 ? "berlin" : "oslo");
  }
}

}  // namespace
}  // namespace fieldgate::sim
