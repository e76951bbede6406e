// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/command_desk.h"

#include "adapters/http/control_views.h"
#include "adapters/http/json_body.h"
#include "adapters/http/parameters.h"
#include "adapters/http/store_reply.h"
#include "adapters/http/text.h"
#include "adapters/jwt/base64url.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace fieldgate::http {
namespace {

using std::chrono::milliseconds;

Response command_not_found(std::string_view request_id) {
  return make_problem(Problem::command_not_found, request_id,
                      "it has been cleared away some time after its end, or never was");
}

// 200 once the command has ended, else 202.
Response command_answer(const CommandEntry& command) {
  Response response;
  response.status = is_final(command.state) ? 200 : 202;
  response.body = command_json(command);
  response.headers.emplace_back("Location", "/api/v1/commands/" + command.id);
  return response;
}

Response submit_problem(const Error& error, std::string_view request_id, const std::string& device, Log& log) {
  if (auto problem = store_problem(error, request_id, log)) return std::move(*problem);
  switch (static_cast<Errc>(error.code.value())) {
    case Errc::not_found:
      return make_problem(Problem::device_not_found, request_id, "no device '" + device + "' is known here");
    case Errc::conflict:
      return make_problem(Problem::idempotency_conflict, request_id,
                          "the Idempotency-Key was used for another request to this device: use a new one");
    case Errc::full: return make_problem(Problem::queue_full, request_id, error.detail);
    case Errc::too_large: return make_problem(Problem::body_too_large, request_id, error.detail);
    default: return invalid_body(request_id, {{"", error.detail}});
  }
}

std::optional<std::vector<std::byte>> from_base64(std::string_view text) {
  // The padding says nothing that the length does not.
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string url(text);
  if (url.find_first_of("-_") != std::string::npos) return std::nullopt;
  std::replace(url.begin(), url.end(), '+', '-');
  std::replace(url.begin(), url.end(), '/', '_');
  const auto bytes = jwt::from_base64url(url);
  if (!bytes) return std::nullopt;
  std::vector<std::byte> out(bytes->size());
  if (!bytes->empty()) std::memcpy(out.data(), bytes->data(), bytes->size());
  return out;
}

void read_payload(Members& members, CommandRequest& out) {
  const boost::json::value* value = members.take("payload");
  const boost::json::value* text = members.take("payload_base64");
  if (value != nullptr && text != nullptr) return members.fault("payload_base64", "not beside payload");
  if (value != nullptr) {
    const std::string json = compact(*value);
    out.payload.resize(json.size());
    std::memcpy(out.payload.data(), json.data(), json.size());
  }
  if (text == nullptr) return;
  auto bytes = text->is_string() ? from_base64(std::string_view(text->get_string())) : std::nullopt;
  if (!bytes) return members.fault("payload_base64", "want base64 (RFC 4648 section 4)");
  out.payload = std::move(*bytes);
}

CommandRequest read_command(const boost::json::object& body, const DeviceId& device, BodyFaults& faults) {
  CommandRequest out{device, {}, {}, {}, {}, false, {}, {}, {}, {}};
  Members members(body, faults);
  members.fault_if_missing("name", "what the device is to do");
  if (auto name = members.text("name", 1, 256)) {
    if (!is_valid_name(*name)) {
      members.fault("name", "want letters, digits, '.', '_', ':' and '-', at most 128, the first a letter or a digit");
    }
    out.name = std::move(*name);
  }
  read_payload(members, out);
  out.timeout = members.duration("timeout", milliseconds(1), k_duration_max);
  out.ttl = members.duration("ttl", milliseconds(0), k_duration_max);
  out.at_most_once = members.flag("at_most_once").value_or(false);
  members.finish();
  return out;
}

bool is_key(std::string_view text) {
  return !text.empty() && text.size() <= k_idempotency_key_bytes_max &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

constexpr std::array<std::string_view, 1> k_wait_name = {"wait"};

// `wait`, the only parameter; none: 0.
std::variant<milliseconds, ParameterFault> read_wait(const Target& target) {
  if (auto fault = refuse_unknown(target, k_wait_name)) return std::move(*fault);
  if (auto fault = refuse_repeated(target)) return std::move(*fault);
  milliseconds wait{0};
  for (const auto& [name, value] : target.parameters) {
    if (auto fault = read_duration(name, value, milliseconds(0), k_wait_max, wait)) return std::move(*fault);
  }
  return wait;
}

}  // namespace

milliseconds command_patience(const Target& target) {
  for (const auto& [name, value] : target.parameters) {
    if (name == "wait") return std::clamp(parse_duration(value).value_or(milliseconds(0)), milliseconds(0), k_wait_max);
  }
  return milliseconds(0);
}

void CommandDesk::answer(Route route, const Request& request, const TokenHolder& who, Handler::Respond respond) {
  if (ports_.control.commands == nullptr) return respond(no_store(request.id));
  const std::string& method = request.head.method;
  if (route == Route::device_commands) {
    return method == "POST" ? submit(request, who, std::move(respond)) : list(request, std::move(respond));
  }
  return method == "DELETE" ? cancel(request, who, std::move(respond)) : show(request, std::move(respond));
}

void CommandDesk::submit(const Request& request, const TokenHolder& who, Handler::Respond respond) {
  const auto wait = read_wait(request.target);
  if (const auto* wrong = std::get_if<ParameterFault>(&wait)) return respond(make_problem(*wrong, request.id));
  const std::string* key = request.head.header("idempotency-key");
  if (key != nullptr && !is_key(*key)) {
    return respond(make_problem(
        Problem::invalid_header, request.id,
        "Idempotency-Key: want 1 to " + std::to_string(k_idempotency_key_bytes_max) + " visible ASCII characters"));
  }
  const Result<DeviceId> device = DeviceId::parse(request.target.segments[3]);
  if (!device) return respond(make_problem(Problem::device_not_found, request.id, "that is not a device id"));
  auto body = read_object(request, false);
  if (auto* refusal = std::get_if<Response>(&body)) return respond(std::move(*refusal));
  BodyFaults faults;
  CommandRequest wanted = read_command(std::get<boost::json::object>(body), *device, faults);
  if (!faults.empty()) return respond(invalid_body(request.id, faults));
  if (key != nullptr) wanted.idempotency_key = *key;
  wanted.source = who.by();
  ports_.control.commands->submit(
      std::move(wanted), on_loop<Commands::Accepted>(
                             loop_, k_store_deadline,
                             [this, id = device->str(), wait = std::get<milliseconds>(wait), request_id = request.id,
                              respond = std::move(respond)](const Result<Commands::Accepted>& outcome) {
                               if (!outcome)
                                 return respond(submit_problem(outcome.error(), request_id, id, ports_.log));
                               accepted(*outcome, wait, request_id, respond);
                             }));
}

void CommandDesk::accepted(const Commands::Accepted& accepted, milliseconds wait, std::string request_id,
                           Handler::Respond respond) {
  const bool fresh = accepted.fresh;
  const auto answer = [fresh](const CommandEntry& command) {
    Response response = command_answer(command);
    if (!fresh) response.headers.emplace_back("Idempotent-Replay", "true");
    response.changed = fresh ? 1 : 0;
    return response;
  };
  if (wait.count() == 0 || is_final(accepted.command.state)) return respond(answer(accepted.command));
  // It is in the ledger: whatever becomes of the waiting, that is the answer.
  ports_.control.commands->wait(
      accepted.command.id, wait,
      on_loop<CommandEntry>(
          loop_, wait + k_store_deadline,
          [answer, as_it_was = accepted.command, id = std::move(request_id), respond = std::move(respond)](
              const Result<CommandEntry>& command) { respond(answer(command ? *command : as_it_was)); }));
}

void CommandDesk::list(const Request& request, Handler::Respond respond) {
  const std::string& id = request.target.segments[3];
  auto page = read_page(request.target, "commands\n" + id, k_commands_on_a_page, seal_);
  if (const auto* wrong = std::get_if<ParameterFault>(&page)) return respond(make_problem(*wrong, request.id));
  const auto device = index_.find(id, ports_.clock.unix_ms());
  if (!device) return respond(make_problem(Problem::device_not_found, request.id, "no such device is known here"));
  PageRequest& wanted = std::get<PageRequest>(page);
  const std::string before = wanted.after ? wanted.after->text : std::string();
  ports_.control.commands->list(
      device->id, before, wanted.limit + 1,
      on_loop<std::vector<CommandEntry>>(
          loop_, k_store_deadline,
          [this, wanted, id, request_id = request.id,
           respond = std::move(respond)](Result<std::vector<CommandEntry>> commands) {
            if (!commands && wanted.after && commands.error().code == Errc::not_found) {
              return respond(make_problem(
                  Problem::invalid_cursor, request_id,
                  "the command that the page ended with is there no more; begin without a cursor", "cursor"));
            }
            if (!commands) return respond(submit_problem(commands.error(), request_id, id, ports_.log));
            std::optional<std::string> next;
            if (commands->size() > wanted.limit) {
              commands->erase(commands->begin() + static_cast<std::ptrdiff_t>(wanted.limit), commands->end());
              next = seal_.seal({0, id, commands->back().id}, wanted.fingerprint);
            }
            Response response;
            response.body = commands_json(*commands, next);
            respond(std::move(response));
          }));
}

void CommandDesk::show(const Request& request, Handler::Respond respond) {
  const auto wait = read_wait(request.target);
  if (const auto* wrong = std::get_if<ParameterFault>(&wait)) return respond(make_problem(*wrong, request.id));
  const milliseconds patience = std::get<milliseconds>(wait);
  const std::string& id = request.target.segments[3];
  const Reply<CommandEntry> reply = on_loop<CommandEntry>(
      loop_, patience + k_store_deadline,
      [this, request_id = request.id, respond = std::move(respond)](const Result<CommandEntry>& command) {
        if (!command) {
          auto problem = store_problem(command.error(), request_id, ports_.log);
          if (!problem && command.error().code == Errc::full) {
            problem = make_problem(Problem::queue_full, request_id, command.error().detail);
          }
          return respond(problem ? std::move(*problem) : command_not_found(request_id));
        }
        Response response;
        response.body = command_json(*command);
        respond(std::move(response));
      });
  if (patience.count() == 0) return ports_.control.commands->get(id, reply);
  ports_.control.commands->wait(id, patience, reply);
}

void CommandDesk::cancel(const Request& request, const TokenHolder& who, Handler::Respond respond) {
  if (const auto unknown = refuse_unknown(request.target, {})) return respond(make_problem(*unknown, request.id));
  ports_.control.commands->cancel(
      request.target.segments[3], who.by(),
      on_loop<CommandEntry>(
          loop_, k_store_deadline,
          [this, request_id = request.id, respond = std::move(respond)](const Result<CommandEntry>& command) {
            if (command) {
              Response response = command_answer(*command);
              response.changed = 1;
              return respond(std::move(response));
            }
            auto problem = store_problem(command.error(), request_id, ports_.log);
            if (!problem && command.error().code == Errc::conflict) {
              problem = make_problem(Problem::command_ended, request_id,
                                     "there is nothing to cancel any more: look at its state");
            }
            respond(problem ? std::move(*problem) : command_not_found(request_id));
          }));
}

}  // namespace fieldgate::http
