// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/registry_desk.h"

#include "adapters/http/conditions.h"
#include "adapters/http/control_views.h"
#include "adapters/http/parameters.h"
#include "adapters/http/registry_body.h"
#include "adapters/http/registry_transfer.h"
#include "adapters/http/store_reply.h"
#include "adapters/http/views.h"

#include <stdexcept>
#include <utility>

namespace fieldgate::http {
namespace {

Response not_registered(std::string_view request_id, const std::string& id) {
  return make_problem(Problem::device_not_found, request_id, "no device '" + id + "' is in the registry");
}

Response precondition_failed(std::string_view request_id, std::string_view detail) {
  return make_problem(Problem::precondition_failed, request_id, detail);
}

// What stands in the way of a change of a registry entry.
Response entry_problem(const Error& error, std::string_view request_id, const std::string& id,
                       const Conditions& conditions, Log& log) {
  if (auto problem = store_problem(error, request_id, log)) return std::move(*problem);
  if (error.code == Errc::not_found) {
    return conditions.must_exist || conditions.expected
               ? precondition_failed(request_id, "no device '" + id + "' is in the registry")
               : not_registered(request_id, id);
  }
  if (error.code == Errc::conflict) {
    return precondition_failed(request_id, conditions.must_be_new
                                               ? "the device is in the registry already"
                                               : "the entry has changed since: read it again, then decide anew");
  }
  if (error.code == Errc::too_large) return make_problem(Problem::body_too_large, request_id, error.detail);
  return invalid_body(request_id, {{"", error.detail}});
}

Response entry_answer(const DeviceEntry& entry, bool created) {
  Response response;
  response.status = created ? 201 : 200;
  response.body = entry_json(entry);
  response.headers.emplace_back("ETag", revision_tag(entry.revision));
  if (created) response.headers.emplace_back("Location", "/api/v1/devices/" + entry.id.str());
  response.changed = 1;
  return response;
}

Response done() {
  Response response;
  response.status = 204;
  response.changed = 1;
  return response;
}

Response credential_problem(const Error& error, std::string_view request_id, const std::string& id, Log& log) {
  if (auto problem = store_problem(error, request_id, log)) return std::move(*problem);
  if (error.code == Errc::not_found) return not_registered(request_id, id);
  if (error.code == Errc::conflict) {
    return make_problem(Problem::credential_taken, request_id, "a device has a credential with that hash already");
  }
  if (error.code == Errc::full) {
    return make_problem(Problem::too_many_credentials, request_id,
                        "at most " + std::to_string(k_credentials_per_device_max) + ": delete one that is not used");
  }
  if (error.code == Errc::too_large) return make_problem(Problem::body_too_large, request_id, error.detail);
  return invalid_body(request_id, {{"", error.detail}});
}

}  // namespace

void RegistryDesk::answer(Route route, const Request& request, const TokenHolder& who, Handler::Respond respond) {
  if (route == Route::session ? ports_.downlink == nullptr : ports_.control.registry == nullptr) {
    return respond(no_store(request.id));
  }
  if (route == Route::devices_import) return respond(import(request, who.by()));
  if (const auto unknown = refuse_unknown(request.target, {})) return respond(make_problem(*unknown, request.id));
  if (route == Route::devices_export) return respond(export_all(request));

  const Result<DeviceId> id = DeviceId::parse(request.target.segments[3]);
  if (!id) return respond(make_problem(Problem::device_not_found, request.id, "that is not a device id"));
  const std::string& method = request.head.method;
  std::string by = who.by();
  switch (route) {
    case Route::device:
      if (method == "PUT") return put(request, *id, std::move(by), std::move(respond));
      if (method == "PATCH") return patch(request, *id, std::move(by), std::move(respond));
      return remove(request, *id, std::move(by), std::move(respond));
    case Route::session: return kick(request, *id, std::move(respond));
    case Route::credentials:
      if (method == "POST") return add_credential(request, *id, std::move(by), std::move(respond));
      return list_credentials(request, *id, std::move(respond));
    case Route::credential: return remove_credential(request, *id, std::move(by), std::move(respond));
    default: throw std::logic_error("a route of another part");
  }
}

bool RegistryDesk::is_registered(const DeviceId& id) const {
  const auto device = index_.find(id.str(), ports_.clock.unix_ms());
  return device && device->registry != nullptr;
}

void RegistryDesk::put(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond) {
  const Conditions conditions = read_conditions(request.head, 'r');
  if (!conditions.fault.empty()) return respond(make_problem(Problem::invalid_header, request.id, conditions.fault));
  auto body = read_object(request, false);
  if (auto* refusal = std::get_if<Response>(&body)) return respond(std::move(*refusal));
  BodyFaults faults;
  Members members(std::get<boost::json::object>(body), faults);
  DevicePatch wanted = read_entry(members, faults);
  members.finish();
  if (!faults.empty()) return respond(invalid_body(request.id, faults));
  if (conditions.cannot_hold) return respond(precondition_failed(request.id, "no entry has that entity tag"));

  const PutMode mode = conditions.must_be_new ? PutMode::create : PutMode::replace;
  const bool known = is_registered(id);
  if (conditions.must_exist && !known) {
    return respond(precondition_failed(request.id, "no device '" + id.str() + "' is in the registry"));
  }
  ports_.control.registry->put(
      id, std::move(wanted), mode, conditions.expected, std::move(by),
      on_loop<DeviceEntry>(loop_, k_store_deadline,
                           [this, id, known, conditions, request_id = request.id,
                            respond = std::move(respond)](const Result<DeviceEntry>& entry) {
                             if (!entry)
                               return respond(
                                   entry_problem(entry.error(), request_id, id.str(), conditions, ports_.log));
                             index_.apply(RegistryChange{id, entry->revision, *entry});
                             respond(entry_answer(*entry, !known && entry->created_unix_ms == entry->updated_unix_ms));
                           }));
}

void RegistryDesk::patch(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond) {
  Conditions conditions = read_conditions(request.head, 'r');
  if (conditions.must_be_new) conditions.fault = "If-None-Match: there is nothing to change in what is not there";
  if (!conditions.fault.empty()) return respond(make_problem(Problem::invalid_header, request.id, conditions.fault));
  auto body = read_object(request, true);
  if (auto* refusal = std::get_if<Response>(&body)) return respond(std::move(*refusal));
  BodyFaults faults;
  DevicePatch wanted = read_entry_patch(std::get<boost::json::object>(body), faults);
  if (!faults.empty()) return respond(invalid_body(request.id, faults));
  if (conditions.cannot_hold) return respond(precondition_failed(request.id, "no entry has that entity tag"));
  ports_.control.registry->put(id, std::move(wanted), PutMode::update, conditions.expected, std::move(by),
                               on_loop<DeviceEntry>(loop_, k_store_deadline,
                                                    [this, id, conditions, request_id = request.id,
                                                     respond = std::move(respond)](const Result<DeviceEntry>& entry) {
                                                      if (!entry)
                                                        return respond(entry_problem(entry.error(), request_id,
                                                                                     id.str(), conditions, ports_.log));
                                                      index_.apply(RegistryChange{id, entry->revision, *entry});
                                                      respond(entry_answer(*entry, false));
                                                    }));
}

void RegistryDesk::remove(const Request& request, const DeviceId& id, std::string by, Handler::Respond respond) {
  Conditions conditions = read_conditions(request.head, 'r');
  if (conditions.must_be_new) conditions.fault = "If-None-Match: there is nothing to delete in what is not there";
  if (!conditions.fault.empty()) return respond(make_problem(Problem::invalid_header, request.id, conditions.fault));
  if (conditions.cannot_hold) return respond(precondition_failed(request.id, "no entry has that entity tag"));
  ports_.control.registry->remove(
      id, conditions.expected, std::move(by),
      on_loop<std::uint64_t>(loop_, k_store_deadline,
                             [this, id, conditions, request_id = request.id,
                              respond = std::move(respond)](const Result<std::uint64_t>& revision) {
                               if (!revision)
                                 return respond(
                                     entry_problem(revision.error(), request_id, id.str(), conditions, ports_.log));
                               index_.apply(RegistryChange{id, *revision, std::nullopt});
                               respond(done());
                             }));
}

void RegistryDesk::kick(const Request& request, const DeviceId& id, Handler::Respond respond) {
  const Reply<bool> reply = on_loop<bool>(
      loop_, k_store_deadline,
      [this, id, request_id = request.id, respond = std::move(respond)](const Result<bool>& there) {
        if (!there && there.error().code != Errc::timed_out) {
          if (auto problem = store_problem(there.error(), request_id, ports_.log)) return respond(std::move(*problem));
        }
        if (!there) {
          return respond(make_problem(Problem::live_data_unavailable, request_id,
                                      "the device's shard has not answered; the connection may end or not"));
        }
        if (*there) return respond(done());
        respond(make_problem(Problem::device_offline, request_id, "'" + id.str() + "' is not connected"));
      });
  Elsewhere* elsewhere = ports_.control.elsewhere;
  ports_.downlink->close(id, EndReason::kicked, [id, elsewhere, reply](bool there) {
    there || elsewhere == nullptr ? reply(there) : elsewhere->kick(id, reply);
  });
}

void RegistryDesk::list_credentials(const Request& request, const DeviceId& id, Handler::Respond respond) {
  ports_.control.registry->get(
      id, on_loop<DeviceEntry>(
              loop_, k_store_deadline,
              [this, id, request_id = request.id, respond = std::move(respond)](const Result<DeviceEntry>& entry) {
                if (!entry) return respond(entry_problem(entry.error(), request_id, id.str(), {}, ports_.log));
                Response response;
                response.body = credentials_json(*entry);
                respond(std::move(response));
              }));
}

void RegistryDesk::add_credential(const Request& request, const DeviceId& id, std::string by,
                                  Handler::Respond respond) {
  auto body = read_object(request, false);
  if (auto* refusal = std::get_if<Response>(&body)) return respond(std::move(*refusal));
  BodyFaults faults;
  CredentialRequest wanted = read_credential(std::get<boost::json::object>(body), ports_.clock.unix_ms(), faults);
  if (!faults.empty()) return respond(invalid_body(request.id, faults));
  ports_.control.registry->add_credential(
      id, wanted.credential, std::move(by),
      on_loop<DeviceCredential>(
          loop_, k_store_deadline,
          [this, id, request_id = request.id, token = std::move(wanted.token),
           respond = std::move(respond)](const Result<DeviceCredential>& credential) {
            if (!credential) return respond(credential_problem(credential.error(), request_id, id.str(), ports_.log));
            Response response;
            response.status = 201;
            response.body = credential_json(*credential, token);
            response.headers.emplace_back("Location", "/api/v1/devices/" + id.str() + "/credentials/" + credential->id);
            response.changed = 1;
            respond(std::move(response));
          }));
}

void RegistryDesk::remove_credential(const Request& request, const DeviceId& id, std::string by,
                                     Handler::Respond respond) {
  ports_.control.registry->remove_credential(
      id, request.target.segments[5], std::move(by),
      on_loop<bool>(loop_, k_store_deadline,
                    [this, request_id = request.id, respond = std::move(respond)](const Result<bool>& removed) {
                      if (removed) return respond(done());
                      if (auto problem = store_problem(removed.error(), request_id, ports_.log))
                        return respond(std::move(*problem));
                      respond(make_problem(Problem::credential_not_found, request_id,
                                           "list the device's credentials to see what there is"));
                    }));
}

Response RegistryDesk::import(const Request& request, std::string by) {
  constexpr std::array<std::string_view, 1> k_names = {"errors_only"};
  bool errors_only = false;
  if (const auto unknown = refuse_unknown(request.target, k_names)) return make_problem(*unknown, request.id);
  if (const auto twice = refuse_repeated(request.target)) return make_problem(*twice, request.id);
  for (const auto& [name, value] : request.target.parameters) {
    if (const auto wrong = read_flag(name, value, errors_only)) return make_problem(*wrong, request.id);
  }
  const std::string* type = request.head.header("content-type");
  if (type != nullptr && !type->starts_with(k_ndjson_type)) {
    Response response =
        make_problem(Problem::unsupported_media_type, request.id, "send Content-Type: application/x-ndjson");
    response.headers.emplace_back("Accept", k_ndjson_type);
    return response;
  }
  if (request.stream == nullptr) {
    return invalid_body(request.id, {{"", "want lines of JSON, one device each"}});
  }
  Response response;
  response.content_type = k_ndjson_type;
  response.source = make_import(request.stream, {loop_, *ports_.control.registry, index_, ports_.clock, ports_.log,
                                                 std::move(by), request.id, errors_only});
  return response;
}

Response RegistryDesk::export_all(const Request&) {
  Response response;
  response.content_type = k_ndjson_type;
  response.source = make_export(loop_, *ports_.control.registry);
  return response;
}

}  // namespace fieldgate::http
