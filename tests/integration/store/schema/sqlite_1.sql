-- The newest numbers given. The row is locked by who gives one, until that is committed:
-- so numbers appear in their order, and without holes.
CREATE TABLE counters (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  registry INTEGER NOT NULL,
  presence INTEGER NOT NULL
) STRICT;
INSERT INTO counters (id, registry, presence) VALUES (1, 0, 0);

CREATE TABLE devices (
  id TEXT NOT NULL PRIMARY KEY,
  enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  labels TEXT NOT NULL,
  note TEXT NOT NULL,
  automatic INTEGER NOT NULL CHECK (automatic IN (0, 1)),
  created_unix_ms INTEGER NOT NULL,
  updated_unix_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

-- Deleted ones, for those who follow the registry.
CREATE TABLE devices_gone (
  id TEXT NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

CREATE TABLE credentials (
  id TEXT NOT NULL PRIMARY KEY,
  device_id TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('token', 'certificate')),
  sha256 TEXT NOT NULL UNIQUE,
  created_unix_ms INTEGER NOT NULL,
  expires_unix_ms INTEGER NOT NULL,
  note TEXT NOT NULL
) STRICT;
CREATE INDEX credentials_of_device ON credentials (device_id, position);

-- The newest epoch given to a device. Apart from presence, so that a claim waits for
-- nothing but another claim of the same device.
CREATE TABLE epochs (
  device_id TEXT NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL CHECK (epoch > 0)
) STRICT, WITHOUT ROWID;

-- Where each device stands; epoch 0: no event yet.
CREATE TABLE presence (
  device_id TEXT NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL DEFAULT 0,
  online INTEGER NOT NULL DEFAULT 0 CHECK (online IN (0, 1)),
  node TEXT NOT NULL DEFAULT '',
  boot_id TEXT NOT NULL DEFAULT '',
  since_unix_ms INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',
  last_seen_unix_ms INTEGER NOT NULL DEFAULT 0,
  last_data_unix_ms INTEGER NOT NULL DEFAULT 0,
  firmware TEXT NOT NULL DEFAULT '',
  labels TEXT NOT NULL DEFAULT '{}',
  profile_epoch INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX presence_online ON presence (node, boot_id) WHERE online = 1;

CREATE TABLE presence_log (
  number INTEGER NOT NULL PRIMARY KEY,
  device_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  online INTEGER NOT NULL CHECK (online IN (0, 1)),
  node TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  unix_ms INTEGER NOT NULL,
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX presence_log_of_device ON presence_log (device_id, number);

CREATE TABLE commands (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  device_id TEXT NOT NULL,
  name TEXT NOT NULL,
  payload BLOB NOT NULL,
  created_unix_ms INTEGER NOT NULL,
  expires_unix_ms INTEGER NOT NULL,
  timeout_ms INTEGER NOT NULL,
  at_most_once INTEGER NOT NULL CHECK (at_most_once IN (0, 1)),
  idempotency_key BLOB NOT NULL,
  source TEXT NOT NULL,
  response_topic TEXT NOT NULL,
  correlation_data BLOB NOT NULL,
  state TEXT NOT NULL,
  steps TEXT NOT NULL,
  sends INTEGER NOT NULL,
  first_sent_unix_ms INTEGER NOT NULL,
  cancel_wanted INTEGER NOT NULL CHECK (cancel_wanted IN (0, 1)),
  result_text TEXT NOT NULL,
  result_payload BLOB NOT NULL,
  ended_unix_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX commands_of_device ON commands (device_id, number);
CREATE UNIQUE INDEX commands_by_key ON commands (device_id, idempotency_key) WHERE length(idempotency_key) > 0;
CREATE INDEX commands_open ON commands (number) WHERE ended_unix_ms = 0;
CREATE INDEX commands_ended ON commands (ended_unix_ms) WHERE ended_unix_ms > 0;

CREATE TABLE twins (
  device_id TEXT NOT NULL PRIMARY KEY,
  reported_json TEXT NOT NULL,
  reported_version INTEGER NOT NULL,
  reported_unix_ms INTEGER NOT NULL,
  reported_stream INTEGER NOT NULL,
  reported_seq INTEGER NOT NULL,
  desired_json TEXT NOT NULL,
  desired_version INTEGER NOT NULL,
  desired_unix_ms INTEGER NOT NULL,
  acknowledged_version INTEGER NOT NULL,
  acknowledged_error TEXT NOT NULL,
  acknowledged_unix_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE timeline (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  device_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  unix_ms INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  fields TEXT NOT NULL
) STRICT;
CREATE INDEX timeline_of_device ON timeline (device_id, number);

CREATE TABLE nodes (
  name TEXT NOT NULL PRIMARY KEY,
  boot_id TEXT NOT NULL,
  version TEXT NOT NULL,
  started_unix_ms INTEGER NOT NULL,
  lease_until_unix_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
