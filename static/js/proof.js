/**
 * The arithmetic of receipts: canonical JSON (RFC 8785), the Merkle tree of RFC 6962 with its
 * proofs as RFC 9162 checks them, and C2SP's signed notes. `arena/merkle.py`, `arena/notes.py` and
 * `arena/records.py` are the server's side of it.
 *
 * Hashes are hex strings. All of it runs without `crypto.subtle`, which only HTTPS pages have.
 */

import { bytesToHex, concatBytes, hexToBytes, sha256, verify } from "../vendor/noble.js";

const HASH = /^[0-9a-f]{64}$/;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
const ED25519 = Uint8Array.of(1); // the algorithm's number in C2SP's signed-note
const KEY_ID_BYTES = 4;
const RECEIPT = "arena receipt v1";

const utf8 = (text) => new TextEncoder().encode(text);
const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const half = (value) => Math.floor(value / 2); // >> is for 32 bits
const isOdd = (value) => value % 2 === 1;

/** A value as RFC 8785 writes it: its strings and numbers are ECMAScript's. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
  return `{${members.join(",")}}`;
}

/** The leaf hash of a record's fields. */
export const leafOf = (record) => bytesToHex(sha256(concatBytes(LEAF, utf8(canonical(record)))));

function parent(left, right) {
  return bytesToHex(sha256(concatBytes(NODE, hexToBytes(left), hexToBytes(right))));
}

const areHashes = (...hashes) => hashes.every((hash) => typeof hash === "string" && HASH.test(hash));

/** Whether the path leads from leaf `index` (from 0) to the root of `size` leaves: RFC 9162 §2.1.3.2. */
export function isIncluded(leaf, index, size, path, root) {
  if (!isCount(index) || !isCount(size) || index >= size || !areHashes(leaf, root, ...path)) return false;
  let [place, last, found] = [index, size - 1, leaf];
  for (const node of path) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      found = parent(node, found);
      while (!isOdd(place) && place > 0) [place, last] = [half(place), half(last)];
    } else {
      found = parent(found, node);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && found === root;
}

/** Whether the tree of `second` leaves begins with that of `first`: RFC 9162 §2.1.4.2. */
export function isConsistent(first, second, firstRoot, secondRoot, path) {
  if (!isCount(first) || !isCount(second) || first < 1 || first > second) return false;
  if (!areHashes(firstRoot, secondRoot, ...path)) return false;
  if (first === second) return path.length === 0 && firstRoot === secondRoot;
  const isPowerOfTwo = (BigInt(first) & BigInt(first - 1)) === 0n;
  const [start, ...rest] = isPowerOfTwo ? [firstRoot, ...path] : path;
  if (start === undefined) return false;
  let [place, last] = [first - 1, second - 1];
  while (isOdd(place)) [place, last] = [half(place), half(last)];
  let [old, now] = [start, start];
  for (const node of rest) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      [old, now] = [parent(node, old), parent(node, now)];
      while (!isOdd(place) && place > 0) [place, last] = [half(place), half(last)];
    } else {
      now = parent(now, node);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && old === firstRoot && now === secondRoot;
}

/** A note's text and signatures (name → key id and signature in one), or null for what is no note. */
function taken(note) {
  const [, text, lines] = /^([^]*\n)\n((?:— \S+ [\w+/]+=*\n)+)$/.exec(note) ?? [];
  if (text === undefined) return null;
  return { text, signatures: [...lines.matchAll(/^— (\S+) (\S+)$/gm)] };
}

/** Whether `key` signed the note. */
export function isSigned(note, { name, public_key: publicKey }) {
  const { text, signatures } = taken(note) ?? { signatures: [] };
  const key = fromBase64(publicKey);
  const id = sha256(concatBytes(utf8(`${name}\n`), ED25519, key)).slice(0, KEY_ID_BYTES);
  return signatures.some(([, signer, encoded]) => {
    const signed = fromBase64(encoded);
    const isOfKey = signer === name && bytesToHex(signed.slice(0, KEY_ID_BYTES)) === bytesToHex(id);
    return isOfKey && verify(signed.slice(KEY_ID_BYTES), utf8(text), key, { zip215: false });
  });
}

const linesOf = (note) => taken(note)?.text.split("\n").slice(0, -1) ?? [];

/** What a receipt says, `{name, id, leaf, timestamp}`; null for a text that is no receipt. */
export function readReceipt(note) {
  const [title, name, id, leaf, timestamp, ...more] = linesOf(note);
  if (title !== RECEIPT || more.length > 0 || !areHashes(leaf) || !timestamp) return null;
  return { name, id, leaf, timestamp };
}

/** What a head says, `{name, size, root, timestamp}`; null for a text that is no head. */
export function readHead(note) {
  const [name, size, root, timestamp, ...more] = linesOf(note);
  if (!/^[1-9]\d*$/.test(size) || more.length > 0 || !timestamp) return null;
  return { name, size: Number(size), root: bytesToHex(fromBase64(root)), timestamp };
}
