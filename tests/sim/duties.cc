// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/duties.h"

#include <boost/json.hpp>

#include <algorithm>

namespace fieldgate::sim {
namespace {

namespace json = boost::json;

json::value read(const std::string& text) {
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  return error ? json::value() : value;
}

// RFC 7396, section 2.
void merge(json::object& into, const json::object& patch) {
  for (const auto& member : patch) {
    if (member.value().is_null()) {
      into.erase(member.key());
    } else if (const json::object* inner = member.value().if_object()) {
      json::value& at = into[member.key()];
      if (!at.is_object()) at = json::object();
      merge(at.get_object(), *inner);
    } else {
      into[member.key()] = member.value();
    }
  }
}

std::int64_t sleep_us(const std::string& payload) {
  const json::value wanted = read(payload);
  const json::object* object = wanted.if_object();
  const json::value* seconds = object == nullptr ? nullptr : object->if_contains("seconds");
  boost::system::error_code error;
  const double value = seconds == nullptr ? 1.0 : seconds->to_number<double>(error);
  return static_cast<std::int64_t>(std::clamp(error ? 1.0 : value, 0.0, 3'600.0) * 1e6);
}

}  // namespace

void Duties::report(std::int64_t now_ms, const Emit& emit) {
  if (!reported_once_) reported_["started_ms"] = now_ms;
  reported_once_ = true;
  v1::DeviceFrame frame;
  frame.mutable_state()->set_reported_json(json::serialize(reported_));
  frame.mutable_state()->set_full(true);
  emit(frame);
}

bool Duties::command(const v1::Command& command, const Now& now, const Emit& emit) {
  v1::DeviceFrame frame;
  frame.mutable_command_ack()->set_id(command.id());
  emit(frame);
  const auto known = std::ranges::find(known_, command.id(), &Known::id);
  if (known != known_.end()) {
    if (!known->result.id().empty()) {
      *frame.mutable_command_result() = known->result;
      emit(frame);
    }
    return false;
  }
  if (known_.size() >= k_remembered) known_.pop_front();
  known_.push_back({command.id(), {}});
  carry_out(command, now, emit);
  return true;
}

void Duties::carry_out(const v1::Command& command, const Now& now, const Emit& emit) {
  const std::string& name = command.name();
  if (name == "ping") {
    const json::object pong{{"pong", true}, {"time", now.wall_us / 1'000}};
    conclude(command.id(), v1::CommandResult::OUTCOME_SUCCEEDED, "", json::serialize(pong), emit);
  } else if (name == "echo") {
    conclude(command.id(), v1::CommandResult::OUTCOME_SUCCEEDED, "", command.payload(), emit);
  } else if (name == "sleep") {
    if (working_.size() >= k_remembered) {
      return conclude(command.id(), v1::CommandResult::OUTCOME_REJECTED, "too much to do already", "", emit);
    }
    working_.push_back({command.id(), now.mono_us + sleep_us(command.payload())});
  } else if (name == "fail") {
    conclude(command.id(), v1::CommandResult::OUTCOME_FAILED, "as it was told to", "", emit);
  } else if (name == "reject") {
    conclude(command.id(), v1::CommandResult::OUTCOME_REJECTED, "as it was told to", "", emit);
  } else if (name != "ignore") {
    conclude(command.id(), v1::CommandResult::OUTCOME_REJECTED, "no command of that name", "", emit);
  }
}

void Duties::conclude(const std::string& id, v1::CommandResult::Outcome outcome, const std::string& text,
                      const std::string& payload, const Emit& emit) {
  v1::DeviceFrame frame;
  v1::CommandResult& result = *frame.mutable_command_result();
  result.set_id(id);
  result.set_outcome(outcome);
  result.set_text(text);
  result.set_payload(payload);
  const auto known = std::ranges::find(known_, id, &Known::id);
  if (known != known_.end()) known->result = result;
  emit(frame);
}

void Duties::cancel(const std::string& id, const Emit& emit) {
  const auto at = std::ranges::find(working_, id, &Working::id);
  if (at == working_.end()) return;
  working_.erase(at);
  conclude(id, v1::CommandResult::OUTCOME_CANCELLED, "cancelled", "", emit);
}

void Duties::desired(const v1::Desired& desired, const Emit& emit) {
  const json::value document = read(desired.delta_json());
  const json::object* wanted = document.if_object();
  v1::DeviceFrame frame;
  frame.mutable_desired_ack()->set_version(desired.version());
  if (wanted == nullptr || wanted->contains("refuse")) {
    frame.mutable_desired_ack()->set_error(wanted == nullptr ? "not a JSON object" : "refuse: told to refuse this");
    return emit(frame);
  }
  emit(frame);
  merge(reported_, *wanted);
  frame.mutable_state()->set_reported_json(json::serialize(*wanted));
  emit(frame);
}

void Duties::wake(const Now& now, const Emit& emit) {
  for (;;) {
    const auto due = std::ranges::find_if(working_, [&](const Working& w) { return w.due_us <= now.mono_us; });
    if (due == working_.end()) return;
    const std::string id = due->id;
    working_.erase(due);
    conclude(id, v1::CommandResult::OUTCOME_SUCCEEDED, "", R"({"slept":true})", emit);
  }
}

std::int64_t Duties::next_us() const noexcept {
  std::int64_t next = k_never_us;
  for (const Working& working : working_) next = std::min(next, working.due_us);
  return next;
}

}  // namespace fieldgate::sim
