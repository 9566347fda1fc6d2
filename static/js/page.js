/** Pages of this site, fetched as documents. */

/** XMLHttpRequest parses a page itself, so no string is turned into HTML here. */
export function fetchPage(url, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(request));
    request.onerror = () => reject(request);
    signal?.addEventListener("abort", () => request.abort()); // then nobody waits for it any more
    request.send();
  });
}
