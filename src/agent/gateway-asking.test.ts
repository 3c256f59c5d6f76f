import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { type LineConnection, LineServer } from "../sys/mod.ts";
import { GatewayAsking } from "./gateway-asking.ts";

const folder = mkdtempSync(`${tmpdir()}/causeway-asking-`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ROUTES = [{ id: "site", up: true }];
const answer = (connection: LineConnection | undefined) =>
  connection?.reply(JSON.stringify({ top: { routes: ROUTES } }));

test("what a gateway said is old when it is silent, and new when it answers at last", async () => {
  const socket = `${folder}/red.sock`;
  const told: string[] = [];
  const asked: LineConnection[] = [];
  /** Resolves with the next that is told, or asked. */
  let next = Promise.withResolvers<void>();
  const happened = () => {
    next.resolve();
    next = Promise.withResolvers();
  };
  using asking = new GatewayAsking({
    socket,
    onRoutes: (routes) => {
      told.push(JSON.stringify(routes));
      happened();
    },
    onSilent: (reason) => told.push(reason),
  });
  asking.look();
  expect(told.splice(0)).toEqual(["its gateway does not run"]);
  const serve = () =>
    LineServer.listen(socket, {
      mode: 0o600,
      onRequest: (_, connection) => {
        asked.push(connection);
        happened();
      },
    });
  {
    using _ = serve();
    let { promise } = next;
    asking.look();
    await promise;
    promise = next.promise;
    answer(asked[0]);
    await promise;
    expect(told.splice(0)).toEqual([JSON.stringify(ROUTES)]);
    promise = next.promise;
    for (let look = 0; look < 5; look++) asking.look();
    await promise;
    expect(told).toEqual([]);
    asking.look();
    expect(told.splice(0)).toEqual(["its gateway has not answered for 10 s"]);
    // It was asked once, and that is answered.
    expect(asked).toHaveLength(2);
    promise = next.promise;
    answer(asked[1]);
    await promise;
    expect(told.splice(0)).toEqual([JSON.stringify(ROUTES)]);
    promise = next.promise;
    asking.look();
    await promise;
    expect(asked).toHaveLength(3);
  }
  // It has ended without an answer: the next one is asked.
  while (told.length === 0) {
    await Bun.sleep(1);
    asking.look();
  }
  expect(told.splice(0)).toEqual(["its gateway does not run"]);
  using _ = serve();
  const { promise } = next;
  asking.look();
  await promise;
  expect(asked).toHaveLength(4);
});
