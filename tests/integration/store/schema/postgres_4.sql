DROP INDEX commands_open;
CREATE INDEX commands_open ON commands (id, device_id, cancel_wanted) WHERE ended_unix_ms = 0;
DROP INDEX commands_due;
CREATE INDEX commands_due ON commands
  ((CASE WHEN first_sent_unix_ms > 0 THEN first_sent_unix_ms + timeout_ms ELSE expires_unix_ms END), id)
  WHERE ended_unix_ms = 0;
