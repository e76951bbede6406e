// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/ports/device_store.h"

#include <memory>

namespace fieldgate::postgres {

// A DeviceStore in the schema "fieldgate" of a PostgreSQL database (13 or newer), which
// several nodes may share.
//
// open() makes the schema if the database lets it, and brings it to this version under an
// advisory lock, so that several nodes may start at once. It leaves alone a schema of that
// name which is not ours (Errc::malformed) or of a newer version (Errc::unsupported).
//
// Every wait is bounded: connecting (5 s for each address, unless the connection string
// has connect_timeout), a statement (StoreSettings::statement_timeout, by the server's
// clock and, a second later, by ours: a server that does not even say so is left), the
// network (TCP keep-alives and user timeout). A transaction of a node that stands still is
// ended by the server after half the statement timeout, so that it holds up nobody else.
// begin() connects again where it must.
//
// The password is StoreSettings::password, or what password_file holds at the moment of
// connecting; else libpq's own places (PGPASSFILE ...) count.
// Errors: Errc::invalid_argument: the connection string is none, or has a password in it.
Result<std::unique_ptr<DeviceStore>> make_postgres_store(const StoreSettings& settings);

}  // namespace fieldgate::postgres
