// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/lane_desk.h"

#include "adapters/http/lane_views.h"
#include "adapters/http/parameters.h"

#include <stdexcept>

namespace fieldgate::http {
namespace {

constexpr std::size_t k_prefix = 2;  // segments: "api", "v1"; then the collection, then the name or id

Response json_answer(std::string body) {
  Response response;
  response.body = std::move(body);
  return response;
}

// Why a letter that was there could not be sent again.
Problem problem_of(const Error& error) {
  if (error.code == Errc::not_found) return Problem::lane_not_found;
  if (error.code == Errc::invalid_argument) return Problem::not_replayable;
  if (error.code == Errc::full) return Problem::log_full;
  if (error.code == Errc::unavailable) return Problem::log_unavailable;
  return Problem::internal_error;
}

std::string_view advice(Problem problem) {
  switch (problem) {
    case Problem::lane_not_found:
      return "the lane that refused it is not configured any more: configure it again, or delete the dead letter";
    case Problem::not_replayable:
      return "the dead letter is kept; change the lane's max_age or filter, or delete the dead letter";
    case Problem::log_full: return "the dead letter is kept; try again when the lanes have caught up";
    case Problem::log_unavailable:
      return "the dead letter is kept; /readyz says what is wrong with the log, and the process must start anew";
    default: return "the log has more under this request's id";
  }
}

Response refusal(const Request& request, const Error& error) {
  const Problem problem = problem_of(error);
  std::string detail = error.detail;
  if (!detail.empty()) detail += "; ";
  return make_problem(problem, request.id, detail.append(advice(problem)));
}

Response letter_not_found(const Request& request, bool is_id) {
  return make_problem(Problem::dead_letter_not_found, request.id,
                      is_id ? "it was sent again, deleted or given up for want of room, or never was"
                            : "that is not the id of a dead letter");
}

}  // namespace

Response LaneDesk::answer(Route route, const Request& request) {
  if (route == Route::dead_letters) {
    return request.head.method == "DELETE" ? do_all(request, &LaneControl::discard_all) : list_letters(request);
  }
  if (route == Route::dead_letters_replay) return do_all(request, &LaneControl::replay_all);
  if (const auto unknown = refuse_unknown(request.target, {})) return make_problem(*unknown, request.id);
  switch (route) {
    case Route::lanes: return json_answer(lanes_json(status_.lanes(), control_.dead_letters().usage()));
    case Route::lane: return show_lane(request);
    case Route::lane_pause: return turn_lane(request, &LaneControl::pause);
    case Route::lane_resume: return turn_lane(request, &LaneControl::resume);
    case Route::dead_letter:
      return request.head.method == "DELETE" ? do_one(request, &LaneControl::discard) : show_letter(request);
    case Route::dead_letter_replay: return do_one(request, &LaneControl::replay);
    default: throw std::logic_error("a route of another part");
  }
}

Response LaneDesk::show_lane(const Request& request) const {
  const std::string& name = request.target.segments[k_prefix + 1];
  for (const LaneStatus& lane : status_.lanes()) {
    if (lane.name == name) return json_answer(lane_json(lane, control_.dead_letters().usage()));
  }
  return lane_not_found(request);
}

Response LaneDesk::turn_lane(const Request& request, Step step) {
  const Result<void> done = (control_.*step)(request.target.segments[k_prefix + 1]);
  if (done) {
    Response response = show_lane(request);
    response.changed = 1;
    return response;
  }
  return done.error().code == Errc::not_found ? lane_not_found(request) : refusal(request, done.error());
}

Response LaneDesk::lane_not_found(const Request& request) const {
  std::string names;
  for (const LaneStatus& lane : status_.lanes()) names += (names.empty() ? "" : ", ") + lane.name;
  return make_problem(Problem::lane_not_found, request.id,
                      names.empty() ? "no lanes are configured" : "the lanes are: " + names);
}

Response LaneDesk::list_letters(const Request& request) const {
  const auto read = read_dead_letter_request(request.target, seal_, false);
  if (const auto* wrong = std::get_if<ParameterFault>(&read)) return make_problem(*wrong, request.id);
  const auto& wanted = std::get<DeadLetterRequest>(read);
  const DeadLetterPage page = control_.dead_letters().list(wanted.query);
  std::optional<std::string> next;
  if (page.next_after != 0) next = dead_letter_cursor(wanted, page.next_after, seal_);
  return json_answer(dead_letters_json(page, next));
}

Response LaneDesk::show_letter(const Request& request) const {
  const auto id = read_dead_letter_id(request.target.segments[k_prefix + 1]);
  const auto letter = id ? control_.dead_letters().find(*id) : std::nullopt;
  return letter ? json_answer(dead_letter_json(*letter)) : letter_not_found(request, id.has_value());
}

Response LaneDesk::do_one(const Request& request, One act) {
  const auto id = read_dead_letter_id(request.target.segments[k_prefix + 1]);
  if (!id) return letter_not_found(request, false);
  const Result<void> done = (control_.*act)(*id);
  if (!done) {
    // Errc::not_found means either; a letter that is still there lacks its lane.
    const bool gone = done.error().code == Errc::not_found && !control_.dead_letters().find(*id);
    return gone ? letter_not_found(request, true) : refusal(request, done.error());
  }
  Response response;
  response.status = 204;
  response.changed = 1;
  return response;
}

// A letter that is sent again and refused again comes back as a new one: whoever goes
// on while there are more would never come to an end.
bool LaneDesk::any_older(const DeadLetterRequest& wanted, std::uint64_t after) const {
  DeadLetterQuery next = wanted.query;
  next.after = after;
  next.limit = 1;
  const DeadLetterPage page = control_.dead_letters().list(next);
  return !page.letters.empty() && page.letters.front().refused_unix_ms <= wanted.begun_unix_ms;
}

Response LaneDesk::do_all(const Request& request, All act) {
  auto read = read_dead_letter_request(request.target, seal_, true);
  if (const auto* wrong = std::get_if<ParameterFault>(&read)) return make_problem(*wrong, request.id);
  auto& wanted = std::get<DeadLetterRequest>(read);
  const DeadLetterQuery& query = wanted.query;
  if (wanted.begun_unix_ms == 0) wanted.begun_unix_ms = clock_.unix_ms();
  const LaneControl::Bulk bulk = (control_.*act)(query);
  if (bulk.done == 0 && bulk.next_after == query.after && bulk.stopped) return refusal(request, *bulk.stopped);
  std::optional<std::string> next;
  if (bulk.next_after != 0 && any_older(wanted, bulk.next_after)) {
    next = dead_letter_cursor(wanted, bulk.next_after, seal_);
  }
  std::string_view stopped;
  if (bulk.stopped) stopped = problems()[static_cast<std::size_t>(problem_of(*bulk.stopped))].type;
  Response response = json_answer(done_json(bulk.done, next, stopped));
  response.changed = bulk.done;
  return response;
}

}  // namespace fieldgate::http
