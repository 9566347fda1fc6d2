/** The event stream of one turn. */

/**
 * Follow a turn until it ends; returns a function that stops listening.
 *
 * on.delta(side, text)  the next piece of one side
 * on.restart()          the turn is replayed: forget what came so far
 * on.connection(up)     the connection broke (it is tried again by itself) or came back
 * on.ready(data), on.void(data)   the turn's end
 * on.lost()             the stream closed without an end: ask for the battle's state
 */
export function follow(events, turn, on) {
  let source = null;
  let heard = new Set();

  function open() {
    source = new EventSource(`${events}?turn=${turn}`);
    source.addEventListener("open", () => on.connection(true));
    source.addEventListener("delta", hear);
    for (const end of ["ready", "void"]) {
      source.addEventListener(end, (event) => {
        close();
        on[end](JSON.parse(event.data));
      });
    }
    source.addEventListener("error", ({ currentTarget }) => {
      if (currentTarget.readyState !== EventSource.CLOSED) return on.connection(false);
      close();
      on.lost();
    });
  }

  function hear(event) {
    const { side, text } = JSON.parse(event.data);
    const isFirst = event.lastEventId.endsWith("-0");
    if (isFirst && heard.has(side)) {
      heard = new Set();
      on.restart();
    }
    heard.add(side);
    on.delta(side, text);
  }

  // A network that went away leaves a stream that looks open and says nothing for minutes.
  const leave = () => {
    source.close();
    on.connection(false);
  };

  function close() {
    removeEventListener("offline", leave);
    removeEventListener("online", open);
    source.close();
  }

  addEventListener("offline", leave);
  addEventListener("online", open);
  open();
  return close;
}
