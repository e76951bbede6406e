DROP INDEX commands_open;
CREATE INDEX commands_open ON commands (id, device_id) WHERE ended_unix_ms = 0;
CREATE INDEX commands_open_of_device ON commands (device_id, id) WHERE ended_unix_ms = 0;
CREATE INDEX commands_due ON commands
  ((CASE WHEN first_sent_unix_ms > 0 THEN first_sent_unix_ms + timeout_ms ELSE expires_unix_ms END))
  WHERE ended_unix_ms = 0;
