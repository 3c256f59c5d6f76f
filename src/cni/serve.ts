/** The agent's socket for the plugin: root only, one question and one answer per connection. */
import { LineServer } from "../sys/mod.ts";
import {
  CNI_SOCKET,
  decodeRequest,
  DELEGATE,
  encodeAnswer,
  MOST_ANSWER_BYTES,
  MOST_REQUEST_BYTES,
} from "./protocol.ts";
import type { Answer, CniService } from "./service.ts";

/** serveCni answers plugins with the service until the server is closed. */
export function serveCni(service: CniService, path = CNI_SOCKET): LineServer {
  return LineServer.listen(path, {
    mode: 0o600,
    descriptors: true,
    maxLineBytes: MOST_REQUEST_BYTES,
    maxPendingBytes: MOST_ANSWER_BYTES,
    onRequest(line, connection) {
      const descriptor = connection.takeDescriptor();
      const request = connection.peer.uid === 0 ? decodeRequest(line) : undefined;
      // Whoever gave up waiting was told so, and may have written a DEL down meanwhile: its ADD must not come after that.
      if (request === undefined || connection.hungUp) {
        descriptor?.close();
        connection.end();
        return;
      }
      const reply = (answer: Answer) => {
        connection.reply(answer === DELEGATE ? DELEGATE : encodeAnswer(answer));
        connection.end();
      };
      const answer = service.handle(request, descriptor);
      if (answer instanceof Promise) void answer.then(reply);
      else reply(answer);
    },
  });
}
