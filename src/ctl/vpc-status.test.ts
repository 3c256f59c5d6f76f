import { expect, test } from "bun:test";
import type { Results } from "../agent/mod.ts";
import { attachmentsText, vpcText } from "./vpc-status.ts";

type Attachment = Results["vpc-status"]["vpcs"][number]["attachments"][number];

const attachment: Attachment = {
  ...{ container: "0123456789abcdef0123", ifname: "vpc0", segment: 4097, link: "cw0123456789a" },
  ...{ mac: "0a:58:0a:01:00:02", addresses: ["10.1.0.2", "fd00:a:1::2"], mtuBytes: 1370 },
  ...{ groups: ["team-a.web", "team-a.ops"], state: "ready" },
};
const vpc = {
  ...{ name: "team-a", vni: 4096, namespace: "cw-4096", routed: true },
  segments: [{ name: "team-a.web", vni: 4097, mtuBytes: 1370, attachments: 2 }],
  remote: { hosts: 3, prefixes: 1, floods: 2 },
  attachments: [],
  problems: [],
};

test("what people see of a VPC: pods by their names, and by their containers where nobody said", () => {
  const other: Attachment = {
    ...attachment,
    ...{ container: "box", ifname: "net1", segment: 300, addresses: [], groups: [], state: "moved" },
  };
  const attachments = [{ pod: "team-a/db-0", ...attachment }, other];
  expect(vpcText({ ...vpc, attachments, problems: ["eth1 is not there"] })).toBe(
    `VPC team-a, VNI 4096, namespace cw-4096, routed
elsewhere: 3 hosts, 1 prefixes, 2 nodes of its subnets

SUBNET      VNI   MTU   PODS
team-a.web  4097  1370  2

POD          CONTAINER      INTERFACE  SUBNET      ADDRESSES             MAC                LINK           GROUPS                 STATE
team-a/db-0  0123456789abc  vpc0       team-a.web  10.1.0.2,fd00:a:1::2  0a:58:0a:01:00:02  cw0123456789a  team-a.web,team-a.ops  ready
-            box            net1       300         -                     0a:58:0a:01:00:02  cw0123456789a  -                      moved

problem: eth1 is not there
`,
  );
});

test("pods of all VPCs stand in one table", () => {
  const none = { ...vpc, name: "team-b" };
  const open = { ...vpc, name: "vni-300", segments: [], attachments: [{ ...attachment, segment: 300 }] };
  expect(attachmentsText([{ ...vpc, attachments: [attachment] }, none, open])).toBe(
    `VPC      POD  CONTAINER      INTERFACE  SUBNET      ADDRESSES             MAC                LINK           GROUPS                 STATE
team-a   -    0123456789abc  vpc0       team-a.web  10.1.0.2,fd00:a:1::2  0a:58:0a:01:00:02  cw0123456789a  team-a.web,team-a.ops  ready
vni-300  -    0123456789abc  vpc0       300         10.1.0.2,fd00:a:1::2  0a:58:0a:01:00:02  cw0123456789a  team-a.web,team-a.ops  ready
`,
  );
  expect(attachmentsText([none])).toBe("none\n");
});

test("one that nobody is in, without routing", () => {
  expect(vpcText({ ...vpc, routed: false, segments: [] })).toBe(
    `VPC team-a, VNI 4096, namespace cw-4096, not routed
elsewhere: 3 hosts, 1 prefixes, 2 nodes of its subnets

none

none
`,
  );
});
