// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/api_handler.h"

#include "adapters/http/list_query.h"
#include "adapters/http/views.h"

namespace fieldgate::http {
namespace {

Response unauthenticated(const Request& request, bool presented) {
  Response response = make_problem(
      Problem::unauthenticated, request.id,
      presented ? "the bearer token is not known here, or no longer valid" : "send 'Authorization: Bearer TOKEN'");
  response.headers.emplace_back("WWW-Authenticate", presented ? "Bearer realm=\"fieldgate\", error=\"invalid_token\""
                                                              : "Bearer realm=\"fieldgate\"");
  response.close = true;  // strangers hold no connections
  return response;
}

Response forbidden(const Request& request, const TokenHolder& holder, Scope needed) {
  const std::string scope(to_string(needed));
  Response response =
      make_problem(Problem::forbidden, request.id,
                   "the token '" + holder.name + "' has scope " + std::string(to_string(holder.scope)) +
                       ", and this needs " + scope + ": name it on the token's line, or in the JWT's scope");
  response.headers.emplace_back("WWW-Authenticate",
                                "Bearer realm=\"fieldgate\", error=\"insufficient_scope\", scope=\"" + scope + "\"");
  return response;
}

Response json_answer(std::string body, bool tagged = false) {
  Response response;
  response.body = std::move(body);
  response.tagged = tagged;
  return response;
}

}  // namespace

std::optional<TokenHolder> ApiHandler::holder(const Request& request) const {
  const std::string* header = request.head.header("authorization");
  if (header == nullptr || access_ == nullptr) return std::nullopt;
  auto found = access_->identify(TokenTable::bearer(*header), clock_.unix_ms());
  if (found) return std::move(*found);
  log_.info("api_unauthenticated", {{"id", request.id}, {"peer", request.peer}, {"reason", found.error().detail}});
  return std::nullopt;
}

BodyPlan ApiHandler::accepts(const Request& head) {
  const std::optional<TokenHolder> who = holder(head);
  const bool refused = refuse(find_route(head.target.segments), who ? &*who : nullptr, head).has_value();
  return {refused ? BodyMode::none : BodyMode::whole};
}

void ApiHandler::handle(const Request& request, Respond respond) {
  const RouteInfo* route = find_route(request.target.segments);
  const std::string& method = request.head.method;
  if (method == "OPTIONS" && route != nullptr) {  // a browser's preflight carries no token
    Response response;
    response.status = 204;
    response.headers.emplace_back("Allow", route->allow);
    return respond(std::move(response));
  }
  const std::optional<TokenHolder> known = holder(request);
  const TokenHolder* who = known ? &*known : nullptr;
  if (who != nullptr) log_.debug("api_request", {{"id", request.id}, {"token", who->name}});
  std::optional<Response> refusal = refuse(route, who, request);
  if (who != nullptr && route != nullptr && allows(*route, method) && scope_of(method) != Scope::read) {
    if (!refusal) refusal = lanes_.answer(route->route, request);
    audit(request, *who, *refusal);
  }
  if (refusal) return respond(std::move(*refusal));
  answer(route->route, request, std::move(respond));
}

std::optional<Response> ApiHandler::refuse(const RouteInfo* route, const TokenHolder* holder,
                                           const Request& request) const {
  const std::string& method = request.head.method;
  if (holder == nullptr) return unauthenticated(request, request.head.header("authorization") != nullptr);
  if (route == nullptr) {
    return make_problem(Problem::not_found, request.id, "see /openapi.json for the paths there are");
  }
  if (!allows(*route, method)) {
    Response response = make_problem(Problem::method_not_allowed, request.id, method + " is not possible here");
    response.headers.emplace_back("Allow", route->allow);
    return response;
  }
  if (holder->scope < scope_of(method)) return forbidden(request, *holder, scope_of(method));
  if (!request.body.empty()) {
    return make_problem(Problem::unexpected_body, request.id, "nothing here takes a body; send the request without");
  }
  return std::nullopt;
}

void ApiHandler::audit(const Request& request, const TokenHolder& holder, const Response& response) {
  log_.info("api_write", {{"token", holder.name},
                          {"method", request.head.method},
                          {"path", request.head.target},
                          {"outcome", response.status < 300 ? "done" : "refused"},
                          {"status", response.status},
                          {"changed", response.changed},
                          {"peer", request.peer},
                          {"id", request.id}});
}

void ApiHandler::answer(Route route, const Request& request, Respond respond) {
  switch (route) {
    case Route::devices: return respond(list_devices(request));
    case Route::device: return ask_live(request, false, std::move(respond));
    case Route::latest: return ask_live(request, true, std::move(respond));
    case Route::nodes:
    case Route::openapi: break;
    default: return respond(lanes_.answer(route, request));
  }
  if (const auto unknown = refuse_unknown(request.target, {})) return respond(make_problem(*unknown, request.id));
  if (route == Route::openapi) return respond(json_answer(std::string(openapi_document()), true));
  respond(json_answer(nodes_json(status_.node(), status_.readiness())));
}

Response ApiHandler::list_devices(const Request& request) const {
  const auto read = read_list_query(request.target, seal_);
  if (const auto* wrong = std::get_if<ParameterFault>(&read)) return make_problem(*wrong, request.id);
  const auto& query = std::get<FleetQuery>(read);
  const std::int64_t now = clock_.unix_ms();
  const FleetPage page = index_.query(query, now);
  std::optional<std::string> next;
  if (page.next) next = seal_.seal(*page.next, query.fingerprint());
  return json_answer(devices_json(page, next, index_, now));
}

void ApiHandler::ask_live(const Request& request, bool latest, Respond respond) {
  if (const auto unknown = refuse_unknown(request.target, {})) return respond(make_problem(*unknown, request.id));
  const std::string& id = request.target.segments[3];
  const DeviceSummary* known = index_.find(id);
  if (known == nullptr) {
    return respond(
        make_problem(Problem::device_not_found, request.id,
                     is_valid_name(id) ? "no device '" + id + "' is known to this node" : "that is not a device id"));
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
