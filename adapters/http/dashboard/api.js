// SPDX-License-Identifier: Apache-2.0
//
// Requests to the gateway. An answer that is no success is thrown as an ApiError.

import { lacking, session, signOut } from "./session.js";
import { redraw } from "./view.js";

export class ApiError extends Error {
  constructor(status, problem, retryAfter = 0) {
    super(problem.detail || problem.title || `The gateway answered ${status}.`);
    this.status = status;
    this.type = (problem.type ?? "").replace("/problems/", "");
    this.title = problem.title ?? "";
    this.retryAfter = retryAfter;
  }
}

const OFFLINE = { title: "The gateway does not answer", detail: "The gateway does not answer. Is it running, and the network up?" };

function path(parts, query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined) search.append(name, one);
    }
  }
  const text = search.toString();
  return "/api/v1" + parts + (text && "?" + text);
}

// A part of a path.
export const part = encodeURIComponent;

export function rawFetch(parts, { method = "GET", query, body, headers, signal, type = "application/json" } = {}) {
  const all = { Authorization: `Bearer ${session.token}`, ...headers };
  if (body !== undefined) all["Content-Type"] = type;
  return fetch(path(parts, query), {
    method, signal, headers: all, cache: "no-store", credentials: "omit", redirect: "error",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

async function problemOf(answer) {
  try {
    return await answer.json();
  } catch {
    return {};
  }
}

// Throws what `answer` says went wrong; 401 leads back to the sign-in page.
export async function check(answer, token) {
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (answer.status === 401 && token === session.token) {
    signOut("This token is not accepted any more. Sign in again.");
    redraw();
  }
  if (answer.status === 403) {
    const scope = /scope="(\w+)"/.exec(answer.headers.get("WWW-Authenticate") ?? "")?.[1];
    if (scope) session.tooLow.add(scope);
    redraw();
  }
  throw new ApiError(answer.status, problem, Number(answer.headers.get("Retry-After") ?? 0));
}

// {status, data, etag, location}; `data` is null for an answer without a body.
export async function call(method, parts, options = {}) {
  const token = session.token;
  let answer;
  try {
    answer = await rawFetch(parts, { ...options, method });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, OFFLINE);
  }
  await check(answer, token);
  const text = await answer.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(answer.status, { title: "That is not an answer of the gateway", detail: "The answer is not JSON: is something else listening here?" });
  }
  return { status: answer.status, data, etag: answer.headers.get("ETag"), location: answer.headers.get("Location") };
}

export const get = async (parts, query, signal) => (await call("GET", parts, { query, signal })).data;

export { lacking };
