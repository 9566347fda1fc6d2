/** The HTTP API: JSON in, JSON out, every refusal a `Problem`. */

import { has, t } from "./i18n.js";

const RETRY_DELAYS_MS = [500, 1000, 2000, 4000, 8000];

/** A refused or failed request. The message is a sentence for the reader; status 0: no answer. */
class Problem extends Error {
  constructor(message, { status = 0, slug = "", field = "", retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.slug = slug;
    this.field = field; // the input that is refused
    this.retryAfter = retryAfter; // seconds that the server asks to wait
  }

  /** Nothing is known of the request's fate, or the server asked for patience. */
  get retryable() {
    return this.status === 0 || this.status === 429 || (this.status >= 502 && this.status <= 504);
  }
}

async function refusal(response) {
  const { status, headers } = response;
  const problem = await response.json().catch(() => ({}));
  const slug = problem.type?.split("#")[1] ?? "";
  const message = has("error.type." + slug)
    ? t("error.type." + slug)
    : (problem.detail ?? t("error.unexpected", { status }));
  const { field } = problem;
  return new Problem(message, { status, slug, field, retryAfter: Number(headers.get("Retry-After")) || 0 });
}

/** The server's clock as of its last answer, in ms; NaN where it did not say. */
export let serverTime = NaN;

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
  serverTime = Date.parse(response.headers.get("Date"));
  if (!response.ok) throw await refusal(response);
  if (response.status === 204) return null;
  return response.json().catch(() => {
    throw new Problem(t("error.unexpected", { status: response.status })); // a proxy's page, or cut off
  });
}

export const get = (path) => send("GET", path);
export const post = (path, body = {}) => send("POST", path, body);
export const remove = (path) => send("DELETE", path);

/** The next try: after a while, or as soon as the browser is online again. */
function patience(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    addEventListener("online", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/**
 * POST until it is answered: the key makes the server do it once, however often it arrives.
 * `onWait(problem)` is told of every try that must be repeated.
 */
export async function postOnce(path, body, key, onWait) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await send("POST", path, body, { "Idempotency-Key": key });
    } catch (problem) {
      if (!problem.retryable) throw problem;
      onWait(problem);
      const delay = RETRY_DELAYS_MS[Math.min(tries, RETRY_DELAYS_MS.length - 1)];
      await patience(Math.max(delay, problem.retryAfter * 1000));
    }
  }
}

/** A new idempotency key. (`crypto.randomUUID` is missing where the page is not on HTTPS.) */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("-");
}
