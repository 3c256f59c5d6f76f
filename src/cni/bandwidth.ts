/**
 * The capability `bandwidth`, and the same keys in the network configuration, as the reference plugin has them: rates in bits per
 * second, bursts in bits, directions as the container sees them. 0 is absent.
 */
import { type Bandwidth, defaultBurstBits, type Rate } from "../pods/mod.ts";
import { CniError } from "./error.ts";
import type { Reader } from "./json.ts";

/** The highest rate that Kubernetes takes (`1P`). */
const MOST_RATE = 1e15;

/** 4 GiB, the most that the kernel takes. */
const MOST_BURST = 8 * 2 ** 32;

/**
 * What runtimes send when nobody has chosen a burst, which is always, as pods can only say rates: the Docker shim, containerd, CRI-O.
 * Taken by the word, a pod might send half a gigabyte at once before its limit is felt.
 */
const NOT_CHOSEN: readonly number[] = [2 ** 31 - 1, 2 ** 32 - 1, 8 * (2 ** 32 - 1) - 1, 8 * (2 ** 32 - 1)];

/**
 * parseBandwidth reads the limits of a call; of one direction those in the network configuration win over `runtimeConfig.bandwidth`. A
 * rate without a burst gets one that suits it. Code 7 names the field that is wrong.
 */
export function parseBandwidth(configured: Reader, runtime: Reader | undefined): Bandwidth | undefined {
  const places = [configured, runtime?.object("bandwidth")].filter((place) => place !== undefined);
  const [ingress] = places.flatMap((place) => parseRate(place, "ingress") ?? []);
  const [egress] = places.flatMap((place) => parseRate(place, "egress") ?? []);
  if (ingress === undefined && egress === undefined) return undefined;
  return { ...(ingress !== undefined && { ingress }), ...(egress !== undefined && { egress }) };
}

function parseRate(reader: Reader, direction: "ingress" | "egress"): Rate | undefined {
  const [rate, burst] = [`${direction}Rate`, `${direction}Burst`] as const;
  const bitsPerSecond = reader.integer(rate, { least: 0, most: MOST_RATE }) ?? 0;
  const given = reader.integer(burst, { least: 0, most: MOST_BURST }) ?? 0;
  const burstBits = NOT_CHOSEN.includes(given) ? 0 : given;
  if (bitsPerSecond > 0)
    return { bitsPerSecond, burstBits: burstBits > 0 ? burstBits : defaultBurstBits(bitsPerSecond) };
  if (burstBits === 0) return undefined;
  throw new CniError(
    "badConfiguration",
    `Cannot limit ${direction}: ${reader.path(burst)} comes without a rate; set ${reader.path(rate)}`,
    { details: `${reader.path(burst)} is ${burstBits}` },
  );
}
