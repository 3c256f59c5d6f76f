import { expect, test } from "bun:test";
import { shownTls } from "./shown.ts";

test("the names of TLS sessions, which are secrets, are not shown", () => {
  const uplink = {
    name: "hub",
    localPort: 4,
    state: "open",
    opened: 1,
    sent: 2,
    received: 3,
    dropped: 0,
  } as const;
  const status = { build: "b", pid: 7, problems: [], hubs: [{ ...uplink, session: "5ec2e7".repeat(5) }] };
  const shown = shownTls({ using: true, status });
  expect(JSON.stringify(shown)).not.toContain("5ec2e7");
  expect(shown.status.hubs).toEqual([uplink]);
});
