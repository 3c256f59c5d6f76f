import { expect, test } from "bun:test";
import { planGateway, readConfig } from "../gateway/mod.ts";
import { planQueues } from "./queue-plan.ts";

const INSIDE = "private-interface4 { ifname e0; ip 10.0.0.1; nexthop-ip 10.0.0.2; }";
const FOUR = "public-interface4 { ifname e1; ip 192.0.2.1; nexthop-ip 192.0.2.2; }";
const six = (name: string) => `public-interface6 { ifname ${name}; ip 2001:db8::1; nexthop-ip 2001:db8::2; }`;
const outside = (text: string) => {
  const [queue] = planQueues(planGateway(readConfig(`${INSIDE} ${text}`).config), []);
  return queue !== undefined && "public" in queue.sides ? queue.sides.public : undefined;
};

test("a side has one interface for both families, or one for each", () => {
  expect(outside(FOUR + six("e1"))).toMatchObject({ interface: "e1", four: {}, six: {} });
  expect(outside(FOUR + six("e1"))).not.toHaveProperty("interface6");
  expect(outside(FOUR + six("e2"))).toMatchObject({ interface: "e1", interface6: "e2" });
  expect(outside(six("e2"))).toMatchObject({ interface: "e2" });
});
