// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/timeline_desk.h"

#include "adapters/http/control_views.h"
#include "adapters/http/parameters.h"
#include "adapters/http/store_reply.h"

#include <array>
#include <utility>

namespace fieldgate::http {
namespace {

Response unknown_device(std::string_view request_id) {
  return make_problem(Problem::device_not_found, request_id, "no such device is known here");
}

Response list_problem(const Error& error, std::string_view request_id, Log& log) {
  auto problem = store_problem(error, request_id, log);
  return problem ? std::move(*problem) : unknown_device(request_id);
}

// Cuts a list that was asked for one entry more than the page has, and says where the
// next page begins: after the last one's number.
template <class T>
std::optional<std::string> cut(std::vector<T>& list, const PageRequest& wanted, const std::string& id,
                               const CursorSeal& seal) {
  if (list.size() <= wanted.limit) return std::nullopt;
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(wanted.limit), list.end());
  return seal.seal({static_cast<std::int64_t>(list.back().number), id, {}}, wanted.fingerprint);
}

std::uint64_t number_of(const PageRequest& wanted) {
  return wanted.after ? static_cast<std::uint64_t>(wanted.after->key) : 0;
}

}  // namespace

void TimelineDesk::answer(Route route, const Request& request, Handler::Respond respond) {
  if (ports_.control.timelines == nullptr) return respond(no_store(request.id));
  if (route == Route::refusals) return respond(list_refusals(request));
  if (route == Route::presence) return list_presence(request, std::move(respond));
  list_timeline(request, std::move(respond));
}

void TimelineDesk::list_timeline(const Request& request, Handler::Respond respond) {
  const std::string& id = request.target.segments[3];
  const auto page = read_page(request.target, "timeline\n" + id, k_timeline_page, seal_);
  if (const auto* wrong = std::get_if<ParameterFault>(&page)) return respond(make_problem(*wrong, request.id));
  const auto device = index_.find(id, ports_.clock.unix_ms());
  if (!device) return respond(unknown_device(request.id));
  const auto& wanted = std::get<PageRequest>(page);
  ports_.control.timelines->timeline(
      device->id, number_of(wanted), wanted.limit + 1,
      on_loop<std::vector<TimelineEntry>>(loop_, k_store_deadline,
                                          [this, wanted, id, request_id = request.id,
                                           respond = std::move(respond)](Result<std::vector<TimelineEntry>> entries) {
                                            if (!entries)
                                              return respond(list_problem(entries.error(), request_id, ports_.log));
                                            const auto next = cut(*entries, wanted, id, seal_);
                                            Response response;
                                            response.body = timeline_json(*entries, next);
                                            respond(std::move(response));
                                          }));
}

void TimelineDesk::list_presence(const Request& request, Handler::Respond respond) {
  const std::string& id = request.target.segments[3];
  const auto page = read_page(request.target, "presence\n" + id, k_timeline_page, seal_);
  if (const auto* wrong = std::get_if<ParameterFault>(&page)) return respond(make_problem(*wrong, request.id));
  const auto device = index_.find(id, ports_.clock.unix_ms());
  if (!device) return respond(unknown_device(request.id));
  const auto& wanted = std::get<PageRequest>(page);
  ports_.control.timelines->presence(
      device->id, number_of(wanted), wanted.limit + 1,
      on_loop<std::vector<PresenceEvent>>(loop_, k_store_deadline,
                                          [this, wanted, id, request_id = request.id,
                                           respond = std::move(respond)](Result<std::vector<PresenceEvent>> events) {
                                            if (!events)
                                              return respond(list_problem(events.error(), request_id, ports_.log));
                                            const auto next = cut(*events, wanted, id, seal_);
                                            Response response;
                                            response.body = presence_json(*events, next);
                                            respond(std::move(response));
                                          }));
}

Response TimelineDesk::list_refusals(const Request& request) {
  constexpr std::array<std::string_view, 1> k_names = {"limit"};
  if (const auto unknown = refuse_unknown(request.target, k_names)) return make_problem(*unknown, request.id);
  if (const auto twice = refuse_repeated(request.target)) return make_problem(*twice, request.id);
  std::size_t limit = 100;
  for (const auto& [name, value] : request.target.parameters) {
    if (const auto wrong = read_limit(value, k_timeline_page, limit)) return make_problem(*wrong, request.id);
  }
  Response response;
  response.body = refusals_json(ports_.control.timelines->refusals(limit));
  return response;
}

}  // namespace fieldgate::http
