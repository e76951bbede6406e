// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/api_handler.h"

#include "adapters/http/overview_view.h"

#include "adapters/http/assets.h"
#include "adapters/http/parameters.h"
#include "adapters/http/store_reply.h"

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
                   "'" + holder.by() + "' has scope " + std::string(to_string(holder.scope)) + ", and this needs " +
                       scope + ": name it on the token's line, or in the JWT's scope");
  response.headers.emplace_back("WWW-Authenticate",
                                "Bearer realm=\"fieldgate\", error=\"insufficient_scope\", scope=\"" + scope + "\"");
  return response;
}

}  // namespace

Result<TokenHolder> ApiHandler::holder(const Request& request) const {
  const std::string* header = request.head.header("authorization");
  if (header == nullptr || access_ == nullptr) return make_error(Errc::unauthenticated, "no bearer token");
  return access_->identify(TokenTable::bearer(*header), ports_.clock.unix_ms());
}

BodyPlan ApiHandler::accepts(const Request& head) {
  const RouteInfo* route = find_route(head.target.segments);
  const Result<TokenHolder> who = holder(head);
  if (refuse(route, who ? &*who : nullptr, head)) return {BodyMode::none, 0};
  // One that nothing takes is read nevertheless, so that the connection can go on.
  return takes_body(*route, head.head.method) ? route->body : BodyPlan{};
}

std::chrono::milliseconds ApiHandler::patience(const Request& request) {
  return k_store_patience + command_patience(request.target);
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
  if (route != nullptr && route->route == Route::page && allows(*route, method)) return respond(show_page(request));
  const Result<TokenHolder> known = holder(request);
  const TokenHolder* who = known ? &*known : nullptr;
  if (who == nullptr && request.head.header("authorization") != nullptr) {
    ports_.log.info("api_unauthenticated",
                    {{"id", request.id}, {"peer", request.peer}, {"reason", known.error().detail}});
  }
  if (who != nullptr) ports_.log.debug("api_request", {{"id", request.id}, {"by", who->by()}});
  if (who != nullptr && route != nullptr && allows(*route, method) && is_change(method)) {
    respond = audited(request, *who, std::move(respond));
  }
  if (std::optional<Response> refusal = refuse(route, who, request)) return respond(std::move(*refusal));
  if (!request.body.empty() && !takes_body(*route, method)) {
    return respond(
        make_problem(Problem::unexpected_body, request.id, "this takes no body; send the request without one"));
  }
  answer(route->route, request, *who, std::move(respond));
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
  const Scope needed = scope_of(*route, method);
  if (holder->scope < needed) return forbidden(request, *holder, needed);
  return std::nullopt;
}

Handler::Respond ApiHandler::audited(const Request& request, const TokenHolder& holder, Respond respond) const {
  return [&log = ports_.log, by = holder.by(), method = request.head.method, path = request.head.target,
          peer = request.peer, id = request.id, respond = std::move(respond)](Response response) {
    // A store that does not answer may still have done it.
    const std::string_view outcome = response.status < 300 ? "done" : response.status == 503 ? "unknown" : "refused";
    // The log lets so many lines of one event through in a second: what is refused, and who may only look can ask
    // for it without end, must not keep out what was done.
    const std::string_view event = outcome == "refused" ? "api_write_refused" : "api_write";
    log.info(event, {{"by", by},
                     {"method", method},
                     {"path", path},
                     {"outcome", outcome},
                     {"status", response.status},
                     {"changed", response.changed},
                     {"peer", peer},
                     {"id", id}});
    respond(std::move(response));
  };
}

Response ApiHandler::show_page(const Request& request) const {
  const Asset* asset = dashboard_ ? find_asset(request.head.target.substr(0, request.head.target.find('?'))) : nullptr;
  if (asset != nullptr) return asset_response(*asset, request);
  return make_problem(Problem::not_found, request.id,
                      dashboard_ ? "there is no such page" : "the dashboard is turned off: see api.dashboard");
}

void ApiHandler::answer(Route route, const Request& request, const TokenHolder& who, Respond respond) {
  switch (route) {
    case Route::devices:
    case Route::device:
      if (is_change(request.head.method)) return registry_.answer(route, request, who, std::move(respond));
      return fleet_.answer(route, request, std::move(respond));
    case Route::latest:
    case Route::nodes: return fleet_.answer(route, request, std::move(respond));
    case Route::devices_import:
    case Route::devices_export:
    case Route::session:
    case Route::credentials:
    case Route::credential: return registry_.answer(route, request, who, std::move(respond));
    case Route::device_commands:
    case Route::command: return commands_.answer(route, request, who, std::move(respond));
    case Route::twin:
    case Route::twin_desired: return twins_.answer(route, request, who, std::move(respond));
    case Route::timeline:
    case Route::presence:
    case Route::refusals: return timelines_.answer(route, request, std::move(respond));
    case Route::openapi: return respond(show_document(request));
    case Route::overview: return respond(show_overview(request, who));
    case Route::stream: return respond(stream_.open(request, who));
    default: return respond(lanes_.answer(route, request));
  }
}

Response ApiHandler::show_overview(const Request& request, const TokenHolder& who) const {
  if (const auto unknown = refuse_unknown(request.target, {})) return make_problem(*unknown, request.id);
  OverviewParts parts;
  parts.unix_ms = ports_.clock.unix_ms();
  parts.node = ports_.status.node();
  parts.overview = ports_.status.overview();
  parts.readiness = ports_.status.readiness();
  parts.fleet = fleet_.index().counts(parts.unix_ms);
  parts.lanes = ports_.status.lanes();
  parts.dead_letters = ports_.lanes.dead_letters().usage();
  if (ports_.control.store) parts.store = ports_.control.store();
  parts.stream_subscribers = stream_.subscribers();
  parts.asker = who;
  Response response;
  response.body = overview_json(parts);
  return response;
}

Response ApiHandler::show_document(const Request& request) const {
  if (const auto unknown = refuse_unknown(request.target, {})) return make_problem(*unknown, request.id);
  Response response;
  response.body = openapi_document();
  response.tagged = true;
  return response;
}

}  // namespace fieldgate::http
