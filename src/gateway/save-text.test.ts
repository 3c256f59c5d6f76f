import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { sameValue } from "./identity.ts";
import { saveConfig } from "./save-text.ts";
import { defaultConfig, readConfig } from "./verbs.ts";

test.each(["paris", "tokyo"])("what is saved of %s is read back as it was, secrets too", (name) => {
  const { config } = readConfig(readFileSync(`examples/gateway/${name}.conf`, "utf8"));
  const text = saveConfig(config);
  expect(text).not.toContain("hidden");
  expect(sameValue(readConfig(text).config, config)).toBe(true);
});

test("a configuration of an operator's associations, and the default one", () => {
  const text = `data-plane true; outbound-sa { spi 300; route r; aead aes-gcm-16-icv; key "${"ab".repeat(16)}"; salt "01020304"; }
  route { id r; spi 256; net 10.0.0.0/8; net "fd00::/8"; gateway { ip 192.0.2.1; } preshared-key "${"cd".repeat(32)}"; } cpu 2; cpu 3;`;
  const { config } = readConfig(text);
  expect(sameValue(readConfig(saveConfig(config)).config, config)).toBe(true);
  expect(sameValue(readConfig(saveConfig(defaultConfig)).config, defaultConfig)).toBe(true);
});
