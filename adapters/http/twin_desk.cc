// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/twin_desk.h"

#include "adapters/http/conditions.h"
#include "adapters/http/control_views.h"
#include "adapters/http/json_body.h"
#include "adapters/http/parameters.h"
#include "adapters/http/store_reply.h"

#include <utility>

namespace fieldgate::http {
namespace {

Response twin_answer(const Twin& twin, std::string_view request_id) {
  Response response;
  response.body = twin_json(twin);
  if (response.body.empty()) {
    return make_problem(Problem::internal_error, request_id, "the twin in the store is not JSON");
  }
  response.headers.emplace_back("ETag", "\"d" + std::to_string(twin.desired_version) + "\"");
  return response;
}

Response twin_problem(const Error& error, std::string_view request_id, const std::string& id, Log& log) {
  if (auto problem = store_problem(error, request_id, log)) return std::move(*problem);
  if (error.code == Errc::not_found) {
    return make_problem(Problem::device_not_found, request_id, "no device '" + id + "' is known here");
  }
  if (error.code == Errc::conflict) {
    return make_problem(Problem::precondition_failed, request_id,
                        "the desired document has changed since: read the twin again, then decide anew");
  }
  if (error.code == Errc::too_large) return make_problem(Problem::body_too_large, request_id, error.detail);
  return invalid_body(request_id, {{"", error.detail}});
}

}  // namespace

void TwinDesk::answer(Route route, const Request& request, const TokenHolder& who, Handler::Respond respond) {
  if (ports_.control.twins == nullptr) return respond(no_store(request.id));
  if (const auto unknown = refuse_unknown(request.target, {})) return respond(make_problem(*unknown, request.id));
  const Result<DeviceId> id = DeviceId::parse(request.target.segments[3]);
  if (!id) return respond(make_problem(Problem::device_not_found, request.id, "that is not a device id"));
  if (route == Route::twin_desired) return set_desired(request, *id, who.by(), std::move(respond));
  ports_.control.twins->get(*id, on_loop<Twin>(loop_, k_store_deadline,
                                               [this, id = id->str(), request_id = request.id,
                                                respond = std::move(respond)](const Result<Twin>& twin) {
                                                 respond(twin ? twin_answer(*twin, request_id)
                                                              : twin_problem(twin.error(), request_id, id, ports_.log));
                                               }));
}

void TwinDesk::set_desired(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond) {
  Conditions conditions = read_conditions(request.head, 'd');
  if (conditions.must_be_new) conditions.fault = "If-None-Match: every device has a desired document, if an empty one";
  if (!conditions.fault.empty()) return respond(make_problem(Problem::invalid_header, request.id, conditions.fault));
  const bool patch = request.head.method == "PATCH";
  auto body = read_object(request, patch);
  if (auto* refusal = std::get_if<Response>(&body)) return respond(std::move(*refusal));
  if (conditions.cannot_hold) {
    return respond(make_problem(Problem::precondition_failed, request.id, "no desired document has that entity tag"));
  }
  ports_.control.twins->set_desired(
      id, compact(std::get<boost::json::object>(body)), patch, conditions.expected, std::move(by),
      on_loop<Twin>(
          loop_, k_store_deadline,
          [this, id = id.str(), request_id = request.id, respond = std::move(respond)](const Result<Twin>& twin) {
            if (!twin) return respond(twin_problem(twin.error(), request_id, id, ports_.log));
            Response response = twin_answer(*twin, request_id);
            response.changed = 1;
            respond(std::move(response));
          }));
}

}  // namespace fieldgate::http
