import { describe, expect, test } from "bun:test";
import {
  Arena,
  type Fd,
  receiveMessage,
  sendMessage,
  socketPair,
  stable,
  trySendMessage,
} from "../../sys/mod.ts";
import { Poller, type Watched } from "./poller.ts";

const poller = (most = 8) => new Poller(new Arena({ bytes: 1 << 16 }), most);
const inbox = stable(1000);

/** An end that notes when it was ready, and reads what is there. */
function watch(name: string, { end, log }: { readonly end: Fd; readonly log: string[] }): Watched {
  return {
    fd: end.number,
    ready: (writable) => {
      log.push(`${name}${writable ? " writable" : ""}`);
      while ((receiveMessage(end.number, inbox) ?? 0) > 0);
    },
  };
}

describe("waiting for many", () => {
  test("those are called that can be read, and no others", () => {
    const pairs = [0, 1, 2].map(() => socketPair(4096));
    const log: string[] = [];
    const watched = pairs.map(([end], i) => watch(`${i}`, { end, log }));
    const turn = () => {
      poller().turn(watched, 0);
      return log.splice(0);
    };
    expect(turn()).toEqual([]);
    sendMessage((pairs[2] as readonly [Fd, Fd])[1].number, stable(1));
    sendMessage((pairs[0] as readonly [Fd, Fd])[1].number, stable(1));
    expect(turn()).toEqual(["0", "2"]);
    expect(turn()).toEqual([]);
    for (const pair of pairs) for (const end of pair) end.close();
  });

  test("an end that is gone is ready, for whoever asks for nothing too", () => {
    const [end, other] = socketPair(4096);
    other.close();
    const log: string[] = [];
    poller().turn([{ fd: end.number, wantsRead: () => false, ready: () => void log.push("gone") }], 0);
    expect(log).toEqual(["gone"]);
    end.close();
  });

  test("writing is waited for only on request, and reading not when it is not wanted", () => {
    const [end, other] = socketPair(4096);
    sendMessage(other.number, stable(1));
    const log: string[] = [];
    const wants = { read: true, write: false };
    const watched: Watched = {
      fd: end.number,
      wantsRead: () => wants.read,
      wantsWrite: () => wants.write,
      ready: (writable) => void log.push(writable ? "writable" : "readable"),
    };
    const turn = (read: boolean, write: boolean) => {
      Object.assign(wants, { read, write });
      poller().turn([watched], 0);
      return log.splice(0);
    };
    expect(turn(true, false)).toEqual(["readable"]);
    expect(turn(false, false)).toEqual([]);
    expect(turn(false, true)).toEqual(["writable"]);
    while (trySendMessage(end.number, stable(1000)));
    expect(turn(false, true)).toEqual([]);
    end.close();
    other.close();
  });

  test("descriptors come and go between turns; of more than it can hold the first ones are served", () => {
    const one = poller(2);
    const pairs = [0, 1, 2].map(() => socketPair(4096));
    const log: string[] = [];
    const watched = pairs.map(([end], i) => watch(`${i}`, { end, log }));
    for (const [, other] of pairs) sendMessage(other.number, stable(1));
    one.turn(watched, 0);
    expect(log.splice(0)).toEqual(["0", "1"]);
    one.turn(watched.slice(2), 0);
    expect(log.splice(0)).toEqual(["2"]);
    one.turn([], 0);
    for (const pair of pairs) for (const end of pair) end.close();
  });
});
