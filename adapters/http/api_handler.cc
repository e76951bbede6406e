// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/api_handler.h"

#include "adapters/http/list_query.h"
#include "adapters/http/views.h"

namespace fieldgate::http {
namespace {

constexpr std::string_view k_allow = "GET, HEAD, OPTIONS";

Response unauthenticated(const Request& request, bool presented) {
  Response response = make_problem(Problem::unauthenticated, request.id,
                                   presented ? "the bearer token is not known here"
                                             : "send 'Authorization: Bearer TOKEN' with a token of the token file");
  response.headers.emplace_back("WWW-Authenticate", presented ? "Bearer realm=\"fieldgate\", error=\"invalid_token\""
                                                              : "Bearer realm=\"fieldgate\"");
  response.close = true;  // strangers hold no connections
  return response;
}

Response fault(const Request& request, const ParameterFault& fault) {
  return make_problem(fault.problem, request.id, fault.detail, fault.parameter);
}

Response json_answer(std::string body, bool tagged = false) {
  Response response;
  response.body = std::move(body);
  response.tagged = tagged;
  return response;
}

}  // namespace

std::optional<ApiHandler::Route> ApiHandler::route(const std::vector<std::string>& path) {
  if (path.size() == 1 && path[0] == "openapi.json") return Route::openapi;
  if (path.size() < 3 || path[0] != "api" || path[1] != "v1") return std::nullopt;
  if (path.size() == 3) {
    if (path[2] == "devices") return Route::devices;
    if (path[2] == "nodes") return Route::nodes;
    if (path[2] == "lanes") return Route::lanes;
    if (path[2] == "openapi.json") return Route::openapi;
  }
  if (path[2] != "devices") return std::nullopt;
  if (path.size() == 4 && !path[3].empty()) return Route::device;
  if (path.size() == 6 && path[4] == "telemetry" && path[5] == "latest") return Route::latest;
  return std::nullopt;
}

bool ApiHandler::authorised(const Request& request) const {
  const std::string* header = request.head.header("authorization");
  if (header == nullptr || tokens_ == nullptr) return false;
  const std::string* name = tokens_->find(TokenTable::bearer(*header));
  if (name != nullptr) log_.debug("api_request", {{"id", request.id}, {"token", *name}});
  return name != nullptr;
}

void ApiHandler::handle(const Request& request, Respond respond) {
  const std::optional<Route> found = route(request.target.segments);
  const std::string& method = request.head.method;
  if (method == "OPTIONS" && found) {  // a browser's preflight carries no token
    Response response;
    response.status = 204;
    response.headers.emplace_back("Allow", k_allow);
    return respond(std::move(response));
  }
  if (!authorised(request)) {
    return respond(unauthenticated(request, request.head.header("authorization") != nullptr));
  }
  if (!found) {
    return respond(make_problem(Problem::not_found, request.id, "see /openapi.json for the paths there are"));
  }
  if (method != "GET" && method != "HEAD") {
    Response response = make_problem(Problem::method_not_allowed, request.id, method + " is not possible here");
    response.headers.emplace_back("Allow", k_allow);
    return respond(std::move(response));
  }
  answer_get(*found, request, std::move(respond));
}

void ApiHandler::answer_get(Route route, const Request& request, Respond respond) {
  if (route == Route::devices) return respond(list_devices(request));
  if (const auto unknown = refuse_unknown(request.target, {})) return respond(fault(request, *unknown));
  switch (route) {
    case Route::devices: break;  // above
    case Route::device: return ask_live(request, false, std::move(respond));
    case Route::latest: return ask_live(request, true, std::move(respond));
    case Route::nodes: return respond(json_answer(nodes_json(status_.node(), status_.readiness())));
    case Route::lanes: return respond(json_answer(lanes_json(status_.lanes())));
    case Route::openapi: return respond(json_answer(std::string(openapi_document()), true));
  }
}

Response ApiHandler::list_devices(const Request& request) const {
  const auto read = read_list_query(request.target, seal_);
  if (const auto* wrong = std::get_if<ParameterFault>(&read)) return fault(request, *wrong);
  const auto& query = std::get<FleetQuery>(read);
  const std::int64_t now = clock_.unix_ms();
  const FleetPage page = index_.query(query, now);
  std::optional<std::string> next;
  if (page.next) next = seal_.seal(*page.next, query.fingerprint());
  return json_answer(devices_json(page, next, index_, now));
}

void ApiHandler::ask_live(const Request& request, bool latest, Respond respond) {
  const std::string& id = request.target.segments[3];
  const DeviceSummary* known = index_.find(id);
  if (known == nullptr) {
    return respond(make_problem(Problem::device_not_found, request.id,
                                is_valid_name(id) ? "no device '" + id + "' has been seen since the start of this node"
                                                  : "that is not a device id"));
  }
  const std::uint64_t number = next_question_++;
  const DeviceId device = known->id;
  questions_.emplace(number, Question{std::move(respond), device, request.id, latest});
  if (const std::shared_ptr<Loop> loop = loop_.lock()) {
    loop->after(k_live_deadline, [this, number] { conclude(number, false, std::nullopt); });
  }
  live_.detail(device, [this, weak = loop_, number](std::optional<DeviceDetail> detail) {
    const std::shared_ptr<Loop> loop = weak.lock();
    if (loop == nullptr) return;
    loop->post([this, number, detail = std::move(detail)] { conclude(number, true, detail); });
  });
}

void ApiHandler::conclude(std::uint64_t number, bool answered, const std::optional<DeviceDetail>& detail) {
  const auto at = questions_.find(number);
  if (at == questions_.end()) return;  // the other of answer and deadline was first
  const Question question = std::move(at->second);
  questions_.erase(at);
  question.respond(device_answer(question, answered, detail ? &*detail : nullptr));
}

Response ApiHandler::device_answer(const Question& question, bool answered, const DeviceDetail* detail) const {
  const DeviceSummary* device = index_.find(question.device.str());
  // The shard's own word is fresher than the index, unless the device has left since.
  const bool shard_is_newer =
      detail != nullptr && (device == nullptr || detail->summary.epoch > device->epoch ||
                            (detail->summary.epoch == device->epoch && (device->online || !detail->summary.online)));
  if (shard_is_newer) device = &detail->summary;
  if (device == nullptr) {
    return make_problem(Problem::device_not_found, question.request_id, "the device has just been forgotten");
  }
  if (!question.latest)
    return json_answer(device_json(*device, index_.inactive(*device, clock_.unix_ms()), detail), true);
  if (!answered) {
    return make_problem(Problem::live_data_unavailable, question.request_id,
                        "the last values are kept by the device's shard, which is busy; try again");
  }
  return json_answer(latest_json(*device, detail), true);
}

void ApiHandler::apply(FleetInbox::Content news) {
  for (DeviceSummary& device : news.changed) index_.apply(std::move(device));
  for (const SeenUpdate& update : news.seen) index_.apply(update);
}

}  // namespace fieldgate::http
