import { expect, test } from "bun:test";
import { PrivateKey, Secret } from "../net/mod.ts";
import { formatWgQuick } from "../plain/mod.ts";
import { peerFile } from "./peer.ts";

const hub = PrivateKey.random().publicKey;
const privateKey = PrivateKey.random();
const { publicKey } = privateKey;
const added = {
  peer: {
    name: "laptop",
    hub: "hub",
    publicKey,
    overlay4: "10.90.255.254",
    overlay6: "fd01:2:3::fffe",
    allowed: ["192.168.7.0/24"],
    presharedKey: false,
  },
  hub: { name: "hub", publicKey: hub, endpoints: ["hub.example.com:51820", "192.0.2.1:51820"] },
  networks: ["10.90.0.0/16", "fd01:2:3::/64", "10.244.0.0/16"],
  mtuBytes: 1420,
};

test("the file of a peer: its addresses, the hub, all that it reaches", () => {
  const text = formatWgQuick(
    peerFile(added, { keys: { publicKey, privateKey }, keepaliveSeconds: 25, dns: ["10.96.0.10"] }),
  );
  expect(text).toBe(
    `# laptop, external peer of a mesh of Causeway, carried by hub\n# Public key: ${publicKey}\n[Interface]\n` +
      `Address = 10.90.255.254/32, fd01:2:3::fffe/128\nPrivateKey = ${privateKey.toFile()}MTU = 1420\nDNS = 10.96.0.10\n\n` +
      `# hub\n# Other endpoints: 192.0.2.1:51820\n[Peer]\nPublicKey = ${hub}\n` +
      "AllowedIPs = 10.90.0.0/16, fd01:2:3::/64, 10.244.0.0/16\nEndpoint = hub.example.com:51820\nPersistentKeepalive = 25\n",
  );
});

test("of a device that keeps its key; with a pre-shared key; without keepalive", () => {
  const presharedKey = Secret.random();
  const text = formatWgQuick(
    peerFile(added, { keys: { publicKey, presharedKey }, keepaliveSeconds: 0, dns: [] }),
  );
  expect(text).not.toMatch(/^PrivateKey/m);
  expect(text).toContain("# The private key is on the machine: PrivateKey = …\n[Interface]");
  expect(text).toContain(`PresharedKey = ${presharedKey.toFile()}`);
  expect(text).not.toContain("Keepalive");
});
