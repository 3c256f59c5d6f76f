/** The answering side of another hub's connection: takes its facts and invitations, and says how this hub is. */
import type { TcpConnection } from "../sys/mod.ts";
import type { EdgeFact } from "./edge-book.ts";
import type { Fact } from "./facts.ts";
import { HUB_VERSION, hubHello, type HubHealth, hubLine } from "./hub-protocol.ts";

/** HubSessionOptions is what another hub's words are for. */
export interface HubSessionOptions {
  readonly connection: TcpConnection;
  readonly facts: (facts: readonly Fact[], edges: readonly EdgeFact[]) => void;
  readonly invite: (from: string, to: string) => void;
  readonly health: () => HubHealth;
}

/** isHubHello tells whether a first line is another hub's. */
export function isHubHello(text: string): boolean {
  return hubHello.safeParse(parseJson(text)).success;
}

/** answerHub takes one line of another hub, from the first on. */
export function answerHub(text: string, options: HubSessionOptions): void {
  const { connection } = options;
  const value = parseJson(text);
  const hello = hubHello.safeParse(value);
  if (hello.success) {
    if (hello.data.version <= HUB_VERSION) return;
    return refuse(connection, "This hub is older than the other; update it");
  }
  const line = hubLine.safeParse(value);
  if (!line.success)
    return refuse(
      connection,
      "A message of a hub cannot be understood; install the same version on all hubs",
    );
  switch (line.data.type) {
    case "facts":
      return options.facts(line.data.facts, line.data.edges);
    case "invite":
      return options.invite(line.data.from, line.data.to);
    case "ping":
      return connection.send(JSON.stringify({ type: "pong", ...options.health() }));
  }
}

function refuse(connection: TcpConnection, message: string): void {
  connection.send(JSON.stringify({ type: "refused", code: "bad-request", message }));
  connection.close(message);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
