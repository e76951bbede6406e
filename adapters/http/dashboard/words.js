// SPDX-License-Identifier: Apache-2.0
//
// The gateway's terms in sentences: why a connection ended, and what a line of the timeline says.

import { bytes, count, duration } from "./format.js";

// Per end reason: short, the sentence that follows "It went offline because ...", and how bad it is.
const ENDS = {
  handshake_budget: ["Too many connects", "more devices connected per second than the gateway admits", "warn"],
  sessions_max: ["Gateway full", "all session slots of the gateway were in use", "warn"],
  address_sessions_max: ["Address full", "its address already had its share of sessions", "warn"],
  handshakes_max: ["Too many handshakes", "too many handshakes were going on at once", "warn"],
  descriptors: ["Out of descriptors", "the gateway ran out of file descriptors", "bad"],
  memory: ["Out of memory", "the gateway was using too much memory", "bad"],
  proxy_protocol: ["No PROXY header", "the load balancer did not say for whom it speaks", "bad"],
  tls_timeout: ["TLS too slow", "the TLS handshake was not done in time", "warn"],
  tls_failed: ["TLS failed", "the TLS handshake failed", "warn"],
  certificate_rejected: ["Certificate rejected", "its certificate is missing, expired, revoked or not trusted", "bad"],
  upgrade_timeout: ["Upgrade too slow", "its WebSocket request did not come in time", "warn"],
  upgrade_malformed: ["Upgrade malformed", "its WebSocket request was not valid", "bad"],
  upgrade_too_large: ["Upgrade too large", "its WebSocket request was too large", "bad"],
  upgrade_path: ["Wrong path", "it asked for another path than /v1/connect", "bad"],
  upgrade_method: ["Wrong method", "its WebSocket request was not a GET", "bad"],
  upgrade_version: ["Wrong WebSocket version", "it does not speak WebSocket version 13", "bad"],
  upgrade_subprotocol: ["Wrong subprotocol", "it did not offer the subprotocol fieldgate.v1", "bad"],
  upgrade_origin: ["A browser", "it sent an Origin header, as browsers do", "bad"],
  unauthenticated: ["Not authenticated", "it showed no valid credential", "bad"],
  hello_timeout: ["No Hello", "it did not say Hello in time", "warn"],
  hello_invalid: ["Hello invalid", "its Hello was not valid", "bad"],
  hello_id_mismatch: ["Wrong id", "the id in its Hello is not the one of its credential", "bad"],
  device_unknown: ["Not registered", "it is not in the registry", "bad"],
  device_disabled: ["Disabled", "it is switched off in the registry", "warn"],
  stream_reused: ["Stream reused", "it counted its frames anew in an old stream", "warn"],
  takeover_rate: ["Changes hands", "its id changed hands too often: two devices may be using it", "bad"],
  takeover_timeout: ["Takeover slow", "its earlier connection could not be ended in time", "warn"],
  no_epoch: ["Store down", "the gateway could not register the connection: its store did not answer", "bad"],
  overloaded: ["Gateway overloaded", "the gateway\u2019s buffers were full", "bad"],
  flow_violation: ["Flow violation", "it sent more than the gateway had granted", "bad"],
  frame_rate: ["Too many frames", "it sent too many frames per second", "bad"],
  byte_rate: ["Too many bytes", "it sent too many bytes per second", "bad"],
  frame_too_large: ["Frame too large", "it sent a message that is too large", "bad"],
  assembly_timeout: ["Message unfinished", "it began a message and did not finish it in time", "warn"],
  websocket_protocol: ["WebSocket error", "it broke the WebSocket protocol", "bad"],
  unsupported_data: ["Text message", "it sent text where only binary messages are allowed", "bad"],
  protocol_state: ["Protocol error", "it sent a message out of turn", "bad"],
  malformed_frame: ["Malformed frame", "it sent what is no frame of the protocol", "bad"],
  slow_reader: ["Slow reader", "it did not read what it was sent", "warn"],
  heartbeat_lost: ["Heartbeat lost", "nothing was heard from it for one and a half heartbeats: its power or its network is gone", "warn"],
  credential_revoked: ["Credential revoked", "its credential is no longer valid", "bad"],
  taken_over: ["Taken over", "a newer connection with its id took over", "warn"],
  kicked: ["Kicked", "somebody ended the connection through the API", "idle"],
  drain: ["Gateway stopping", "the gateway was being stopped", "idle"],
  age_max: ["Connection renewed", "the gateway asked it to connect anew, to spread the fleet over the nodes", "idle"],
  internal: ["Gateway fault", "a fault of the gateway ended the connection", "bad"],
  bye: ["Said goodbye", "it said goodbye", "idle"],
  peer_closed: ["Closed by device", "it closed the connection", "idle"],
  unclean_close: ["Cut off", "the connection ended without a word: its process or its network went away", "warn"],
  connection_reset: ["Connection reset", "the connection was reset on the way", "warn"],
  node_lost: ["Gateway lost", "the gateway process ended without saying so", "bad"],
};

const spaced = (name) => name.replaceAll("_", " ");

export const reasons = Object.keys(ENDS);
export const reasonShort = (name) => ENDS[name]?.[0] ?? spaced(name);
export const reasonLong = (name) => ENDS[name]?.[1] ?? spaced(name);
export const reasonTone = (name) => ENDS[name]?.[2] ?? "warn";

const REGISTRY = {
  created: "was registered", updated: "was changed in the registry", disabled: "was disabled", enabled: "was enabled",
  removed: "was removed from the registry", credential_added: "was given a credential", credential_removed: "had a credential revoked",
};
const TWIN = { reported: "The device reported its state", desired: "The desired state was changed", acknowledged: "The device took the desired state over" };
const COMMAND = {
  queued: "waits for the device", sent: "was sent", acknowledged: "was taken by the device", succeeded: "succeeded", failed: "failed",
  rejected: "was rejected", timed_out: "timed out: what became of it is not known", expired: "expired before it could be sent",
  cancelled: "was cancelled",
};

export const commandTone = (state) =>
  ({ succeeded: "good", failed: "bad", rejected: "bad", timed_out: "warn", expired: "warn", cancelled: "idle" })[state] ?? "info";
export const stateWord = spaced;

const ending = (text) => (/[.!?]$/.test(text) ? text : text + ".");
const more = (text) => (text ? `: ${text}` : "");

const certificate = (f) => [f.certificate_subject, f.certificate_sha256 && `SHA-256 ${f.certificate_sha256.slice(0, 16)}\u2026`,
                            f.certificate_not_after && `valid until ${f.certificate_not_after.slice(0, 10)}`].filter(Boolean).join(", ");
const proof = (f) => `with a ${f.credential}${f.certificate_sha256 ? ` (${certificate(f)})` : ""}`;

// {tone, title, detail} of a line of the timeline.
export function sentence({ kind, fields: f = {} }) {
  switch (kind) {
    case "connected": {
      const how = [f.address && `from ${f.address}`, f.tls && `over ${f.tls}${f.resumed === "true" ? " (resumed)" : ""}`,
                   f.credential && proof(f), f.firmware && `firmware ${f.firmware}`].filter(Boolean).join(", ");
      return { tone: "good", title: "Connected", detail: how && ending(how[0].toUpperCase() + how.slice(1)) };
    }
    case "disconnected": {
      const length = Number(f.duration_ms) > 0 ? ` It had been online for ${duration(Number(f.duration_ms))}` +
        (Number(f.frames) >= 0 && f.frames !== undefined ? ` and sent ${count(Number(f.frames), "frame")}.` : ".") : "";
      return { tone: reasonTone(f.reason) === "idle" ? "idle" : "bad", title: `Went offline: ${reasonShort(f.reason ?? "").toLowerCase()}`,
               detail: `It went offline because ${ending(`${reasonLong(f.reason ?? "unknown")}${f.detail ? ` (${f.detail})` : ""}`)}${length}` };
    }
    case "refused":
      return { tone: "bad", title: `Not let in: ${reasonShort(f.reason ?? "").toLowerCase()}`,
               detail: ending(`${f.address ? `From ${f.address}: ` : ""}${reasonLong(f.reason ?? "unknown")}${f.detail ? ` (${f.detail})` : ""}`) };
    case "taken_over":
      return { tone: "warn", title: "Taken over by a newer connection",
               detail: ending(`${f.by ? `From ${f.by}. ` : ""}If the device did not reconnect by itself, another one uses its id`) };
    case "throttled": {
      const full = Number(f.frames) === 0;
      return { tone: f.reason === "recovered" ? "good" : "warn",
               title: f.reason === "recovered" ? "Credit back to normal" : full ? "Told to stop sending" : "Told to send less",
               detail: full ? `It keeps what it measures until the gateway has room again${f.reason ? ` (${spaced(f.reason)})` : ""}.`
                 : `It may have ${count(Number(f.frames ?? 0), "frame")}${f.bytes ? ` and ${bytes(Number(f.bytes))}` : ""} unacknowledged${f.reason ? ` (${spaced(f.reason)})` : ""}.` };
    }
    case "rejected":
      return { tone: "bad", title: Number(f.count) > 1 ? `${count(Number(f.count), "frame")} rejected` : "Frame rejected",
               detail: ending(`${spaced(f.code ?? "").toLowerCase()}${more(f.text)}${f.seq ? ` (frame ${f.seq})` : ""}`) };
    case "dropped":
      return { tone: "warn", title: `${f.count ?? "Some"} dropped`, detail: ending(spaced(f.reason ?? "")) };
    case "command":
      return { tone: commandTone(f.state), title: `Command ${f.name ?? ""} ${COMMAND[f.state] ?? spaced(f.state ?? "")}`, detail: f.detail ?? "" };
    case "twin":
      if (f.refused) return { tone: "bad", title: "What the device reported was not kept", detail: ending(f.refused[0].toUpperCase() + f.refused.slice(1)) };
      return { tone: f.error ? "warn" : "info", title: f.error ? "The device refused the desired state" : TWIN[f.what] ?? `Twin: ${spaced(f.what ?? "")}`,
               detail: `${f.version ? `Version ${f.version}` : ""}${f.by ? `, by ${f.by}` : ""}${more(f.error)}` };
    case "registry":
      return { tone: f.what === "disabled" || f.what === "removed" ? "warn" : "info",
               title: `The device ${REGISTRY[f.what] ?? spaced(f.what ?? "was changed")}`, detail: f.by ? `By ${f.by}.` : "" };
    default:
      return { tone: "info", title: spaced(kind), detail: Object.entries(f).map(([key, value]) => `${key}: ${value}`).join(", ") };
  }
}

export const LANE = {
  connecting: ["Connecting", "warn"], running: ["Running", "good"], backing_off: ["Backing off", "bad"],
  paused: ["Paused by the far side", "bad"], stopped: ["Stopped", "idle"],
};
