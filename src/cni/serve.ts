/** The agent's socket for the plugin: root only, one question and one answer per connection. */
import { LineServer } from "../sys/mod.ts";
import { attempt, isObject, type JsonObject } from "./json.ts";
import { CNI_SOCKET, type PluginAnswer, type PluginRequest } from "./protocol.ts";
import type { CniService } from "./service.ts";

/** serveCni answers plugins with the service until the server is closed. */
export function serveCni(service: CniService, path = CNI_SOCKET): LineServer {
  return LineServer.listen(path, {
    mode: 0o600,
    descriptors: true,
    onRequest(line, connection) {
      const descriptor = connection.takeDescriptor();
      const request = connection.peer.uid === 0 ? parse(line) : undefined;
      if (request === undefined) {
        descriptor?.close();
        connection.end();
        return;
      }
      const answer: PluginAnswer = service.handle(request, descriptor);
      connection.reply(JSON.stringify(answer));
      connection.end();
    },
  });
}

/** Our own plugin wrote this; anything else is sent away without an answer. */
function parse(line: string): PluginRequest | undefined {
  const value = attempt((): unknown => JSON.parse(line));
  if (!isObject(value) || !isObject(value.environment) || typeof value.stdin !== "string") return undefined;
  const { environment, stdin, netnsProblem } = value as JsonObject & {
    environment: JsonObject;
    stdin: string;
  };
  if (!Object.values(environment).every((text) => typeof text === "string")) return undefined;
  return { environment, stdin, ...(typeof netnsProblem === "string" && { netnsProblem }) } as PluginRequest;
}
