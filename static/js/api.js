/** The HTTP API: JSON in, JSON out, every refusal a `Problem`. */

import { t } from "./i18n.js";

const RETRY_DELAYS_MS = [500, 1000, 2000, 4000];

/** A refused or failed request. The message is a sentence for the reader; status 0: no answer. */
export class Problem extends Error {
  constructor(message, { status = 0, type = "" } = {}) {
    super(message);
    this.status = status;
    this.type = type;
  }

  /** Nothing is known of the request's fate, or the server asked for patience. */
  get retryable() {
    return this.status === 0 || (this.status >= 502 && this.status <= 504);
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const message = problem.detail ?? t("error.unexpected", { status: response.status });
  return new Problem(message, { status: response.status, type: problem.type });
}

async function send(method, path, body, headers) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { Accept: "application/json", "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(t("error.offline"));
  }
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

export const get = (path) => send("GET", path);
export const post = (path, body = {}) => send("POST", path, body);

/** POST that may be repeated: the key makes the server do it once, however often it arrives. */
export async function postOnce(path, body, key) {
  for (const delay of [...RETRY_DELAYS_MS, null]) {
    try {
      return await send("POST", path, body, { "Idempotency-Key": key });
    } catch (problem) {
      if (delay === null || !problem.retryable) throw problem;
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }
}
