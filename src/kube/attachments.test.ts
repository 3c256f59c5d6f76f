import { expect, test } from "bun:test";
import { tenantResources } from "../../test/support/resource-text.ts";
import { tenantsOf } from "../resources/mod.ts";
import { attachmentManifest, parseAttachment, wantedAttachments } from "./attachments.ts";

const tenants = (text: string) => tenantsOf(tenantResources(text));

test("each Subnet is in each namespace that its VPC names, and where all may use it in default", () => {
  const { wanted, problems } = wantedAttachments(
    tenants(`
      VPC a {allow: {namespaces: [one, two]}}
      VPC all {allow: {namespaces: ["*"]}}
      VPC labels {allow: {labels: {tenant: a}}}
      VPC nobody {}
      Subnet a.web {vpc: a, prefixes: [10.1.0.0/24]}
      Subnet all.web {vpc: all, prefixes: [10.1.0.0/24]}
      Subnet labels.web {vpc: labels, prefixes: [10.1.0.0/24]}
      Subnet nobody.web {vpc: nobody, prefixes: [10.1.0.0/24]}
    `),
  );
  expect(problems).toEqual([]);
  expect([...wanted.keys()]).toEqual(["one/a-web", "two/a-web", "default/all-web", "default/labels-web"]);
  expect(wanted.get("two/a-web")?.config).toBe(
    '{"cniVersion":"1.0.0","name":"a-web","type":"causeway","vpc":"a","subnet":"a.web","capabilities":{"ips":true,"mac":true}}',
  );
});

test("of two Subnets that come to one name the first has it, and the other one is told", () => {
  const { wanted, problems } = wantedAttachments(
    tenants(`
      VPC a {allow: {namespaces: [one]}}
      Subnet a.web {vpc: a, prefixes: [10.1.0.0/24]}
      Subnet a-web {vpc: a, prefixes: [10.2.0.0/24]}
    `),
  );
  expect(wanted.get("one/a-web")?.config).toContain('"subnet":"a-web"');
  expect(problems).toEqual([
    'Subnet "a.web": NetworkAttachmentDefinition one/a-web is of another Subnet by now; choose names that differ in more than dots and hyphens',
  ]);
});

test("what we make is read as ours, and what others make is not", () => {
  const made = attachmentManifest({ namespace: "one", name: "a-web", config: "{}" }) as {
    metadata: object;
  };
  const read = (metadata: object) => parseAttachment({ ...made, metadata });
  expect(read({ ...made.metadata, uid: "u" })).toEqual({
    ...{ namespace: "one", name: "a-web", uid: "u", config: "{}", ours: true },
  });
  expect(read({ ...made.metadata, uid: "u", labels: {} })).toMatchObject({ ours: false });
});
