import { expect, test } from "bun:test";
import { formatIp, parseIp, parseMac } from "../net/mod.ts";
import { GroupMembers, groupTag } from "./group-members.ts";
import type { RemoteChange } from "./model.ts";

const vtep = parseIp("192.0.2.1");
const mac = parseMac("02:00:00:00:00:05");

function host(op: RemoteChange["op"], address: string, groups?: readonly string[], vni = 300): RemoteChange {
  const ip = parseIp(address);
  return {
    op,
    remote: { kind: "host", vni, mac, ip, vtep, ...(groups && { groups: groups.map(groupTag) }) },
  };
}

const texts = (members: GroupMembers, group: string, ...segments: number[]) =>
  members.of(segments, group).map(formatIp);

/** Which members a change is about. */
const told = (members: GroupMembers, ...changes: readonly RemoteChange[]) =>
  members
    .tell(changes)
    .map(
      ({ vni, tag, ip }) => `${vni} ${["web", "db"].find((one) => groupTag(one) === tag)} ${formatIp(ip)}`,
    );

test("members are known by segment and group, and go with their host or its membership", () => {
  const members = new GroupMembers();
  expect(told(members, host("set", "10.0.0.5", ["web", "db"]), host("set", "10.0.0.6"))).toEqual([
    "300 web 10.0.0.5",
    "300 db 10.0.0.5",
  ]);
  members.tell([host("set", "10.0.1.5", ["web"], 301), host("set", "fd00::5", ["web"])]);
  expect(texts(members, "web", 300, 301)).toEqual(["10.0.0.5", "fd00::5", "10.0.1.5"]);
  expect(texts(members, "db", 300, 301)).toEqual(["10.0.0.5"]);
  expect(told(members, host("set", "10.0.0.5", ["web"]))).toContain("300 db 10.0.0.5");
  expect(texts(members, "db", 300)).toEqual([]);
  expect(told(members, host("remove", "10.0.0.5"), host("set", "fd00::5"))).toEqual([
    "300 web 10.0.0.5",
    "300 web fd00::5",
  ]);
  expect(texts(members, "web", 300, 301)).toEqual(["10.0.1.5"]);
});

test("what changes nothing touches nothing", () => {
  const members = new GroupMembers();
  members.tell([host("set", "10.0.0.5", ["web"])]);
  const same = [host("set", "10.0.0.5", ["web"]), host("set", "10.0.0.9"), host("remove", "10.0.0.8")];
  expect(told(members, ...same)).toEqual([]);
});

test("an address that two hosts have belongs to a group until neither is in it", () => {
  const members = new GroupMembers();
  const web = host("set", "10.0.0.5", ["web"]);
  const twin = { ...web, remote: { ...web.remote, mac: parseMac("02:00:00:00:00:06") } } as RemoteChange;
  const has = () => members.has([301, 300], groupTag("web"), parseIp("10.0.0.5"));
  members.tell([web, twin]);
  expect(texts(members, "web", 300)).toEqual(["10.0.0.5"]);
  members.tell([host("remove", "10.0.0.5")]);
  expect(has()).toBe(true);
  members.tell([{ ...twin, op: "remove" }]);
  expect(has()).toBe(false);
});

test("a group's number is the same everywhere, and never 0", () => {
  expect([groupTag("web"), groupTag("db")]).toEqual([groupTag("web"), groupTag("db")]);
  expect(groupTag("web")).not.toBe(groupTag("db"));
  expect(groupTag("web")).toBeGreaterThan(0);
});
