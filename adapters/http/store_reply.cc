// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/store_reply.h"

namespace fieldgate::http {

std::optional<Response> store_problem(const Error& error, std::string_view request_id, Log& log) {
  if (error.code == Errc::unavailable) return make_problem(Problem::store_unavailable, request_id, error.detail);
  if (error.code == Errc::timed_out) {
    return make_problem(Problem::store_unavailable, request_id,
                        "the store has not answered in time; a change may have been made or not: look before you "
                        "repeat it");
  }
  if (error.code == Errc::unsupported) return no_store(request_id);
  const bool known = error.code == Errc::not_found || error.code == Errc::conflict || error.code == Errc::full ||
                     error.code == Errc::invalid_argument || error.code == Errc::too_large;
  if (known) return std::nullopt;
  log.error("api_store_error", {{"id", request_id}, {"error", error.code.message()}, {"detail", error.detail}});
  return make_problem(Problem::internal_error, request_id, "the log has more under this request's id");
}

Response no_store(std::string_view request_id) {
  return make_problem(Problem::no_store, request_id, "store.kind is none: set it to sqlite or postgres");
}

}  // namespace fieldgate::http
