/** The event stream of one turn. */

/**
 * Follow a turn until it ends; returns a function that stops listening.
 *
 * on.delta(side, text)  the next piece of one side
 * on.restart()          the turn is replayed: forget what came so far
 * on.connection(up)     the connection broke (the browser reconnects by itself) or came back
 * on.ready(data), on.void(data)   the turn's end
 * on.lost()             the stream closed without an end: ask for the battle's state
 */
export function follow(events, turn, on) {
  const source = new EventSource(`${events}?turn=${turn}`);
  let heard = new Set();

  source.addEventListener("open", () => on.connection(true));
  source.addEventListener("delta", (event) => {
    const { side, text } = JSON.parse(event.data);
    const isFirst = event.lastEventId.endsWith("-0");
    if (isFirst && heard.has(side)) {
      heard = new Set();
      on.restart();
    }
    heard.add(side);
    on.delta(side, text);
  });
  for (const end of ["ready", "void"]) {
    source.addEventListener(end, (event) => {
      source.close();
      on[end](JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) on.lost();
    else on.connection(false);
  });
  return () => source.close();
}
