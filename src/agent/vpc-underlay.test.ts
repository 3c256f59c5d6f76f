import { expect, test } from "bun:test";
import { LEG_RULES } from "../domain/mod.ts";
import { VpcRules } from "./vpc-underlay.ts";

type View = Parameters<VpcRules["of"]>[0];

const DROP = 'iifname "cwn*" counter drop';
const view = (...gateways: string[]) =>
  ({
    mesh: {},
    tenants: { NatGateway: new Map(gateways.map((name) => [name, {}])), Gateway: new Map() },
  }) as unknown as View;
const tunnels = (vpc?: string) =>
  ({
    mesh: {},
    tenants: { NatGateway: new Map(), Gateway: new Map([["red", vpc === undefined ? {} : { vpc }]]) },
  }) as unknown as View;
/** What stands there for legs: their rules, or that nothing comes out of one. */
const legs = (rules: VpcRules, given: View) => {
  const { vxlan, moreRules } = rules.of(given);
  return [moreRules === LEG_RULES, vxlan?.guard.split("\n").some((line) => line.trim() === DROP)];
};

test("rules of legs come with the first NatGateway and stay; until then nothing comes out of a leg", () => {
  const rules = new VpcRules(false);
  expect(legs(rules, view())).toEqual([false, true]);
  expect(legs(rules, view("out"))).toEqual([true, false]);
  expect(legs(rules, view())).toEqual([true, false]);
});

test("where an earlier agent left legs their rules are there from the start", () => {
  expect(legs(new VpcRules(true), view())).toEqual([true, false]);
});

test("so they do with the first Gateway of a VPC, and not with one of a site", () => {
  const rules = new VpcRules(false);
  expect(legs(rules, tunnels())).toEqual([false, true]);
  expect(legs(rules, tunnels("red"))).toEqual([true, false]);
  expect(LEG_RULES).toContain('iifname "cwt*" counter drop');
});
