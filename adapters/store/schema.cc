// SPDX-License-Identifier: Apache-2.0
#include "adapters/store/schema.h"

#include <array>
#include <utility>

namespace fieldgate::store {
namespace {

// Times are milliseconds since 1970. store_unix_ms() is the engine's own clock.
constexpr std::string_view k_version_1 = R"sql(
-- The newest numbers given. The row is locked by who gives one, until that is committed:
-- so numbers appear in their order, and without holes.
CREATE TABLE counters (
  id {integer} PRIMARY KEY CHECK (id = 1),
  registry {integer} NOT NULL,
  presence {integer} NOT NULL
){rows};
INSERT INTO counters (id, registry, presence) VALUES (1, 0, 0);

CREATE TABLE devices (
  id {text} NOT NULL PRIMARY KEY,
  enabled {integer} NOT NULL CHECK (enabled IN (0, 1)),
  labels {text} NOT NULL,
  note {text} NOT NULL,
  automatic {integer} NOT NULL CHECK (automatic IN (0, 1)),
  created_unix_ms {integer} NOT NULL,
  updated_unix_ms {integer} NOT NULL,
  revision {integer} NOT NULL UNIQUE
){keyed};

-- Deleted ones, for those who follow the registry.
CREATE TABLE devices_gone (
  id {text} NOT NULL PRIMARY KEY,
  revision {integer} NOT NULL UNIQUE
){keyed};

CREATE TABLE credentials (
  id {text} NOT NULL PRIMARY KEY,
  device_id {text} NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  position {integer} NOT NULL,
  kind {text} NOT NULL CHECK (kind IN ('token', 'certificate')),
  sha256 {text} NOT NULL UNIQUE,
  created_unix_ms {integer} NOT NULL,
  expires_unix_ms {integer} NOT NULL,
  note {text} NOT NULL
){rows};
CREATE INDEX credentials_of_device ON credentials (device_id, position);

-- The newest epoch given to a device. Apart from presence, so that a claim waits for
-- nothing but another claim of the same device.
CREATE TABLE epochs (
  device_id {text} NOT NULL PRIMARY KEY,
  epoch {integer} NOT NULL CHECK (epoch > 0)
){keyed};

-- Where each device stands; epoch 0: no event yet.
CREATE TABLE presence (
  device_id {text} NOT NULL PRIMARY KEY,
  epoch {integer} NOT NULL DEFAULT 0,
  online {integer} NOT NULL DEFAULT 0 CHECK (online IN (0, 1)),
  node {text} NOT NULL DEFAULT '',
  boot_id {text} NOT NULL DEFAULT '',
  since_unix_ms {integer} NOT NULL DEFAULT 0,
  reason {text} NOT NULL DEFAULT '',
  last_seen_unix_ms {integer} NOT NULL DEFAULT 0,
  last_data_unix_ms {integer} NOT NULL DEFAULT 0,
  firmware {text} NOT NULL DEFAULT '',
  labels {text} NOT NULL DEFAULT '{}',
  profile_epoch {integer} NOT NULL DEFAULT 0
){busy};
CREATE INDEX presence_online ON presence (node, boot_id) WHERE online = 1;

CREATE TABLE presence_log (
  number {integer} NOT NULL PRIMARY KEY,
  device_id {text} NOT NULL,
  epoch {integer} NOT NULL,
  online {integer} NOT NULL CHECK (online IN (0, 1)),
  node {text} NOT NULL,
  boot_id {text} NOT NULL,
  unix_ms {integer} NOT NULL,
  reason {text} NOT NULL
){rows};
CREATE INDEX presence_log_of_device ON presence_log (device_id, number);

CREATE TABLE commands (
  number {serial},
  id {text} NOT NULL UNIQUE,
  device_id {text} NOT NULL,
  name {text} NOT NULL,
  payload {blob} NOT NULL,
  created_unix_ms {integer} NOT NULL,
  expires_unix_ms {integer} NOT NULL,
  timeout_ms {integer} NOT NULL,
  at_most_once {integer} NOT NULL CHECK (at_most_once IN (0, 1)),
  idempotency_key {blob} NOT NULL,
  source {text} NOT NULL,
  response_topic {text} NOT NULL,
  correlation_data {blob} NOT NULL,
  state {text} NOT NULL,
  steps {text} NOT NULL,
  sends {integer} NOT NULL,
  first_sent_unix_ms {integer} NOT NULL,
  cancel_wanted {integer} NOT NULL CHECK (cancel_wanted IN (0, 1)),
  result_text {text} NOT NULL,
  result_payload {blob} NOT NULL,
  ended_unix_ms {integer} NOT NULL
){rows};
CREATE INDEX commands_of_device ON commands (device_id, number);
CREATE UNIQUE INDEX commands_by_key ON commands (device_id, idempotency_key) WHERE length(idempotency_key) > 0;
CREATE INDEX commands_open ON commands (number) WHERE ended_unix_ms = 0;
CREATE INDEX commands_ended ON commands (ended_unix_ms) WHERE ended_unix_ms > 0;

CREATE TABLE twins (
  device_id {text} NOT NULL PRIMARY KEY,
  reported_json {text} NOT NULL,
  reported_version {integer} NOT NULL,
  reported_unix_ms {integer} NOT NULL,
  reported_stream {integer} NOT NULL,
  reported_seq {integer} NOT NULL,
  desired_json {text} NOT NULL,
  desired_version {integer} NOT NULL,
  desired_unix_ms {integer} NOT NULL,
  acknowledged_version {integer} NOT NULL,
  acknowledged_error {text} NOT NULL,
  acknowledged_unix_ms {integer} NOT NULL
){rows};

CREATE TABLE timeline (
  number {serial},
  device_id {text} NOT NULL,
  kind {text} NOT NULL,
  unix_ms {integer} NOT NULL,
  epoch {integer} NOT NULL,
  fields {text} NOT NULL
){rows};
CREATE INDEX timeline_of_device ON timeline (device_id, number);

CREATE TABLE nodes (
  name {text} NOT NULL PRIMARY KEY,
  boot_id {text} NOT NULL,
  version {text} NOT NULL,
  started_unix_ms {integer} NOT NULL,
  lease_until_unix_ms {integer} NOT NULL
){keyed};
)sql";

// Through which revision deletions are forgotten, and in which connection a device reported.
constexpr std::string_view k_version_2 = R"sql(
ALTER TABLE counters ADD COLUMN registry_trimmed {integer} NOT NULL DEFAULT 0;
ALTER TABLE twins ADD COLUMN reported_epoch {integer} NOT NULL DEFAULT 0;
)sql";

// Open commands are read by device, and walked by id; commands_due finds what is overdue.
constexpr std::string_view k_version_3 = R"sql(
DROP INDEX commands_open;
CREATE INDEX commands_open ON commands (id, device_id) WHERE ended_unix_ms = 0;
CREATE INDEX commands_open_of_device ON commands (device_id, id) WHERE ended_unix_ms = 0;
CREATE INDEX commands_due ON commands
  ((CASE WHEN first_sent_unix_ms > 0 THEN first_sent_unix_ms + timeout_ms ELSE expires_unix_ms END))
  WHERE ended_unix_ms = 0;
)sql";

// What is overdue is read on from where it was, also among those due at the same time; the walk
// of what is open sees the wishes to cancel.
constexpr std::string_view k_version_4 = R"sql(
DROP INDEX commands_open;
CREATE INDEX commands_open ON commands (id, device_id, cancel_wanted) WHERE ended_unix_ms = 0;
DROP INDEX commands_due;
CREATE INDEX commands_due ON commands
  ((CASE WHEN first_sent_unix_ms > 0 THEN first_sent_unix_ms + timeout_ms ELSE expires_unix_ms END), id)
  WHERE ended_unix_ms = 0;
)sql";

constexpr std::array<std::string_view, 4> k_migrations{k_version_1, k_version_2, k_version_3, k_version_4};

}  // namespace

std::span<const std::string_view> migrations() noexcept { return k_migrations; }

std::uint32_t schema_version() noexcept { return static_cast<std::uint32_t>(k_migrations.size()); }

std::string rendered(std::string_view migration, const Dialect& dialect) {
  const std::array<std::pair<std::string_view, std::string_view>, 7> words{{{"{integer}", dialect.integer},
                                                                            {"{text}", dialect.text},
                                                                            {"{blob}", dialect.blob},
                                                                            {"{serial}", dialect.serial},
                                                                            {"{rows}", dialect.rows},
                                                                            {"{keyed}", dialect.keyed},
                                                                            {"{busy}", dialect.busy}}};
  std::string sql(migration);
  for (const auto& [word, replacement] : words) {
    for (std::size_t at = 0; (at = sql.find(word, at)) != std::string::npos; at += replacement.size()) {
      sql.replace(at, word.size(), replacement);
    }
  }
  return sql;
}

}  // namespace fieldgate::store
