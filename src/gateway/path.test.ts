import { describe, expect, test } from "bun:test";
import { parsePath } from "./path.ts";
import { configSchema } from "./schema.ts";
import { stateSchema } from "./state-schema.ts";

describe("paths", () => {
  const cases: [path: string, expected: string][] = [
    ["", "/"],
    ["/", "/"],
    ["//", "/"],
    ["//route4//", "/route4"],
    ["mtu", "/mtu"],
    ["/route4[id=test1]/gateway[ip=1.2.3.4]/queue", "/route4[id=test1]/gateway[ip=1.2.3.4]/queue"],
    ["/route4[id='test1']/spi", "/route4[id=test1]/spi"],
    ['/route4[ id = "test1" ]/spi', "/route4[id=test1]/spi"],
    ["/public-interface6[ip=2001:DB8:0::1]", "/public-interface6[ip=2001:db8::1]"],
    ["/outbound-sa[spi=256][queue=2]", "/outbound-sa[queue=2][spi=256]"],
    // Keys with a default may be left out.
    ["/outbound-sa[spi=256]", "/outbound-sa[queue=1][spi=256]"],
    ["/route[id=a]/net[position()=2]", "/route[id=a]/net[position()=2]"],
  ];
  for (const [path, expected] of cases)
    test(path, () => expect(parsePath(configSchema, path).path).toBe(expected));
  test("of the state", () =>
    expect(parsePath(stateSchema, "/gateway-state/private-router/route-errors").steps).toHaveLength(3));
});

describe("paths that lead nowhere are refused", () => {
  const cases: [path: string, expected: string][] = [
    ["/mtv", "/ mtv: is not a name here; the names are private-interface4"],
    ["/__proto__", "/ __proto__: is not a name here"],
    ["/route4[id=a]/constructor", "/route4[id=a] constructor: is not a name here; the names are id, spi"],
    ["/mtu/x", "/mtu x: has no names below it; remove what is behind it"],
    ["/route4/spi", "/route4 spi: has no names below it; write route4[id=…]"],
    ["/mtu[id=a]", "/mtu: is no list; remove the brackets"],
    ["/route4[name=a]", "/route4 name: is no key of this list; its keys are id"],
    ["/outbound-sa[queue=1]", "/outbound-sa: is missing its key spi; write [spi=…]"],
    ["/route4[id=a-b]", "/route4[id=a-b] a-b: is not an id"],
    ["/public-interface4[ip=1.2.3]", "is not an IPv4 address"],
    ["/route4[id=a][id=b]", "[id=…]: is there twice; keep one"],
    ["/route4[id]", "[id]: is not a key in brackets; write it like [id=tokyo]"],
    ["/route4[id=a", "is not a path; write it like /route4[id=tokyo]/spi"],
    ["/route[id=a]/net[position()=0]", "0: is not a position; they count from 1"],
    ["/route[id=a]/net[id=0]", "is found by position only; write [position()=1]"],
    [`/${"a".repeat(20_000)}`, "is longer than 4096 characters"],
  ];
  for (const [path, expected] of cases)
    test(path.slice(0, 40), () => expect(() => parsePath(configSchema, path)).toThrow(expected));
});
