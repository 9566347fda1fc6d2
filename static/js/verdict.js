/** What is to be said of a vote's or a receipt's place in the log, each check done in this browser. */

import { get, serverTime } from "./api.js";
import { isConsistent, isIncluded, isSigned, leafOf, readHead, readReceipt } from "./proof.js";

const MEMORY = "log-head"; // the newest head that this browser saw
const PROMISE_MS = 24 * 60 * 60 * 1000; // until a record must be in the log, as in Certificate Transparency
const FINE = ["ok", "first", "unkept", "earlier"];
const UNDECIDED = ["open", "unasked"];

/** Whether a check holds. An answer that cannot even be read holds nothing. */
function holds(check) {
  try {
    return check();
  } catch {
    return false;
  }
}

const outcome = (check) => (holds(check) ? "ok" : "failed");

// --- the head that this browser remembers ---------------------------------------------------------

function recall() {
  try {
    return JSON.parse(localStorage.getItem(MEMORY));
  } catch {
    return null; // storage may be forbidden
  }
}

/** Keep the newest head; false where the browser keeps nothing. */
function remember(head) {
  try {
    if (!(recall()?.size > head.size)) localStorage.setItem(MEMORY, JSON.stringify(head)); // another tab's may be newer
    return true;
  } catch {
    return false;
  }
}

/** Let the next check begin anew, with whatever key and log it finds. */
export function forgetHead() {
  localStorage.removeItem(MEMORY);
}

/** How the log at `head` compares with the one that this browser saw last; "unasked" where nobody says. */
async function compare(head, last) {
  if (!last) return "first";
  if (head.size < last.size) return "shrunken";
  if (head.size === last.size) return head.root === last.root ? "ok" : "rewritten";
  try {
    const proof = await get(`/api/log/consistency?from=${last.size}&to=${head.size}`);
    return holds(() => isConsistent(last.size, head.size, last.root, head.root, proof.path)) ? "ok" : "rewritten";
  } catch (problem) {
    // the arena denies a size that it signed; anything else may be a proxy's or a guard's word
    const isDenied = problem.slug === "not-found" && ["from", "to"].includes(problem.field);
    return isDenied ? "rewritten" : "unasked";
  }
}

// --- checks ---------------------------------------------------------------------------------------

/** The arena's keys, that of today first, and the one of them that signs under this name. */
const keysOf = ({ key, keys }) => [key, ...(keys ?? [])];
const keyOf = (keys, name) => keys.find((key) => key?.name === name) ?? keys[0];

/** `note` is a receipt of one of the arena's keys for this record. */
function receiptOutcome(note, keys, { id, leaf }) {
  let key;
  const found = outcome(() => {
    const receipt = readReceipt(note);
    key = keyOf(keys, receipt.name);
    return receipt.name === key.name && receipt.id === id && receipt.leaf === leaf && isSigned(note, key);
  });
  return found === "ok" && key !== keys[0] ? "earlier" : found;
}

/** `given` is what the arena says of the head: its size, root and note. */
function headOutcome(given, key) {
  return outcome(() => {
    const { name, size, root } = readHead(given.note);
    return name === key.name && size === given.size && root === given.root && isSigned(given.note, key);
  });
}

/** A signed head, and both its key and its log against what this browser remembers. */
async function headOutcomes(given, key, last) {
  const isSameKey = last?.key === key?.public_key;
  const outcomes = { head: headOutcome(given, key), key: last ? (isSameKey ? "ok" : "changed") : "first" };
  if (outcomes.head !== "ok") return { ...outcomes, history: "open" };
  let history = await compare(given, last);
  if (outcomes.key !== "changed" && FINE.includes(history)) {
    const { size, root, note } = given;
    if (!remember({ key: key.public_key, size, root, note })) history = "unkept";
  }
  return { ...outcomes, history };
}

/** The record's place, which only a signed head proves, and that head. */
async function logOutcomes(leaf, inclusion, keys, timestamp, last) {
  if (!inclusion?.head) {
    const isOverdue = serverTime - Date.parse(timestamp) >= PROMISE_MS; // the visitor's clock may be wrong
    return { place: isOverdue ? "missing" : "open", head: "open", history: "open" };
  }
  const { seq, size, path, root, head: note } = inclusion;
  let key = keys[0];
  holds(() => (key = keyOf(keys, readHead(note).name))); // a new key may not have signed a head yet
  const outcomes = await headOutcomes({ size, root, note }, key, last);
  const place = outcomes.head === "ok" ? outcome(() => isIncluded(leaf, seq - 1, size, path, root)) : "open";
  return { place, ...outcomes };
}

/** `fault` is the first check that failed; `evidence` all that the arena said, to be kept. */
function verdict(outcomes, { note = "", inclusion, ...evidence }) {
  const fault = Object.entries(outcomes).find(([, found]) => ![...FINE, ...UNDECIDED].includes(found));
  const has = (outcome) => Object.values(outcomes).includes(outcome);
  return {
    state: fault ? "failed" : has("unasked") ? "unreachable" : has("open") ? "waiting" : "verified",
    fault: fault?.join("."),
    outcomes,
    note,
    seq: inclusion?.seq,
    size: inclusion?.size,
    seen: evidence.last?.size, // records in the log that this browser saw last
    evidence: { receipt: note, inclusion, ...evidence },
  };
}

/**
 * Check a vote: `vote` says what the page shows of it, `{id, campaign, grade, both_bad, model_a,
 * model_b}` with `receipt` and `signed_receipt` where the voter was given them.
 * Rejects with a `Problem` where the arena cannot be asked.
 */
export async function checkVote(vote) {
  const last = recall(); // before the proof: what another tab sees meanwhile is newer than it
  const proof = await get(`/api/battles/${vote.id}/proof`);
  const { record, leaf, inclusion } = proof;
  const keys = keysOf(proof);
  const note = vote.signed_receipt ?? proof.signed_receipt;
  const outcomes = {
    receipt: receiptOutcome(note, keys, { id: record?.id, leaf: vote.receipt ?? leaf }),
    leaf: outcome(() => leafOf(record) === (vote.receipt ?? leaf)),
    vote: outcome(() => {
      const isSame = ["campaign", "grade", "model_a", "model_b"].every((name) => record[name] === vote[name]);
      return isSame && record.type === "vote" && record.battle_id === vote.id && Boolean(record.both_bad) === Boolean(vote.both_bad);
    }),
    ...(await logOutcomes(leaf, inclusion, keys, record?.timestamp, last)),
  };
  return verdict(outcomes, { note, ...proof, last });
}

/** Whether a text is a receipt at all, of whomever. */
export const isReceipt = (text) => holds(() => readReceipt(text) !== null);

/** Check the text of any receipt. Rejects as `checkVote` does. */
export async function checkReceipt(note) {
  const receipt = readReceipt(note);
  const last = recall();
  const keys = keysOf(await get("/api/log/head"));
  const inclusion = await get(`/api/log/inclusion?id=${encodeURIComponent(receipt.id)}`).catch((problem) => {
    if (problem.status !== 404) throw problem;
    return null; // the log does not have it, or not yet
  });
  const outcomes = {
    receipt: receiptOutcome(note, keys, receipt),
    ...(await logOutcomes(receipt.leaf, inclusion, keys, receipt.timestamp, last)),
  };
  return verdict(outcomes, { note, inclusion, keys, last });
}

/** Check the newest head of the log itself. Rejects as `checkVote` does. */
export async function checkHead() {
  const last = recall();
  const { key, ...given } = await get("/api/log/head");
  return verdict(await headOutcomes(given, key, last), { key, head: given, last });
}
