-- What a gateway of version 1 has left. {bytes:HEX} stands for a blob in the engine's words.
UPDATE counters SET registry = 3, presence = 2 WHERE id = 1;
INSERT INTO devices (id, enabled, labels, note, automatic, created_unix_ms, updated_unix_ms, revision) VALUES
  ('pump', 1, '{"site":"graz"}', 'by the river', 0, 1000, 2000, 3),
  ('valve', 0, '{}', '', 1, 1100, 1100, 2);
INSERT INTO devices_gone (id, revision) VALUES ('old', 1);
INSERT INTO credentials (id, device_id, position, kind, sha256, created_unix_ms, expires_unix_ms, note) VALUES
  ('cred-1', 'pump', 0, 'token', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1000, 9000, 'first'),
  ('cred-2', 'pump', 1, 'certificate', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 1001, 0, '');
INSERT INTO epochs (device_id, epoch) VALUES ('pump', 7), ('valve', 5);
INSERT INTO presence (device_id, epoch, online, node, boot_id, since_unix_ms, reason, last_seen_unix_ms,
                      last_data_unix_ms, firmware, labels, profile_epoch) VALUES
  ('pump', 7, 1, 'node-1', 'boot-1', 1500, '', 1600, 1550, '2.1', '{"hw":"b"}', 7),
  ('valve', 5, 0, 'node-1', 'boot-1', 1400, 'bye', 1400, 0, '', '{}', 0);
INSERT INTO presence_log (number, device_id, epoch, online, node, boot_id, unix_ms, reason) VALUES
  (1, 'valve', 5, 0, 'node-1', 'boot-1', 1400, 'bye'),
  (2, 'pump', 7, 1, 'node-1', 'boot-1', 1500, '');
INSERT INTO commands (id, device_id, name, payload, created_unix_ms, expires_unix_ms, timeout_ms, at_most_once,
                      idempotency_key, source, response_topic, correlation_data, state, steps, sends,
                      first_sent_unix_ms, cancel_wanted, result_text, result_payload, ended_unix_ms) VALUES
  ('c1', 'pump', 'reboot', {bytes:00ff10}, 1000, 5000, 3000, 1, {bytes:}, 'api:ann', '', {bytes:}, 'queued',
   '[{"state":"queued","unix_ms":1000,"epoch":0,"detail":""}]', 0, 0, 0, '', {bytes:}, 0),
  ('c2', 'pump', 'ping', {bytes:}, 1001, 5001, 3000, 0, {bytes:6b6579}, 'mqtt:main', 'app/replies', {bytes:07}, 'succeeded',
   '[{"state":"queued","unix_ms":1001,"epoch":0,"detail":""},{"state":"sent","unix_ms":1002,"epoch":7,"detail":""},{"state":"succeeded","unix_ms":1003,"epoch":7,"detail":""}]',
   1, 1002, 0, 'done', {bytes:beef}, 1003),
  ('c3', 'valve', 'open', {bytes:}, 1002, 5002, 3000, 0, {bytes:}, 'api:ann', '', {bytes:}, 'sent',
   '[{"state":"queued","unix_ms":1002,"epoch":0,"detail":""},{"state":"sent","unix_ms":1200,"epoch":5,"detail":""}]',
   1, 1200, 1, '', {bytes:}, 0);
INSERT INTO twins (device_id, reported_json, reported_version, reported_unix_ms, reported_stream, reported_seq,
                   desired_json, desired_version, desired_unix_ms, acknowledged_version, acknowledged_error,
                   acknowledged_unix_ms) VALUES
  ('pump', '{"rpm":900}', 4, 1700, -2, 17, '{"rpm":1000}', 3, 1800, 2, 'too fast', 1750);
INSERT INTO timeline (device_id, kind, unix_ms, epoch, fields) VALUES
  ('pump', 'connected', 1500, 7, '{"address":"192.0.2.1:5000"}'),
  ('pump', 'command', 1001, 0, '{"id":"c2","name":"ping","state":"queued"}');
INSERT INTO nodes (name, boot_id, version, started_unix_ms, lease_until_unix_ms) VALUES
  ('node-1', 'boot-1', '0.0.1', 900, 2500);
