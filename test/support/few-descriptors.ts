/** A process of its own, with few descriptors: a domain is made with none to spare, then with one, and so on until there are enough. Says what each try that failed left. */
import { closeSync, openSync, readdirSync } from "node:fs";
import { DomainHost } from "../../src/agent/domain-host.ts";
import { guardText } from "../../src/domain/mod.ts";
import { Engine } from "../../src/engine/mod.ts";
import { parseIp } from "../../src/net/mod.ts";
import { Netns, removeNetns } from "../../src/sys/mod.ts";
import { vpc } from "./domain-lab.ts";

const MOST = 64;
const [folder = ""] = process.argv.slice(2);

const filled: number[] = [];
function fill(): void {
  try {
    for (;;) filled.push(openSync("/dev/null", "r"));
  } catch {
    // There are no more.
  }
}
function free(count: number): void {
  for (const fd of filled.splice(0, count)) closeSync(fd);
}
/** Looks with all others given back. */
function seen(): string {
  free(filled.length);
  return `${readdirSync("/proc/self/fd").length} descriptors, ${readdirSync(folder).length} namespaces`;
}

const home = Engine.open();
home.set("guard", [{ kind: "ruleset", family: "inet", text: guardText("lo") }]);
home.apply("guard");
using netns = Netns.current();
const node = { vtep: parseIp("192.0.2.1"), underlayLink: "lo", underlayMtuBytes: 1500 };
const domains = DomainHost.open({ home, netns, node, folder, onProblem() {} });
domains.setDomains([vpc("blue", 5000, [])]);

// What is opened once for all is there before.
for (const wanted of [true, false]) domains.keep(5000, "edge", wanted);
const before = seen();
let refusals = 0;
const left = new Set<string>();
for (let spare = 0; spare < MOST && domains.netns(5000) === undefined; spare++) {
  fill();
  free(spare);
  domains.keep(5000, "edge");
  domains.keep(5000, "edge");
  if (domains.netns(5000) !== undefined) break;
  domains.keep(5000, "edge", false);
  refusals++;
  left.add(seen());
}
free(filled.length);
const isMade = domains.netns(5000) !== undefined;
domains[Symbol.dispose]();
for (const name of readdirSync(folder)) removeNetns(`${folder}/${name}`);
left.delete(before);
console.log(JSON.stringify({ isMade, wasRefused: refusals > 3, left: [...left] }));
process.exit(0);
