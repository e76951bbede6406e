-- The newest numbers given. The row is locked by who gives one, until that is committed:
-- so numbers appear in their order, and without holes.
CREATE TABLE counters (
  id BIGINT PRIMARY KEY CHECK (id = 1),
  registry BIGINT NOT NULL,
  presence BIGINT NOT NULL
);
INSERT INTO counters (id, registry, presence) VALUES (1, 0, 0);

CREATE TABLE devices (
  id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  enabled BIGINT NOT NULL CHECK (enabled IN (0, 1)),
  labels TEXT COLLATE "C" NOT NULL,
  note TEXT COLLATE "C" NOT NULL,
  automatic BIGINT NOT NULL CHECK (automatic IN (0, 1)),
  created_unix_ms BIGINT NOT NULL,
  updated_unix_ms BIGINT NOT NULL,
  revision BIGINT NOT NULL UNIQUE
);

-- Deleted ones, for those who follow the registry.
CREATE TABLE devices_gone (
  id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL UNIQUE
);

CREATE TABLE credentials (
  id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  device_id TEXT COLLATE "C" NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('token', 'certificate')),
  sha256 TEXT COLLATE "C" NOT NULL UNIQUE,
  created_unix_ms BIGINT NOT NULL,
  expires_unix_ms BIGINT NOT NULL,
  note TEXT COLLATE "C" NOT NULL
);
CREATE INDEX credentials_of_device ON credentials (device_id, position);

-- The newest epoch given to a device. Apart from presence, so that a claim waits for
-- nothing but another claim of the same device.
CREATE TABLE epochs (
  device_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  epoch BIGINT NOT NULL CHECK (epoch > 0)
);

-- Where each device stands; epoch 0: no event yet.
CREATE TABLE presence (
  device_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  epoch BIGINT NOT NULL DEFAULT 0,
  online BIGINT NOT NULL DEFAULT 0 CHECK (online IN (0, 1)),
  node TEXT COLLATE "C" NOT NULL DEFAULT '',
  boot_id TEXT COLLATE "C" NOT NULL DEFAULT '',
  since_unix_ms BIGINT NOT NULL DEFAULT 0,
  reason TEXT COLLATE "C" NOT NULL DEFAULT '',
  last_seen_unix_ms BIGINT NOT NULL DEFAULT 0,
  last_data_unix_ms BIGINT NOT NULL DEFAULT 0,
  firmware TEXT COLLATE "C" NOT NULL DEFAULT '',
  labels TEXT COLLATE "C" NOT NULL DEFAULT '{}',
  profile_epoch BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
CREATE INDEX presence_online ON presence (node, boot_id) WHERE online = 1;

CREATE TABLE presence_log (
  number BIGINT NOT NULL PRIMARY KEY,
  device_id TEXT COLLATE "C" NOT NULL,
  epoch BIGINT NOT NULL,
  online BIGINT NOT NULL CHECK (online IN (0, 1)),
  node TEXT COLLATE "C" NOT NULL,
  boot_id TEXT COLLATE "C" NOT NULL,
  unix_ms BIGINT NOT NULL,
  reason TEXT COLLATE "C" NOT NULL
);
CREATE INDEX presence_log_of_device ON presence_log (device_id, number);

CREATE TABLE commands (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id TEXT COLLATE "C" NOT NULL UNIQUE,
  device_id TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  payload BYTEA NOT NULL,
  created_unix_ms BIGINT NOT NULL,
  expires_unix_ms BIGINT NOT NULL,
  timeout_ms BIGINT NOT NULL,
  at_most_once BIGINT NOT NULL CHECK (at_most_once IN (0, 1)),
  idempotency_key BYTEA NOT NULL,
  source TEXT COLLATE "C" NOT NULL,
  response_topic TEXT COLLATE "C" NOT NULL,
  correlation_data BYTEA NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  steps TEXT COLLATE "C" NOT NULL,
  sends BIGINT NOT NULL,
  first_sent_unix_ms BIGINT NOT NULL,
  cancel_wanted BIGINT NOT NULL CHECK (cancel_wanted IN (0, 1)),
  result_text TEXT COLLATE "C" NOT NULL,
  result_payload BYTEA NOT NULL,
  ended_unix_ms BIGINT NOT NULL
);
CREATE INDEX commands_of_device ON commands (device_id, number);
CREATE UNIQUE INDEX commands_by_key ON commands (device_id, idempotency_key) WHERE length(idempotency_key) > 0;
CREATE INDEX commands_open ON commands (number) WHERE ended_unix_ms = 0;
CREATE INDEX commands_ended ON commands (ended_unix_ms) WHERE ended_unix_ms > 0;

CREATE TABLE twins (
  device_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  reported_json TEXT COLLATE "C" NOT NULL,
  reported_version BIGINT NOT NULL,
  reported_unix_ms BIGINT NOT NULL,
  reported_stream BIGINT NOT NULL,
  reported_seq BIGINT NOT NULL,
  desired_json TEXT COLLATE "C" NOT NULL,
  desired_version BIGINT NOT NULL,
  desired_unix_ms BIGINT NOT NULL,
  acknowledged_version BIGINT NOT NULL,
  acknowledged_error TEXT COLLATE "C" NOT NULL,
  acknowledged_unix_ms BIGINT NOT NULL
);

CREATE TABLE timeline (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device_id TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  unix_ms BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  fields TEXT COLLATE "C" NOT NULL
);
CREATE INDEX timeline_of_device ON timeline (device_id, number);

CREATE TABLE nodes (
  name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  boot_id TEXT COLLATE "C" NOT NULL,
  version TEXT COLLATE "C" NOT NULL,
  started_unix_ms BIGINT NOT NULL,
  lease_until_unix_ms BIGINT NOT NULL
);
