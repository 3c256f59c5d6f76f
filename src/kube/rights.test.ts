import { expect, test } from "bun:test";
import { secretRights } from "./rights.ts";

test("agents may read the Secrets that are named, each in its own namespace, and nothing else", () => {
  const secrets = [
    { namespace: "net", name: "tor" },
    { namespace: "apps", name: "tor" },
    { namespace: "net", name: "leaf" },
    { namespace: "net", name: "tor" },
  ];
  const roles = secretRights(secrets).filter(({ kind }) => kind === "Role");
  const rule = (...resourceNames: string[]) => ({
    ...{ apiGroups: [""], resources: ["secrets"], verbs: ["list", "watch"], resourceNames },
  });
  expect(roles.map(({ metadata, rules }) => [metadata, rules] as unknown)).toEqual([
    [{ name: "causeway-agent-passwords", namespace: "apps" }, [rule("tor")]],
    [{ name: "causeway-agent-passwords", namespace: "net" }, [rule("leaf", "tor")]],
  ]);
  expect(secretRights(secrets).some(({ kind }) => kind === "ClusterRole")).toBe(false);
  expect(secretRights([])).toEqual([]);
});
